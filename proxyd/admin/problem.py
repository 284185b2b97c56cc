"""Errors of the admin API: problem+json (RFC 9457) with a stable PXD code, and diagnostics where a config is to blame."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxyd import codes

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of problem: `title` is the same for every occurrence (RFC 9457 §3.1.3), `help` is what `proxyd explain CODE` prints."""

    code: str
    status: int
    title: str
    help: str


HOST_REFUSED = Kind("PXD-240", 403, "The Host field does not name this machine", (
    "Over TCP the admin API answers only requests whose Host is localhost, a loopback address, the address that was connected to, or a "
    "name of `admin.hosts`, so that a web page whose name was pointed at this machine (DNS rebinding) cannot drive proxyd. Use "
    "http://127.0.0.1:PORT or http://localhost:PORT, or add the name: `admin: {hosts: [NAME]}`."))
CROSS_SITE = Kind("PXD-241", 403, "The request could come from a web page", (
    "A request that changes something must show that no web page made it: send `Content-Type: application/json` (or `application/yaml` "
    "with a config as the body) or the field `X-Proxyd-Request: 1`. A page of another site cannot send these without being asked first. "
    "What a browser says of the page (`Origin`, `Sec-Fetch-Site`) must be this address, or a name of `admin.hosts`."))
NOT_FOUND = Kind("PXD-242", 404, "There is nothing at this path", "The paths of the admin API are listed at /api/v1.")
METHOD_NOT_ALLOWED = Kind("PXD-243", 405, "The method is not allowed here", "The Allow field of the answer lists the methods of this path.")
PARAMETER_INVALID = Kind("PXD-244", 400, "A parameter is missing or wrong", "The detail says which parameter, and what it may be.")
BODY_TOO_LARGE = Kind("PXD-245", 413, "The request body is too large", "A config that is posted may be up to 16 MiB long.")
PEER_REFUSED = Kind("PXD-246", 403, "This user may not use the admin socket", (
    "The unix socket answers the user that runs proxyd, and root. Run the command as that user, or with sudo."))
CONFIG_REFUSED = Kind("PXD-247", 422, "The config was refused; nothing was changed", "Each entry of `diagnostics` is one error or warning.")
INTERNAL = Kind("PXD-248", 500, "proxyd met an error of its own", "The log of the daemon has the details. Please report it.")
BIND_UNSAFE = Kind("PXD-071", 0, "The admin API would be open to others", (
    "The admin API can stop and reconfigure proxyd. Without `admin.users` it asks nobody who he is, so it listens on unix sockets and "
    "loopback addresses only. Add users, or bind 127.0.0.1:PORT, [::1]:PORT or unix:PATH and reach it from elsewhere through ssh."))
NOT_REACHABLE = Kind("PXD-249", 0, "The daemon is not reachable", (
    "No proxyd answers at the admin address: it does not run, or listens elsewhere. Name the address with `--admin unix:PATH` or "
    "`--admin HOST:PORT`, or in $PROXYD_ADMIN."))
LOGIN_NEEDED = Kind("PXD-270", 401, "The admin API asks who you are", (
    "It has users (`admin.users`). Programs send HTTP Basic credentials; for commands write `--admin http://USER@HOST:PORT` and set "
    "$PROXYD_ADMIN_PASSWORD. Browsers log in at the dashboard. The unix socket asks for nothing."))
LOGIN_REFUSED = Kind("PXD-271", 401, "The user or the password is wrong", (
    "Users and their passwords stand in the config, under `admin.users`. Which of the two was wrong is not told."))
ROLE_TOO_LOW = Kind("PXD-272", 403, "The user may not do this", (
    "A viewer looks; an operator also drains servers, purges the cache and resets limits; an admin also changes the config and stops "
    "proxyd. The role stands in the config, under `admin.users`; the unix socket is always admin."))
TOO_MANY_ATTEMPTS = Kind("PXD-273", 429, "Too many wrong passwords came from this address", (
    "Ten wrong passwords may come from one address (IPv6: one /64), then one in six seconds. Retry-After says when the next may. Who is "
    "logged in stays so, and the unix socket asks for no password."))
LOGIN_BUSY = Kind("PXD-274", 503, "Passwords cannot be checked now", (
    "Checking a hash takes time and memory, so only a few are checked at once. Try again in a moment."))
TOO_MANY_CONNECTIONS = Kind("PXD-275", 503, "Too many are connected to the admin API", (
    "Each of its addresses has `admin.max_connections` places, and all are busy. Try again in a moment, or ask at the unix socket, which "
    "has places of its own. What tells whether proxyd is well (`proxyd status`, `/live`, `/ready`) is answered all the same."))
TOO_SLOW = Kind("PXD-276", 408, "The request did not arrive in time", "The body of a request must be there within 30 seconds.")
TOO_MANY_CHECKS = Kind("PXD-277", 503, "Too many configs are being checked", (
    "Checking a config takes a while, so only two are checked at a time, and eight may wait. Try again in a moment; `proxyd check` needs "
    "no daemon."))

KINDS: dict[str, Kind] = {kind.code: kind for kind in (
    HOST_REFUSED, CROSS_SITE, NOT_FOUND, METHOD_NOT_ALLOWED, PARAMETER_INVALID, BODY_TOO_LARGE, PEER_REFUSED, CONFIG_REFUSED, INTERNAL,
    BIND_UNSAFE, NOT_REACHABLE, LOGIN_NEEDED, LOGIN_REFUSED, ROLE_TOO_LOW, TOO_MANY_ATTEMPTS, LOGIN_BUSY,
    TOO_MANY_CONNECTIONS, TOO_SLOW, TOO_MANY_CHECKS,
)}
"""What `proxyd explain PXD-2xx` knows of the admin API."""

CHANGES: dict[str, Kind] = {
    code.code: Kind(code.code, status, code.title, code.help)
    for code, status in (
        (codes.NO_UPSTREAM, 404), (codes.NO_SERVER, 404), (codes.LAST_SERVER, 409), (codes.SERVER_EXISTS, 409), (codes.CHANGE_INVALID, 400),
        (codes.COMPILE_FAILED, 422), (codes.NO_LIMIT, 404), (codes.LIMIT_KEY, 400), (codes.LIMIT_KEPT, 409),
        (codes.TOO_MANY_STREAMS, 503), (codes.REQUEST_UNKNOWN, 404), (codes.NO_AUTH, 404), (codes.NO_UPGRADE, 409),
        (codes.NO_ENTRY, 404), (codes.NO_TRIAL, 404), (codes.GUARD_INVALID, 400), (codes.NOT_KEPT, 404), (codes.NOTHING_BEFORE, 404),
    )
}
"""How what has a code of the daemon's is answered: a refused change of a server or config, an order to a limit, a question, an upgrade."""


class Problem(Exception):
    """Raised in a handler, rendered by the guard. `diagnostics` are JSON objects as `proxyd check --format json` prints them."""

    def __init__(self, kind: Kind, detail: str, diagnostics: Sequence[dict[str, Any]] = (), **members: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.diagnostics = tuple(diagnostics)
        self.members = members
        self.fields: dict[str, str] = {}       # of the answer's head

    def body(self, instance: str) -> dict[str, Any]:
        """The JSON object of RFC 9457 §3; `code`, `help`, `diagnostics` and `members` are extension members."""
        found: dict[str, Any] = {
            "type": f"urn:proxyd:problem:{self.kind.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.kind.code,
            "help": self.kind.help,
        }
        if self.diagnostics:
            found["diagnostics"] = list(self.diagnostics)
        return found | self.members
