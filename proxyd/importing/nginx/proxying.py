"""`proxy_pass` and what belongs to it, as the members of a route that sends to an upstream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from proxyd.config.headers import OWNED
from proxyd.config.hosts import check_origin_host
from proxyd.importing.nginx.locations import Location
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.nginx.values import duration, fill_in, parse_time_ms, variables
from proxyd.importing.report import Report
from proxyd.importing.yaml_text import Value

_URL = re.compile(r"(?:(?P<scheme>[a-z]+)://)?(?P<place>unix:[^:]+|[^/:]*(?::[0-9]+)?|\[[^\]]+\](?::[0-9]+)?):?(?P<uri>/.*)?\Z", re.DOTALL)

# What proxyd tells servers by itself, with the values that mean the same.
_TOLD = {
    "x-forwarded-for": ("$proxy_add_x_forwarded_for", "$remote_addr", "$http_x_forwarded_for"),
    "x-forwarded-proto": ("$scheme",),
    "x-forwarded-host": ("$host", "$http_host", "$host:$server_port"),
    "x-request-id": ("$request_id",),
    "upgrade": ("$http_upgrade",),
    "accept-encoding": ("$http_accept_encoding",),
}  # fmt: skip
_RETRIED = {
    "error": ("connect_failure", "reset"), "timeout": ("timeout",), "http_500": ("500",), "http_502": ("502",), "http_503": ("503",),
    "http_504": ("504",), "http_429": ("429",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Passed:
    """What `proxy_pass` says."""

    scheme: str
    place: str
    uri: str | None

    @property
    def host(self) -> str:
        """nginx's `$proxy_host`."""
        return "localhost" if self.place.startswith("unix:") else self.place.removesuffix(":80")


def parse_pass(text: str) -> Passed | None:
    """None for what still has variables before its path, or is no URL."""
    text = re.sub(r"(\$request_uri|\$uri(\$is_args\$args)?)\Z", "", text)
    found = _URL.match(text)
    if found is None or not found["place"] or variables(text):
        return None
    return Passed(found["scheme"] or "http", found["place"], found["uri"])


def fields_to_servers(scope: Scope, passed: Passed, values: Mapping[str, str], report: Report) -> tuple[str | None, dict[str, Value]]:
    """The Host that servers are asked for (None: the client's), and changes of the request's fields."""
    host: str | None = passed.host
    changes: dict[str, Value] = {}
    fields: dict[str, Value] = {}
    removed: list[Value] = []
    for one in scope.all("proxy_set_header"):
        if len(one.args) != 2:
            continue
        name, value = one.first, fill_in(one.args[1], values)
        lower = name.lower()
        if lower == "host":
            host = _host(one, value, passed, report)
        elif lower in OWNED or value in _TOLD.get(lower, ()):
            pass  # Upgrade and Connection among them: WebSockets pass by themselves
        elif not value:
            removed.append(name)
        elif variables(value):
            help = "servers are told X-Forwarded-For, -Proto, -Host and X-Request-ID"
            report.left_out(one.origin, "fields have fixed values", help)
        else:
            fields[name] = value
    if removed:
        changes["remove"] = removed
    if fields:
        changes["set"] = fields
    return host, changes


def _host(one: Directive, value: str, passed: Passed, report: Report) -> str | None:
    if value in ("$host", "$http_host", "$host:$server_port", "$server_name"):
        if value == "$server_name":
            report.changed(one.origin, "servers are asked for the host that the client asked for")
        return None
    if value == "$proxy_host":
        return passed.host
    try:
        return check_origin_host(value)
    except ValueError:
        report.left_out(one.origin, "servers are asked for the client's host, or a fixed one", "`rewrite: {host: NAME}`")
        return None


def path_rewrite(location: Location, uri: str | None, one: Directive, report: Report) -> dict[str, Value]:
    """nginx puts the URI of `proxy_pass` in the place of the location's text."""
    if uri is None:
        return {}
    if not re.match(r"/[A-Za-z0-9\-._~!&'()*+,;=:@%/]*\Z", uri) or "//" in uri:
        report.left_out(one.origin, f"`{uri}` is not a path that can be put in; the client's path is kept", "`rewrite: {path: …}`")
        return {}
    if location.modifier == "=":
        return {"path": uri} if uri != location.pattern else {}
    if not location.is_prefix or location.pattern == uri:
        return {}
    old, new = location.pattern.rstrip("/"), uri.rstrip("/")
    if not location.pattern.endswith("/"):
        reason = f"`{location.pattern}` is replaced where it stands as whole segments: `{location.pattern}x` is passed on as it is"
        report.changed(one.origin, reason)
    elif not uri.endswith("/"):
        report.changed(one.origin, f"a slash stands between `{uri}` and the rest, which nginx leaves out", "mostly, that is what was meant")
    if old == new:
        return {}
    return {"replace_prefix": {"from": old or "/", "to": new}} if new else {"strip_prefix": old}


