"""What is doubtful about caching: settings that cannot act, and answers that could reach those whom they are not meant for."""

from __future__ import annotations

from collections.abc import Iterator

from proxyd.config.cache import Aside, Cache
from proxyd.config.doubt import Doubt
from proxyd.config.model import Config, Route
from proxyd.config.route_cache import RouteCache
from proxyd.diagnostics.marked import Step

STORED_METHODS = frozenset({"GET", "HEAD"})
Path = tuple[Step, ...]


def cache_doubts(config: Config) -> Iterator[Doubt]:
    for here, route in _routes(config):
        if route.cache is not None:
            yield from _reach(route, route.cache, here)
            yield from _sessions(config, route, route.cache, here)
        yield from _compress(config, route, here)
    yield from _compress_by_default(config)
    yield from _section(config)
    for name, listener in config.listeners.items():
        for index, bind in enumerate(listener.bind):
            if listener.mode == "cache" and not bind.is_loopback and not listener.allow:
                message = f"who reaches `{bind}` may read, change and delete what applications have stored"
                help = "bind it to a loopback address or a unix socket, or say who may connect, like `allow: [10.0.0.0/8]`"
                yield Doubt("PXD-112", message, ("listeners", name, "bind", index), help)


def _routes(config: Config) -> Iterator[tuple[Path, Route]]:
    for index, route in enumerate(config.routes):
        yield ("routes", index), route
    for name, listener in config.listeners.items():
        for index, route in enumerate(listener.own_routes or ()):
            yield ("listeners", name, "routes", index), route


def _reach(route: Route, cache: RouteCache, here: Path) -> Iterator[Doubt]:
    """Of what the key, the match and the lifetimes take in."""
    match = route.match
    if match.method and not STORED_METHODS & {*match.method}:
        message = f"`cache` has no effect: the route takes {', '.join(match.method)}, and only answers to GET and HEAD are stored"
        yield Doubt("PXD-106", message, (*here, "cache"), "add GET to the route's `match`, or leave `cache` out")
    if not cache.has_key("path") and not match.path_exact:
        message = "the key has no `path`, so all paths of the route get the same answer"
        yield Doubt("PXD-109", message, (*here, "cache", "key"), "add `path`")
    if not cache.has_key("host") and (not match.host_text or match.host_text.startswith("*.")):
        message = "the key has no `host`, so all hosts of the route get the same answers"
        yield Doubt("PXD-109", message, (*here, "cache", "key"), "add `host`, or name one host in `match`")
    if cache.bypass is not None and not cache.bypass.demands:
        help = "like `bypass: [header:Authorization, cookie:session]`"
        yield Doubt("PXD-106", "`bypass` has no effect: it says not what goes past the cache", (*here, "cache", "bypass"), help)
    known = next((name for name in ("override", "default") if getattr(cache.ttl, name) is not None), None)
    if cache.heuristic is not None and known is not None:
        message = f"`heuristic` has no effect: `ttl.{known}` is the lifetime of answers that tell none"
        yield Doubt("PXD-106", message, (*here, "cache", "heuristic"), "keep one of them")
    everything = not match.path_exact and match.path_text in ("", "/") and not match.demands
    if cache.ttl.override is not None and everything and cache.bypass is None and not _personal(cache):
        message = "every answer is stored that is not marked as private: a page for one visitor could be shown to others"
        help = "narrow the path, let sessions go past (`bypass: [header:Authorization, cookie:NAME]`), or write `default` for `override`"
        yield Doubt("PXD-110", message, (*here, "cache", "ttl", "override"), help)


def _personal(cache: RouteCache) -> bool:
    return cache.has_key("cookie") or cache.has_key("header")


