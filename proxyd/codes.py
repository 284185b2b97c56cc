"""The stable codes of what goes wrong while a config is taken, after it was read (reading has codes of its own in `proxyd.config`)."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    code: str
    title: str
    help: str


BIND_FAILED = Code("PXD-070", "An address cannot be listened on", (
    "Before a config is taken, every new address is bound once exclusively, so that two daemons never share a port by accident. Another "
    "process listens there, the address is not this machine's, or the right to bind it is missing."))
TEST_FAILED = Code("PXD-055", "A test of the config fails", (
    "An entry of `tests` says what must become of a request, and the config does something else with it. `proxyd check` and a reload "
    "refuse such a config; a start does not, since it is better to serve what the file says than nothing. `proxyd route` tells the whole "
    "story of a request."))
UNRESOLVED = Code("PXD-090", "A server's name does not resolve", (
    "The name has no address now. Its servers count as down until it has one; it is looked up again by itself, and nothing waits for it."))
SERVER_DEAD = Code("PXD-091", "A server does not take connections", (
    "Only `proxyd check --online` looks, from where it runs. It is a warning: proxyd starts with dead servers, and uses each as soon as it "
    "answers. Check its address and port, that the service runs and listens there, and that no firewall stands between."))
NOT_LIVE = Code("PXD-210", "The setting cannot change in a running daemon", (
    "The engines are born at start. The rest of the new config was taken; restart proxyd to let this one take effect."))
COMPILE_FAILED = Code("PXD-211", "The engines refuse the config", (
    "The config passed every check, and the native side still found something in it that it cannot do. Nothing was changed. Please report "
    "it."))
INTERNAL = Code("PXD-212", "proxyd met an error of its own while it took the config", (
    "The log of the daemon has the details. Please report it."))
LOG_FAILED = Code("PXD-213", "The access log cannot be opened", "Its folder is missing or not writable, or it is a pipe that nobody reads.")
ENGINE_DIED = Code("PXD-214", "An engine ended unexpectedly", "The daemon leaves with exit code 1, so that its manager starts it anew.")
SERVICE_FAILED = Code("PXD-215", "A part of the daemon cannot take the config", (
    "The message names the part and its reason. Nothing was changed."))
NO_UPSTREAM = Code("PXD-220", "There is no such upstream", "`proxyd upstream list` prints those of the running config.")
NO_SERVER = Code("PXD-221", "The upstream has no such server", (
    "A server is named by its address as `proxyd upstream list` prints it, or by its spelling in the config when that is a name."))
LAST_SERVER = Code("PXD-222", "The upstream would have no usable server", (
    "Nothing was changed: every request to the upstream would fail. Make another server ready first, or say `--force` (`?force=1`)."))
SERVER_EXISTS = Code("PXD-223", "The upstream has this server", (
    "Nothing was changed. `proxyd upstream weight` changes its weight, `ready` brings it back from drain or maintenance."))
CHANGE_INVALID = Code("PXD-224", "The change of a server is not valid", (
    "States are ready, drain and maint, a weight is 1 to 65535, and an added server takes what a server of the config takes."))
NO_LIMIT = Code("PXD-225", "There is no such limit", (
    "A limit is named by its policy, the rate of a usage plan by `plan:NAME`; `proxyd limit list` prints those of the running config."))
LIMIT_KEY = Code("PXD-226", "That is not a key of the limit", (
    "A key has one text for each part that the limit counts by, in their order: `proxyd limit show per-ip 192.0.2.1`."))
LIMIT_KEPT = Code("PXD-227", "The limit cannot be reset", "Requests in flight are counted, not remembered: the count falls as they end.")
TOO_MANY_STREAMS = Code("PXD-260", "Too many clients listen", (
    "Each stream (text/event-stream) of the admin API takes a hundred clients at a time. Close some, or ask for the same as JSON."))
REQUEST_UNKNOWN = Code("PXD-261", "The request is not known", (
    "The flight recorder keeps all answers that proxyd made of a failure, the slowest requests and a sample, the newest of each. What it "
    "has let go stands in the access log, where there is one: look for its id there."))
NO_UPGRADE = Code("PXD-280", "No new process has taken over", (
    "The old one serves on, and nothing was changed. What the new one said stands below the message: most often its config file has errors "
    "(`proxyd check`), or the installed program cannot start (`proxyd version`)."))
NOT_IMPORTED = Code("PXD-290", "The config of this program cannot be imported", "It takes nginx's: `proxyd import nginx FILE`.")
NOT_READ = Code("PXD-291", "The file to import says nothing that could be translated", (
    "It is not an nginx config, or has neither an `http` nor a `stream` block with a server in it. A part that nginx.conf includes is "
    "imported by way of that file."))
NO_AUTH = Code("PXD-292", "There is no such auth policy", "`proxyd auth list` prints those that routes of the running config use.")
NO_SUCH_USER = Code("PXD-281", "proxyd cannot become the user of `runtime.user`", (
    "Only root can become somebody else, and only a user that exists. Under a service manager leave `runtime.user` out, and let the "
    "manager start proxyd as that user (`User=`), with the right to bind ports below 1024 (`AmbientCapabilities=CAP_NET_BIND_SERVICE`)."))

NO_ENTRY = Code("PXD-250", "The history of configs has no such entry", (
    "`proxyd history` lists the last fifty configs that served and the last fifty that were refused; older ones are forgotten."))
ON_TRIAL = Code("PXD-251", "A config is on trial", (
    "Nothing was changed: what the trial would go back to must stay known. `proxyd confirm` keeps the config that is on trial, `proxyd "
    "rollback` goes back to the one before; then reload again."))
NO_TRIAL = Code("PXD-252", "No config is on trial", (
    "There is nothing to confirm. `proxyd history` tells how the last trial ended: its guard held, or it was rolled back."))
GUARD_INVALID = Code("PXD-253", "The guard is not valid", (
    "A guard is METRIC > VALUE [for DURATION], joined by `or`: `errors > 2% for 30s or p99 of route api > 1s`. Metrics are errors, "
    "proxy_errors, p50, p95 and p99, of everything or `of route NAME`, `of upstream NAME`. Nothing was changed."))
NOT_KEPT = Code("PXD-254", "The entry's config is not there any more", (
    "Files are kept of configs that served, not of those that were refused. `proxyd history` shows which entries can be gone back to."))
NOTHING_BEFORE = Code("PXD-255", "There is no config to go back to", "Only one config has served so far.")
AUDIT_FAILED = Code("PXD-256", "Audit records cannot be written", (
    "The change was made all the same. The record stands in the daemon's log, and is written to the file with the next one that can be: "
    "make room on the disk, or give the daemon the right to write to its state folder."))
STATE_UNUSABLE = Code("PXD-257", "The state folder cannot be used", (
    "The history of configs, the audit trail and what operators changed of servers are kept in memory, and end with the daemon. Name "
    "another folder in $PROXYD_STATE, or `none` there if that is as it should be."))
FILE_DIFFERS = Code("PXD-258", "The file is not what serves", (
    "A rollback does not touch the file: a reload, or a stop and a start, would take it again. A crash or an upgrade does not, as long as "
    "the file stays as it is. Repair it, or write back what serves: `proxyd history N` prints the text."))
ROLLBACK_FAILED = Code("PXD-259", "A rollback failed", (
    "The old config could not be taken again, for the reason that is told; the config on trial serves on, and is not on trial any more."))

CODES: dict[str, Code] = {
    code.code: code
    for code in (
        TEST_FAILED, BIND_FAILED, UNRESOLVED, SERVER_DEAD, NOT_LIVE, COMPILE_FAILED, INTERNAL, LOG_FAILED, ENGINE_DIED, SERVICE_FAILED,
        NO_UPSTREAM, NO_SERVER, LAST_SERVER, SERVER_EXISTS, CHANGE_INVALID, NO_LIMIT, LIMIT_KEY, LIMIT_KEPT,
        TOO_MANY_STREAMS, REQUEST_UNKNOWN, NO_UPGRADE, NO_SUCH_USER, NOT_IMPORTED, NOT_READ, NO_AUTH,
        NO_ENTRY, ON_TRIAL, NO_TRIAL, GUARD_INVALID, NOT_KEPT, NOTHING_BEFORE, AUDIT_FAILED, STATE_UNUSABLE, FILE_DIFFERS, ROLLBACK_FAILED,
    )
}
"""What `proxyd explain` knows of them."""
