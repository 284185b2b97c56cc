"""nginx's servers as listeners with routes: who listens where, and which names go to which server.

nginx chooses a server by the address that was connected to, then by the name: an exact one, the longest `*.name`, the longest `name.*`, the
first expression; else the default server of the address. As routes, the groups stand in that order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from proxyd.config.hosts import check_host
from proxyd.config.routes import Route
from proxyd.importing.nginx.listens import Socket, sockets_of
from proxyd.importing.nginx.maps import host_regex
from proxyd.importing.nginx.patterns import PathPattern
from proxyd.importing.nginx.policies import body_policy
from proxyd.importing.nginx.rewriting import Tests, not_imported
from proxyd.importing.nginx.routes import Draft, Server, Step
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.nginx.values import duration, parse_size, size
from proxyd.importing.yaml_text import Noted, Value

HostPattern = str | dict[str, Value]
_EXACT, _LEADING, _TRAILING, _REGEX, _ANY = range(5)
_HEADS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts that go to one server; `rank` and `length` order the groups."""

    rank: int
    length: int
    host: HostPattern
    server: Scope


def build_listeners(http: Scope, draft: Draft, ports: Iterable[int]) -> dict[str, Value]:
    """The listeners by name, each with its own routes; `ports` are taken by others."""
    servers = [http.inner(one) for one in http.block.all("server")]
    made: dict[str, Value] = {}
    for socket in sockets_of(servers, draft.report, ports):
        steps = {id(one): [*Server(one, draft, socket.tls).steps()] for one in socket.servers}
        name = _free("http" if not made else f"http-{socket.port}" if socket.port else "http-unix", made)
        made[name] = _listener(socket, steps, draft)
    draft.maps.tell_unused()
    return made