def timeouts(scope: Scope, report: Report) -> dict[str, Value]:
    """nginx's `proxy_read_timeout` is from one read to the next, the first included; 60 s unless it is set."""
    made: dict[str, Value] = {}
    connect, read, sent = (scope.one(f"proxy_{name}_timeout") for name in ("connect", "read", "send"))
    if connect is not None and (time := duration(connect.first, "1ms", "10m")):
        made["connect"] = time
    time = duration(read.first if read else "60s", "1ms", "1d") or "60s"
    made["first_byte"] = time
    if read is not None:
        made["between_bytes"] = time
        if any("upgrade" in " ".join(one.args).lower() for one in scope.all("proxy_set_header")):
            made["tunnel_idle"] = duration(read.first, "1s", "30d") or "1h"
    if sent is not None and read is not None and duration(sent.first, "1ms", "1d") != time:
        report.changed(sent.origin, f"`between_bytes` is for both directions: {time}")
    elif sent is not None and read is None:
        made["between_bytes"] = duration(sent.first, "1ms", "1d") or "60s"
    return made


def retries(scope: Scope, report: Report) -> Value | None:
    rule, tries = scope.one("proxy_next_upstream"), scope.one("proxy_next_upstream_tries")
    longest = scope.one("proxy_next_upstream_timeout")
    if longest is not None and longest.first not in ("0", "0s"):
        report.left_out(longest.origin, "tries are bounded by their number", "`timeout: {total: …}` bounds all of them with the answer")
    if rule is not None and rule.args == ("off",):
        return "none"
    made: dict[str, Value] = {}
    if tries is not None and tries.first.isdigit() and tries.first != "0":
        made["attempts"] = min(int(tries.first) - 1, 10)
    if rule is not None:
        when: list[Value] = []
        for word in rule.args:
            if word == "non_idempotent":
                report.left_out(rule.origin, "no request that is not idempotent is sent twice", "`retry: {idempotency_key: true}`")
            elif word not in _RETRIED and word != "invalid_header":
                report.left_out(rule.origin, f"`{word}` is an answer like any other", "`retry.when` has the statuses of failures")
            when += _RETRIED.get(word, ())
        if when:
            made["when"] = when
    return made or None


def fields_to_clients(scope: Scope, report: Report) -> dict[str, Value]:
    """Of `add_header`, `expires` and `proxy_hide_header`."""
    added: dict[str, Value] = {}
    for one in scope.all("add_header"):
        if len(one.args) < 2 or not one.args[1]:
            continue
        if variables(one.args[1]):
            report.left_out(one.origin, "fields have fixed values", "")
        elif one.first.lower() in OWNED or one.first in added:
            report.left_out(one.origin, "the field is there twice, or is proxyd's own", "")
        else:
            added[one.first] = one.args[1]
    made: dict[str, Value] = {}
    hidden: list[Value] = [one.first for one in scope.all("proxy_hide_header") if one.first.lower() not in OWNED]
    control = _expires(scope, report)
    if hidden:
        made["remove"] = hidden
    if control:
        made["set"] = {"Cache-Control": control}
        added = {name: value for name, value in added.items() if name.lower() != "cache-control"}
    if added:
        made["add"] = added
    return made


def _expires(scope: Scope, report: Report) -> str:
    one = scope.one("expires")
    if one is None or one.first == "off":
        return ""
    if one.first in ("epoch", "-1") or one.first.startswith("-"):
        return "no-cache"
    seconds = "315360000" if one.first == "max" else _seconds(one.args[-1])
    if not seconds or variables(one.args[-1]) or one.first == "modified" or "@" in one.args[-1]:
        report.left_out(one.origin, "it is not a time from now on", "set Cache-Control by `rewrite.headers.response`")
        return ""
    report.changed(one.origin, "Cache-Control says it, Expires does not, and answers of all statuses have it")
    return f"max-age={seconds}"


def _seconds(text: str) -> str:
    time_ms = parse_time_ms(text)
    return "" if time_ms is None else str(time_ms // 1_000)