def _sessions(config: Config, route: Route, cache: RouteCache, here: Path) -> Iterator[Doubt]:
    """Of clients that are to be kept apart."""
    live = [name for name, weight in (route.to or {}).items() if weight]
    if cache.set_cookie == "strip":
        for name in live:
            upstream = config.upstreams.get(name)
            follows = upstream.sticky.app_cookie if upstream is not None and upstream.sticky is not None else None
            if follows:
                message = f"`set_cookie: strip` takes away the cookie `{follows}`, by which clients of `{name}` keep their server"
                yield Doubt("PXD-110", message, (*here, "cache", "set_cookie"), "leave it out: answers with Set-Cookie are not stored then")
    pin = route.sticky
    if pin is None or len(live) < 2:
        return
    kind, word = ("cookie", pin.cookie or "") if pin.cookie is not None else ("header", (pin.header or "").lower())
    if not cache.has_key(kind, word):
        message = f"the answers of {' and '.join(f'`{name}`' for name in live)} are stored as one: a stored one is sent whatever the branch"
        yield Doubt("PXD-111", message, (*here, "cache"), f"add `{kind}:{word}` to `key`, or give each branch a route of its own")


def _compress(config: Config, route: Route, here: Path) -> Iterator[Doubt]:
    own = [index for index, name in enumerate(route.use) if (policy := config.policies.get(name)) is not None and policy.compress]
    for index in own:
        where, name = (*here, "use", index), route.use[index]
        if route.cache is None:
            yield Doubt("PXD-106", f"`{name}` has no effect: what is compressed is what `cache` stores", where, "add `cache` to the route")
        elif index != own[-1]:
            message = f"`{name}` has no effect: `{route.use[own[-1]]}` behind it holds"
            yield Doubt("PXD-106", message, where, "a route compresses in one way; keep one of them")


def _compress_by_default(config: Config) -> Iterator[Doubt]:
    if any(route.cache is not None for _, route in _routes(config)):
        return
    for index, name in enumerate(config.defaults.use):
        if name in config.policies and config.policies[name].compress is not None:
            message = f"`{name}` has no effect: what is compressed is what `cache` stores, and no route has one"
            yield Doubt("PXD-106", message, ("defaults", "use", index), "add `cache` to a route")


def _section(config: Config) -> Iterator[Doubt]:
    cache = config.cache
    if not config.stores:
        if cache != Cache():
            yield Doubt("PXD-106", "`cache` has no effect: nothing is stored", ("cache",), "add `cache: on`, or a lifetime, to a route")
        return
    if cache.shared is not None:
        yield from _shared(config)
    if cache.aside != Aside() and not any(listener.mode == "cache" for listener in config.listeners.values()):
        message = "`aside` has no effect: no listener offers the store to applications"
        yield Doubt("PXD-106", message, ("cache", "aside"), "add a listener with `mode: cache`")
    for index, network in enumerate(cache.purge.allow):
        if network.endswith("/0"):
            message = f"`{network}` is everyone: whoever reaches proxyd may empty the cache"
            yield Doubt("PXD-112", message, ("cache", "purge", "allow", index), "name the networks of those who publish, like `10.0.0.0/8`")


def _shared(config: Config) -> Iterator[Doubt]:
    cache, here = config.cache, ("cache", "shared")
    shares = any(route.serves_store or (route.cache is not None and route.cache.share) for route in _reached(config))
    if not cache.is_shared:
        help = "write `tiers: [memory, shared]`, or leave `tiers` out"
        yield Doubt("PXD-106", "`shared` has no effect: `tiers` leaves it out", here, help)
    elif not shares:
        yield Doubt("PXD-106", "`shared` has no effect: no route shares its answers", here, "remove `share: false` from some")
    redis = cache.shared.redis if cache.shared is not None else None
    if redis is not None and redis.password and not redis.secret:
        help = "write `redis://:${env:REDIS_PASSWORD}@…`, or `${file:PATH}` for the whole URL"
        yield Doubt("PXD-113", "a password stands in the file", (*here, "redis"), help)


def _reached(config: Config) -> Iterator[Route]:
    for listener in config.listeners.values():
        yield from config.routes_of(listener)
