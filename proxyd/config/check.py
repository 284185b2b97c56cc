"""Checks that look across the whole config: references, things that are there twice or that exclude one another, and the linter.

They also run on what is left of a broken config, so that one run tells everything; `data` knows what was refused, and nothing is held
against those who refer to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from proxyd.config.access_lint import access_faults
from proxyd.config.auth_check import auth_mistakes
from proxyd.config.builtin import BUILT_IN
from proxyd.config.expectation_check import expectation_mistakes
from proxyd.config.flow_check import flow_faults, flow_shadows, flow_targets
from proxyd.config.flows import TlsListener
from proxyd.config.limit_check import limit_mistakes
from proxyd.config.lint import lint
from proxyd.config.model import BindAddress, Config, Route
from proxyd.config.policy_check import policy_mistakes
from proxyd.config.shadow import shadowed
from proxyd.diagnostics.diagnostic import Diagnostic, Severity
from proxyd.diagnostics.fail import shown
from proxyd.diagnostics.marked import Map, Step, dotted, locate
from proxyd.diagnostics.suggest import closest
from proxyd.diagnostics.validate import MOST, enough

SUGGESTED = 50  # unknown names for which it is looked up what was meant
MAX_LINES = 16_384  # bytes of fields that a route adds to one head


@dataclass(frozen=True, slots=True)
class Declared:
    """Names that the file defines, rightly or wrongly; None where the whole section is unreadable, so that any name may be meant."""

    upstreams: Collection[str] | None
    policies: Collection[str] | None
    misspelt: Collection[str | None] = ()  # sections that are there under a name like theirs

    @classmethod
    def of(cls, data: Map) -> Declared:
        misspelt = {closest(key, Config.model_fields) for key in data if key not in Config.model_fields}

        def names(section: str) -> Collection[str] | None:
            value = data.get(section)
            if value is None:
                return None if section in data.lost or section in misspelt else ()
            return {*value, *value.lost} if isinstance(value, Map) else None

        return cls(names("upstreams"), names("policies"), misspelt)


def check(config: Config, data: Map, declared: Declared, *, complete: bool) -> list[Diagnostic]:
    """Everything that is wrong or suspicious about a config whose parts are right; suspicion needs a `complete` one."""
    return _Check(config, data, declared, complete).run()


class _Enough(Exception):
    """So much is wrong that no more is looked for."""


class _Check:
    def __init__(self, config: Config, data: Map, declared: Declared, complete: bool) -> None:
        self.config, self.data, self.declared, self.complete = config, data, declared, complete
        self.found: list[Diagnostic] = []
        self.used: set[tuple[str, str]] = set()
        self.looked_up = 0

    def run(self) -> list[Diagnostic]:
        try:
            self.look()
        except _Enough:
            self.found.append(enough(self.found))
        return self.found

    def look(self) -> None:
        self.listeners()
        self.addresses()
        for path, routes in self.tables():
            self.table(path, routes)
        self.flows()
        self.policies(("defaults",), self.config.defaults.use)
        self.servers()
        self.limits()
        self.countries()
        self.plans()
        self.tests()
        self.unused()
        if self.complete:
            for code, message, path, help in lint(self.config):
                self.tell(code, message, path, help, severity="warning")

    def tell(
        self, code: str, message: str, path: tuple[Step, ...], help: str = "", *, key: bool = False, severity: Severity = "error"
    ) -> None:
        if len(self.found) >= MOST:
            raise _Enough
        place = locate(self.data, path)
        at_key = key and place.depth == len(path)
        self.found.append(Diagnostic(code, message, place.key if at_key else place.value, help, severity, dotted(path)))

    def tables(self) -> Iterator[tuple[tuple[Step, ...], tuple[Route, ...]]]:
        """Every list of routes with its path."""
        yield ("routes",), self.config.routes
        for name, listener in self.config.listeners.items():
            if listener.own_routes is not None:
                yield ("listeners", name, "routes"), listener.own_routes

    def listeners(self) -> None:
        lost = (self.data.lost | {*self.declared.misspelt}) & {"listen", "listeners"}
        section = self.data.get("listeners")
        if not self.config.listeners and not lost and not (isinstance(section, Map) and section.lost):
            self.found.append(Diagnostic("PXD-022", "nothing to listen on", None, "add `listen: :8080`"))
        if self.config.routes or not self.complete:
            return
        for name, listener in self.config.listeners.items():
            if not self.config.routes_of(listener) and not listener.is_flow:
                self.tell(
                    "PXD-022",
                    f"the listener `{name}` has no routes, so it could only answer 404",
                    ("listeners", name),
                    "add `to: HOST:PORT`, or `routes`",
                    key=True,
                )

    def addresses(self) -> None:
        """Two sockets on one address; `:80` is every address, so it meets each other one of that port."""
        seen: list[tuple[BindAddress, str, str]] = []
        for path, bind, transport in self.binds():
            for other, where, over in seen:
                if transport == over and _meet(bind, other):
                    what = f"`{where}` listens on `{bind}` already" if bind == other else f"`{bind}` and `{other}` of `{where}` overlap"
                    self.tell("PXD-072", what, path, "an address belongs to one listener: change one of the two")
                    break
            seen.append((bind, dotted(path[:2] if path[0] == "listeners" else path[:1]), transport))

    def binds(self) -> Iterator[tuple[tuple[Step, ...], BindAddress, str]]:
        """Each with its transport: a port of TCP and one of UDP are two."""
        for name, listener in self.config.listeners.items():
            for index, bind in enumerate(listener.bind):
                yield ("listeners", name, "bind", index), bind, listener.transport
        for index, admin in enumerate(self.config.admin.bind):
            if isinstance(admin, BindAddress):
                yield ("admin", "bind", index), admin, "tcp"

    def table(self, path: tuple[Step, ...], routes: tuple[Route, ...]) -> None:
        self.names(path, [route.name for route in routes])
        for index, route in enumerate(routes):
            here = (*path, index)
            self.targets(here, route)
            self.fields(here, route)
            self.cache(here, route)
            for code, message, path, help in policy_mistakes(self.config, route, here):
                self.tell(code, message, path, help)
            self.policies(here, route.use)
        if not self.complete:
            return  # a match that was refused would seem to take everything
        for index, by in shadowed([route.match for route in routes]).items():
            names = " and ".join(f"`{routes[other].name}`" for other in by[:3]) + (" and others" if len(by) > 3 else "")
            self.tell(
                "PXD-103",
                f"the route `{routes[index].name}` can never match: {names} before it take{'s' if len(by) == 1 else ''} all its requests",
                (*path, index, "match") if "match" in self.entry((*path, index)) else (*path, index),
                "the first route that matches wins; move it up, or remove it",
                severity="warning",
            )

    def names(self, path: tuple[Step, ...], names: list[str]) -> None:
        first: dict[str, int] = {}
        for index, name in enumerate(names):
            if name and name in first:
                self.tell(
                    "PXD-026",
                    f"the route name `{name}` is there twice",
                    (*path, index, "name"),
                    f"also of route {first[name] + 1}; names tell routes apart in logs and metrics",
                )
            first.setdefault(name, index)

    def flows(self) -> None:
        """Of listeners that pass flows on."""
        for name, listener in self.config.listeners.items():
            if isinstance(listener, TlsListener):
                self.names(("listeners", name, "routes"), [route.name for route in listener.routes])
        for path, to in flow_targets(self.config):
            self.upstream(to, path, "the route sends to" if "routes" in path else "the listener sends to", key=True)
        for code, message, path, help in flow_faults(self.config):
            self.tell(code, message, path, help)
        for code, message, path, help in flow_shadows(self.config) if self.complete else ():
            self.tell(code, message, path, help, severity="warning")

    def entry(self, path: tuple[Step, ...]) -> Collection[str]:
        here = locate(self.data, path).here
        return here if isinstance(here, Map) else ()

    def targets(self, here: tuple[Step, ...], route: Route) -> None:
        for name in route.to or {}:
            self.upstream(name, (*here, "to", name), "the route sends to", key=True)
        if route.mirror is not None:
            self.upstream(route.mirror.to, (*here, "mirror", "to"), "the route copies to")
            copied = self.config.upstreams.get(route.mirror.to)
            if copied is not None and copied.proxy_protocol is not None:
                message = f"the upstream `{route.mirror.to}` wants a PROXY header, which copies of requests do not have"
                self.tell("PXD-024", message, (*here, "mirror", "to"), "copy to an upstream without `proxy_protocol`")
        if route.failover is None:
            return
        self.upstream(route.failover.to, (*here, "failover", "to"), "the route fails over to")
        if [name for name, weight in (route.to or {}).items() if weight] == [route.failover.to]:
            self.tell(
                "PXD-052",
                f"the route fails over from {shown(route.failover.to)} to itself",
                (*here, "failover", "to"),
                "name another upstream; for further tries on the same one there is `retry`",
            )

    def fields(self, here: tuple[Step, ...], route: Route) -> None:
        """What policies and the route itself write into heads has a bound in the engine."""
        used = dict.fromkeys((*self.config.defaults.use, *route.use))
        changes = [self.config.policies[name].headers for name in used if name in self.config.policies]
        changes += [route.rewrite.headers] if route.rewrite is not None else []
        if not any(changes):
            return
        for side in ("request", "response"):
            texts = [getattr(headers, side) for headers in changes if headers is not None]
            size = sum(len(f"{name}: {value}\r\n".encode()) for one in texts for name, value in (*one.set.items(), *one.add.items()))
            size = max(size, sum(len(name) + 1 for one in texts for name in (*one.set, *one.remove)))
            if size > MAX_LINES:
                help = f"allowed: {MAX_LINES} bytes, for all policies of a route together"
                self.tell("PXD-033", f"the fields that the route writes into the {side} have {size} bytes", here, help)

    def cache(self, here: tuple[Step, ...], route: Route) -> None:
        largest, size = route.cache.max_object if route.cache is not None else None, self.config.cache.memory.size
        if largest is not None and largest > size:
            help = "a body that large is never stored; `cache.memory.size` is for all routes together"
            self.tell("PXD-039", f"`max_object` {largest} is more than the whole cache, {size}", (*here, "cache", "max_object"), help)

    def upstream(self, name: str, path: tuple[Step, ...], what: str, *, key: bool = False) -> None:
        """A name that must be an upstream's."""
        self.used.add(("upstreams", name))
        if self.declared.upstreams is None or name in self.declared.upstreams:
            return
        near = self.closest(name, self.declared.upstreams)
        known = ", ".join(sorted(self.declared.upstreams)[:20]) or "none"
        help = (f"did you mean `{near}`? " if near else "") + f"defined: {known}"
        help += f"; an address is written with its port, `{name}:80`" if key else ""
        self.tell("PXD-050", f"{what} the upstream {shown(name)}, which is not defined", path, help, key=key)

    def closest(self, name: str, known: Collection[str]) -> str | None:
        """What was meant, for as many as one can read: with thousands of names it takes its time."""
        self.looked_up += 1
        return closest(name, known) if self.looked_up <= SUGGESTED else None

    def policies(self, here: tuple[Step, ...], use: tuple[str, ...]) -> None:
        for index, name in enumerate(use):
            self.used.add(("policies", name))
            if name in use[:index]:
                self.tell("PXD-025", f"the policy {shown(name)} is used twice", (*here, "use", index), "remove one of them")
            if self.declared.policies is None or name in self.declared.policies or name in BUILT_IN:
                continue
            near = self.closest(name, (*self.declared.policies, *BUILT_IN))
            known = ", ".join(sorted(self.declared.policies)[:20]) or "none"
            help = (f"did you mean `{near}`? " if near else "") + f"defined: {known}; built in: {', '.join(BUILT_IN)}"
            self.tell("PXD-051", f"the policy {shown(name)} is not defined", (*here, "use", index), help)

    def limits(self) -> None:
        lost = frozenset(name for name in ("concurrency", "limits") if name in self.data.lost or name in self.declared.misspelt)
        for code, message, path, help in limit_mistakes(self.config, self.data, lost=lost):
            self.tell(code, message, path, help)

    def plans(self) -> None:
        if "plans" in self.data.lost or "plans" in self.declared.misspelt:
            return
        section = self.data.get("plans")
        declared = {*section, *section.lost} if isinstance(section, Map) else set()
        for code, message, path, help in auth_mistakes(self.config, declared):
            self.tell(code, message, path, help)

    def tests(self) -> None:
        """What tests speak of may be what was refused, so only a whole config is held against them."""
        for code, message, path, help in expectation_mistakes(self.config) if self.complete else ():
            self.tell(code, message, path, help)

    def servers(self) -> None:
        for name, upstream in self.config.upstreams.items():
            first: dict[str, int] = {}
            for index, server in enumerate(upstream.servers):
                text = str(server.address)
                if text in first:
                    self.tell(
                        "PXD-025",
                        f"the server `{text}` is in `upstreams.{name}` twice",
                        ("upstreams", name, "servers", index, "address"),
                        f"give `servers[{first[text]}]` a larger `weight` instead",
                    )
                first.setdefault(text, index)

    def countries(self) -> None:
        if not {"geoip"} & (self.data.lost | {*self.declared.misspelt}):
            for code, message, path, help in access_faults(self.config):
                self.tell(code, message, path, help)

    def unused(self) -> None:
        if not self.complete or any(item.severity == "error" for item in self.found):
            return  # who knows what the refused parts refer to, or what a misspelt name means
        for section, code, verb, help in (
            ("upstreams", "PXD-101", "no route sends to it", "name it in the `to` of a route, or remove it"),
            ("policies", "PXD-102", "no route names it", "name it in the `use` of a route, or in `defaults.use`, or remove it"),
        ):
            for name in getattr(self.config, section):
                if (section, name) not in self.used:
                    self.tell(code, f"`{section}.{name}` is not used: {verb}", (section, name), help, key=True, severity="warning")


def _meet(left: BindAddress, right: BindAddress) -> bool:
    if left.is_unix or right.is_unix:
        return left.path == right.path
    if left.port != right.port or left.port == 0:
        return False
    hosts = {left.host, right.host}
    if len(hosts) == 1 or "" in hosts or "::" in hosts:  # `[::]` takes IPv4 in as well
        return True
    return "0.0.0.0" in hosts and not any(":" in host for host in hosts)
