"""Shorthands that move things about, applied to the data before validation, positions and all:

* `listen: …` becomes the listener `default`; a top-level `to: …` the last route;
* a listener's own `to`, `redirect` or `respond` becomes its `routes`; with `mode: tls_passthrough`, `to` the last of them;
* a route without a name gets one that is made from its match, so that it stays the same when routes are added around it;
* addresses in a route's `to` become an upstream that is named after the route, and addresses for an upstream its `servers`;
* one active check becomes a list of one (lift_health.py);
* a shared tier that is set up is looked into, unless `tiers` says otherwise.

What has the wrong shape is left as it stands; validation tells of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxyd.config.lift_health import lift_health
from proxyd.config.listeners import BY_MODE
from proxyd.config.text import is_name
from proxyd.diagnostics.diagnostic import Diagnostic
from proxyd.diagnostics.fail import shown
from proxyd.diagnostics.marked import Map, Seq, Spot

DEFAULT = "default"
_ACTIONS = ("to", "redirect", "respond")


def lift(data: Map, found: list[Diagnostic]) -> None:
    """Bring `data` into the canonical shape, in place."""
    _lift_servers(data, found)
    _lift_tiers(data)
    _lift_listen(data, found)
    _lift_last_route(data)
    upstreams = _Upstreams(data, found)
    _name_routes(data.get("routes"))
    for route in _maps(data.get("routes")):
        upstreams.lift(route, str(route.get("name", DEFAULT)))
    listeners = data.get("listeners")
    for name, listener in listeners.items() if isinstance(listeners, Map) else ():
        if isinstance(listener, Map) and BY_MODE.word_of(listener) in ("tcp", "udp"):
            upstreams.lift(listener, name)
        elif isinstance(listener, Map):
            if BY_MODE.word_of(listener) == "tls_passthrough":
                _lift_hellos(listener)
            else:
                _lift_own_route(listener, found)
            _name_routes(listener.get("routes"))
            for route in _maps(listener.get("routes")):
                upstreams.lift(route, name if route.get("name") == DEFAULT else f"{name}-{route.get('name', DEFAULT)}")


def _maps(value: object) -> Iterable[Map]:
    return [item for item in value if isinstance(item, Map)] if isinstance(value, Seq) else []


def _lift_servers(data: Map, found: list[Diagnostic]) -> None:
    section = data.get("upstreams")
    if not isinstance(section, Map):
        return
    for name, value in section.items():
        if isinstance(value, str | Seq):
            spot = section.spots[name]
            section[name] = Map(spot.key).put("servers", value, spot)
        if isinstance(value, Map):
            lift_health(value.get("health"), found)


def _lift_tiers(data: Map) -> None:
    cache = data.get("cache")
    if isinstance(cache, Map) and "shared" in cache and "tiers" not in cache and "tiers" not in cache.lost:
        spot = cache.spots["shared"]
        at = Spot(spot.key, spot.key)
        cache.put("tiers", Seq(spot.key).add("memory", at).add("shared", at), at)


def _lift_listen(data: Map, found: list[Diagnostic]) -> None:
    if "listen" not in data:
        return
    value, spot = data.take("listen")
    listeners = data.get("listeners")
    if listeners is None:
        listeners = Map(spot.key)
        data.put("listeners", listeners, spot)
    if not isinstance(listeners, Map):
        return
    if DEFAULT in listeners:
        found.append(Diagnostic("PXD-024", "`listen` stands for `listeners.default`, which is defined too", spot.key, "keep one of them"))
        return
    listeners.put(DEFAULT, Map(spot.key).put("bind", value, spot), spot)


def _lift_last_route(data: Map) -> None:
    if "to" not in data:
        return
    value, spot = data.take("to")
    routes = data.get("routes")
    if routes is None and "routes" not in data.lost:
        routes = Seq(spot.key)
        data.put("routes", routes, spot)
    if isinstance(routes, Seq):
        routes.add(Map(spot.key).put("to", value, spot), spot)


def _lift_own_route(listener: Map, found: list[Diagnostic]) -> None:
    given = [name for name in ("routes", *_ACTIONS) if name in listener]
    for extra in given[1:]:
        _, spot = listener.take(extra)
        found.append(Diagnostic("PXD-024", f"the listener has both `{given[0]}` and `{extra}`", spot.key, "put them into `routes`"))
    if given and given[0] != "routes":
        value, spot = listener.take(given[0])
        route = Map(spot.key).put(given[0], value, spot)
        listener.put("routes", Seq(spot.key).add(route, spot), spot)


def _lift_hellos(listener: Map) -> None:
    """`to` is the route for what no other takes; a name, or a list of names, is what a hello must ask for."""
    _lift_last_route(listener)
    for route in _maps(listener.get("routes")):
        match = route.get("match")
        if isinstance(match, Seq):
            spot = route.spots["match"]
            route["match"] = Map(spot.value).put("sni", match, spot)


def _name_routes(routes: object) -> None:
    names = _Names({str(route["name"]) for route in _maps(routes) if "name" in route})
    for route in _maps(routes):
        if "name" in route or "name" in route.lost:
            continue
        route.put("name", names.take(name_of(route.get("match"))), Spot(route.span, route.span))


def name_of(match: object) -> str:
    """A route's name after its match: `GET /api/*` → `get-api`, `*.example.com/*` → `any.example.com`, nothing → `default`.

    The names of the fields, parameters and cookies that it asks for come behind: `api-x-env`. Server names and application protocols stand
    for themselves: `a.example-h2`.
    """
    if isinstance(match, Map) and ("sni" in match or "alpn" in match):
        given = [match.get("sni", ""), match.get("alpn", "")]
        text = " ".join(str(word) for part in given for word in (part if isinstance(part, Seq) else [part]))
    elif isinstance(match, Map):
        method = match.get("method")
        words = [str(word) for word in method] if isinstance(method, Seq) else [str(method)] if method else []
        tests = [str(name) for part in ("header", "query", "cookie") for name in _keys(match.get(part))]
        where = "".join(_pattern(match.get(part, "")) for part in ("host", "path"))
        text = f"{','.join(words)} {where} {' '.join(tests)}"
    else:
        text = match if isinstance(match, str) else ""
    text = text.strip()
    if text.endswith("/") and text.count("/") == 1:
        text += "root"
    text = re.sub(r"(^|\s)\*\.", r"\1any.", text)
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text.lower()).strip("-.")[:80] or DEFAULT


def _pattern(value: object) -> str:
    return str(value.get("regex", "")) if isinstance(value, Map) else str(value)


def _keys(value: object) -> Iterable[str]:
    return value if isinstance(value, Map) else ()


class _Names:
    """Names that are given out once: `api`, then `api-2`, `api-3`."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.next: dict[str, int] = {}  # so that thousands of one name do not count up from 2 each

    def take(self, name: str) -> str:
        found, count = name, self.next.get(name, 2)
        while found in self.taken:
            found, count = f"{name}-{count}", count + 1
        self.taken.add(found)
        self.next[name] = count
        return found


