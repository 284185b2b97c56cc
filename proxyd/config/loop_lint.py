"""What goes round in a circle: a server that is a listener of ours, by which its requests come back, and a redirect to its own route."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from proxyd.config.address import Address, BindAddress
from proxyd.config.doubt import Doubt
from proxyd.config.match import Match
from proxyd.config.model import Config, Route, Upstream
from proxyd.diagnostics.marked import Step

Path = tuple[Step, ...]


def loop_doubts(config: Config) -> Iterator[Doubt]:
    yield from _servers(config)
    for table, routes in _tables(config):
        for index, route in enumerate(routes):
            if route.redirect is not None and _comes_back(routes, index):
                message = f"the redirect leads to `{route.redirect.to}`, which this route takes as well: clients go round in a circle"
                help = "narrow `match` so that the new place is not in it, or put a route for that place before this one"
                yield Doubt("PXD-124", message, (*table, index, "redirect"), help)


def _tables(config: Config) -> Iterator[tuple[Path, tuple[Route, ...]]]:
    yield ("routes",), config.routes
    for name, listener in config.listeners.items():
        if listener.own_routes is not None:
            yield ("listeners", name, "routes"), listener.own_routes


# ------------------------------------------------------------------ servers
def _servers(config: Config) -> Iterator[Doubt]:
    """A listener behind another one is fine, as long as nothing leads from it to where the requests came from."""
    doors: dict[int | str, list[tuple[str, BindAddress]]] = {}     # port or path -> the listeners of TCP there
    for name, listener in config.listeners.items():
        for bind in listener.bind if listener.transport == "tcp" else ():
            doors.setdefault(bind.path or bind.port, []).append((name, bind))
    leads = {name: _upstreams_of(config, name) for name in config.listeners}     # listener -> upstreams
    arrives = {name: list(_listeners_of(upstream, doors)) for name, upstream in config.upstreams.items()}
    for name, hits in arrives.items():
        for index, door in hits:
            if name in _reached(door, leads, arrives):
                places = " and ".join(f"`{place}`" for place in config.listeners[door].bind[:3])
                message = f"the server is proxyd itself: the listener `{door}` has {places}, and sends to `{name}` again"
                help = "write the address of the service; a request would go round until its connections are used up"
                yield Doubt("PXD-120", message, ("upstreams", name, "servers", index, "address"), help)


def _upstreams_of(config: Config, listener: str) -> set[str]:
    found = {name for route in config.flow_routes_of(listener) for name in route.to}
    for route in config.routes_of(config.listeners[listener]):
        found |= {name for name, weight in (route.to or {}).items() if weight}
        found |= {other.to for other in (route.failover, route.mirror) if other is not None}
    return found


def _listeners_of(upstream: Upstream, doors: Mapping[int | str, Sequence[tuple[str, BindAddress]]]) -> Iterator[tuple[int, str]]:
    """The servers that are listeners: number, and name of the listener."""
    for index, server in enumerate(upstream.servers):
        for name, bind in doors.get(server.address.path or server.address.port, ()):
            if _leads_to(server.address, bind):
                yield index, name
                break


def _leads_to(address: Address, bind: BindAddress) -> bool:
    """Whether who connects to the address surely meets the listener, which has that port: other addresses of this machine are not known
    here."""
    if address.is_unix or bind.is_unix:
        return address.path == bind.path
    host = "127.0.0.1" if address.host == "localhost" else address.host
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    if bind.host in ("", "::"):
        return loopback
    return host == bind.host or (bind.host == "0.0.0.0" and loopback and ":" not in host)


def _reached(listener: str, leads: dict[str, set[str]], arrives: dict[str, list[tuple[int, str]]]) -> set[str]:
    """The upstreams that requests which come in at the listener can be sent to, by way of other listeners too."""
    found: set[str] = set()
    waiting = [listener]
    seen = {listener}
    while waiting:
        for upstream in leads[waiting.pop()] - found:
            found.add(upstream)
            further = {name for _, name in arrives.get(upstream, ())} - seen
            seen |= further
            waiting += further
    return found


# ------------------------------------------------------------------ redirects
def _comes_back(routes: tuple[Route, ...], index: int) -> bool:
    """Whether what the route redirects is redirected again by it: for one request that it takes, and the place that it is sent to."""
    route = routes[index]
    match = route.match
    if route.redirect is None or match.demands or not route.redirect.to.startswith(("/", "{path}")):
        return False
    asked = match.path_text if match.path_exact else f"{match.path_text or '/'}x"
    place = route.redirect.to.replace("{path}", asked).partition("{query}")[0].partition("?")[0]
    return "{" not in place and _takes(match, place) and not any(_takes(earlier.match, place) for earlier in routes[:index])


def _takes(match: Match, path: str) -> bool:
    """Whether a pattern takes the path, of any host: one for which that cannot be told here counts as taking it."""
    return path == match.path_text if match.path_exact else path.startswith(match.path_text)