def _free(wanted: str, taken: Mapping[str, object]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _listener(socket: Socket, steps: Mapping[int, list[Step]], draft: Draft) -> Value:
    bound = _body_bound(steps)
    made: dict[str, Value] = {"bind": list(socket.binds)}
    if (client_ip := _client_ip(socket, draft)) is not None:
        made["client_ip"] = client_ip
    limits = _limits(socket.default, bound)
    if limits:
        made["limits"] = limits
    routes: list[Value] = []
    for group in groups_of(socket, draft):
        for step in steps[id(group.server)]:
            routes += _route(group.host, step, bound, draft)
    made["routes"] = routes
    note = "\n".join(f"{one.origin} {one.origin.text}" for one in socket.listens) or "nginx's default: listen 80"
    return Noted(made, note)


def _body_bound(steps: Mapping[int, list[Step]]) -> int:
    """The largest body that any route takes; 0: any."""
    bounds = [step.body for each in steps.values() for step in each if step.body is not None]
    return 0 if 0 in bounds or not bounds else max(bounds)


def _client_ip(socket: Socket, draft: Draft) -> Value | None:
    scope = socket.default
    trust = [one.first for one in scope.all("set_real_ip_from") if re.match(r"[0-9a-fA-F.:/]+\Z", one.first) or one.first == "unix:"]
    trusted: list[Value] = ["unix" if one == "unix:" else one for one in dict.fromkeys(trust)]
    header = scope.one("real_ip_header")
    if socket.proxy_protocol:
        if not trusted:
            trusted = ["0.0.0.0/0", "::/0"]
            reason = "the header is believed from everybody, as nginx does"
            draft.report.changed(socket.listens[0].origin, reason, "name the balancer in `client_ip.trust`")
        return {"proxy_protocol": True, "trust": trusted}
    if socket.tls:
        return {"trust": ["127.0.0.1", *(one for one in trusted if one != "127.0.0.1")]}
    if header is None or not trusted or header.first.lower() == "proxy_protocol":
        return None
    name = header.first
    return {"trust": trusted} | ({"header": name} if name.lower() != "x-forwarded-for" else {})


def _limits(scope: Scope, bound: int) -> dict[str, Value]:
    made: dict[str, Value] = {"body_size": size(bound)} if bound else {}
    buffers = scope.one("large_client_header_buffers")
    if buffers is not None and len(buffers.args) == 2 and buffers.first.isdigit() and (one := parse_size(buffers.args[1])):
        heads = max(1024, min(_HEADS, int(buffers.first) * one))
        made["header_size"] = size(heads)
        made["uri_length"] = size(max(256, min(10 * 1024, one, heads)))
    for name, option, least, most in (
        ("client_header_timeout", "header_timeout", "100ms", "1h"),
        ("keepalive_timeout", "idle_timeout", "100ms", "1d"),
    ):
        value = scope.one(name)
        if value is not None and (time := duration(value.first, least, most)):
            made[option] = time
    return made


def groups_of(socket: Socket, draft: Draft) -> list[Group]:
    """In nginx's order; the default server last, for whatever is left."""
    if len(socket.servers) == 1:
        return [Group(_ANY, 0, "", socket.default)]
    seen: set[str] = set()
    groups = [group for server in socket.servers for group in _named(server, seen, draft)]
    groups.sort(key=lambda group: (group.rank, -group.length, group.server is socket.default))
    while groups and groups[-1].server is socket.default:  # it would get these in any case
        groups.pop()
    return [*groups, Group(_ANY, 0, "", socket.default)]


def _named(server: Scope, seen: set[str], draft: Draft) -> Iterator[Group]:
    exact: list[str] = []
    for directive in server.block.all("server_name"):
        for written in directive.args:
            name = written if written.startswith("~") else written.lower().rstrip(".")
            if not name or name in ("_", "*") or name in seen or "$" in name.removesuffix("$").partition("~")[0]:
                continue
            seen.add(name)
            if name.startswith("~"):
                ignore = "(?i)" if name.lower() != name else ""
                yield Group(_REGEX, 0, {"regex": ignore + re.sub(r"\(\?P?<\w+>", "(", name[1:])}, server)
            elif name.endswith(".*"):
                yield Group(_TRAILING, len(name), {"regex": host_regex(name)}, server)
            elif name.startswith(("*.", ".")):
                yield from _below(name.lstrip("*"), server, directive, draft)
                if name.startswith(".") and _host(name[1:], directive, draft):
                    exact.append(name[1:])
            elif _host(name, directive, draft):
                exact.append(name)
    if len(exact) == 1:
        yield Group(_EXACT, 0, exact[0], server)
    elif exact:
        yield Group(_EXACT, 0, {"regex": f"^({'|'.join(re.escape(name).replace(chr(92) + '-', '-') for name in exact)})$"}, server)


def _below(suffix: str, server: Scope, directive: Directive, draft: Draft) -> Iterator[Group]:
    if _host(f"*{suffix}", directive, draft):
        yield Group(_LEADING, len(suffix), f"*{suffix}", server)


def _host(name: str, directive: Directive, draft: Draft) -> bool:
    try:
        check_host(name)
    except ValueError:
        if name.isascii():
            draft.report.left_out(directive.origin, f"`{name}` is not a host", "names are made of letters, digits and `-`")
        else:
            draft.report.left_out(directive.origin, f"`{name}` is not ASCII", "write `xn--…`")
        return False
    return True


def _route(host: HostPattern, step: Step, bound: int, draft: Draft) -> list[Value]:
    """The route, if proxyd takes it; else one that answers 501 in its place, or none where not even its paths can be said."""
    match = _match(host, step.path, step.tests)
    if match is None:
        return []
    route = dict(step.route)
    if step.body and step.body != bound:
        use, origin = route.get("use"), step.origin.origin
        route["use"] = [*(use if isinstance(use, list) else ()), draft.policies.name_of("bodies", body_policy(step.body), origin)]
    for each in (route, not_imported(step.origin)):
        whole: dict[str, Value] = ({"match": match} if match else {}) | each
        reason = _refused(whole)
        if not reason:
            note = f"{step.origin.origin} {step.origin.origin.text}" if step.origin.origin.line else ""
            return [Noted(_short(whole), note) if note else _short(whole)]
        draft.report.left_out(step.origin.origin, reason, "write the route by hand; its requests fall to those behind it, or get 501")
    return []


def _refused(route: Mapping[str, Value]) -> str:
    try:
        Route.model_validate({key: value for key, value in route.items() if key != "error_pages"})
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return ""


def _match(host: HostPattern, path: PathPattern, tests: Tests) -> dict[str, Value] | None:
    """None where it can never hold."""
    match: dict[str, Value] = dict(tests)
    asked = match.pop("host", None)
    if asked is not None and isinstance(host, str) and host and not host.startswith("*."):
        if not _fits(host, asked):
            return None
        asked = None
    if (found := asked if asked is not None else host) != "":
        match = {"host": found, **match}
    return match | ({"path": path} if path != "" else {})


def _fits(host: str, asked: Value) -> bool:
    if isinstance(asked, Mapping):
        try:
            return re.search(str(asked["regex"]), host) is not None
        except re.error:
            return True
    return host == asked


def _short(route: dict[str, Value]) -> dict[str, Value]:
    """A match of host, path and methods as text."""
    match = route.get("match")
    if not isinstance(match, dict) or not match.keys() <= {"host", "path", "method"}:
        return route
    host, path, methods = match.get("host", ""), match.get("path", "/*"), match.get("method", [])
    if not isinstance(host, str) or not isinstance(path, str) or not isinstance(methods, Sequence):
        return route
    named = ",".join(str(one) for one in methods)
    return {**route, "match": f"{named} {host}{path}".strip()}