class _Upstreams:
    """Where addresses in `to` go."""

    def __init__(self, data: Map, found: list[Diagnostic]) -> None:
        self.data, self.found = data, found
        upstreams = data.get("upstreams")
        self.named = set(upstreams) if isinstance(upstreams, Map) else set()
        self.names = _Names(set(self.named))

    def lift(self, route: Map, name: str) -> None:
        value = route.get("to")
        if (isinstance(value, str) and ":" not in value) or not isinstance(value, str | Seq):
            return
        if isinstance(value, Seq) and self.refuse_names(value, route):
            return
        spot = route.spots["to"]
        route["to"] = upstream = self.names.take(_free_of(name, self.named))
        upstreams = self.data.get("upstreams")
        if upstreams is None:
            upstreams = Map(spot.key)
            self.data.put("upstreams", upstreams, spot)
        if isinstance(upstreams, Map):
            upstreams.put(upstream, Map(spot.key).put("servers", value, spot), spot)

    def refuse_names(self, value: Seq, route: Map) -> bool:
        """A list of upstreams' names instead of addresses gets a finding of its own, since `{name: weight}` is what is meant."""
        names = [item for item in value if isinstance(item, str) and item in self.named]
        if not names:
            return False
        if len(value) == 1:
            help = f"write `to: {names[0]}`"
        elif all(is_name(item) for item in value):
            help = f"for several upstreams write their weights: `to: {{{', '.join(f'{item}: 50' for item in value)}}}`"
        else:
            help = "define an upstream for the addresses too, and write `to: {NAME: WEIGHT, …}`"
        at = value.spots[value.index(names[0])].value
        self.found.append(Diagnostic("PXD-030", f"a list in `to` holds addresses, and {shown(names[0])} is an upstream", at, help))
        route.take("to")
        route.lost.add("to")
        route.tainted = True
        return True


def _free_of(name: str, named: set[str]) -> str:
    """A route's servers must not seem to be the upstream of the same name."""
    return f"{name}-servers" if name in named else name
