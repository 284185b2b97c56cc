"""What is allowed and most likely not meant: settings that cannot act, and settings that do something surprising."""

from __future__ import annotations

from collections.abc import Iterator

from proxyd.config.access_lint import access_doubts
from proxyd.config.admin_lint import admin_doubts
from proxyd.config.auth_lint import auth_doubts
from proxyd.config.bound_lint import bound_doubts
from proxyd.config.cache_lint import cache_doubts
from proxyd.config.doubt import Doubt
from proxyd.config.flow_check import flow_doubts, flow_only
from proxyd.config.health_lint import health_doubts
from proxyd.config.jwt_lint import jwt_doubts
from proxyd.config.limit_check import limit_doubts
from proxyd.config.loop_lint import loop_doubts
from proxyd.config.model import Config, Retry, Route, Upstream
from proxyd.diagnostics.marked import Step

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})  # RFC 9110 §9.2.2


def lint(config: Config) -> Iterator[Doubt]:
    """Everything doubtful in a config that is right and whole. (Routes that can never match: shadow.py.)"""
    for index, route in enumerate(config.routes):
        yield from _route(route, ("routes", index))
    for name, listener in config.listeners.items():
        for index, route in enumerate(listener.own_routes or ()):
            yield from _route(route, ("listeners", name, "routes", index))
    unqueued = flow_only(config)
    for name, upstream in config.upstreams.items():
        yield from _upstream(config, name, upstream, flows=name in unqueued)
        yield from health_doubts(upstream.health, ("upstreams", name, "health"))
    yield from _cookies(config)
    yield from cache_doubts(config)
    yield from auth_doubts(config)
    yield from limit_doubts(config)
    yield from access_doubts(config)
    yield from jwt_doubts(config)
    yield from flow_doubts(config)
    yield from admin_doubts(config)
    yield from bound_doubts(config)
    yield from loop_doubts(config)
    yield from _tables(config)


def _tables(config: Config) -> Iterator[Doubt]:
    """Of the table that listeners share."""
    listeners = config.listeners.values()
    if config.routes and listeners and not any(config.routes_of(listener) is config.routes for listener in listeners):
        message = "the top-level `routes` are never used: no listener takes requests without routes of its own"
        help = "add a listener without `to`, `redirect`, `respond` and `routes`, or move them to the listener that they are for"
        yield Doubt("PXD-123", message, ("routes",), help)


def _route(route: Route, here: tuple[Step, ...]) -> Iterator[Doubt]:
    if route.match.method and not IDEMPOTENT & {*route.match.method}:
        yield from _repeated(route, here)
    if route.mirror is not None and (route.to or {}).get(route.mirror.to):
        yield Doubt(
            "PXD-105",
            f"copies go to `{route.mirror.to}`, which gets the requests too: it sees some of them twice",
            (*here, "mirror"),
            "copy to an upstream of its own",
        )
    live = [name for name, weight in (route.to or {}).items() if weight]
    if route.sticky is not None and len(live) == 1:
        help = f"to keep clients on one server, write `upstreams.{live[0]}.sticky`"
        yield Doubt("PXD-106", f"`sticky` has no effect: everything goes to `{live[0]}`", (*here, "sticky"), help)
    if route.rewrite is not None:
        replaced = route.rewrite.replace_prefix
        for name, prefix in (("strip_prefix", route.rewrite.strip_prefix), ("replace_prefix", replaced.old if replaced else None)):
            if prefix and not _may_begin(route, prefix):
                message = f"`{name}` has no effect: no path that the route takes begins with `{prefix}`"
                yield Doubt("PXD-106", message, (*here, "rewrite", name), "see the route's `match`")


def _may_begin(route: Route, prefix: str) -> bool:
    """Whether some path that the route takes has the prefix as its first segments."""
    match = route.match
    if not match.path_text:
        return True
    if match.path_exact:
        return match.path_text == prefix or match.path_text.startswith(prefix + "/")
    return f"{prefix}/".startswith(match.path_text) or match.path_text.startswith(prefix + "/")


def _repeated(route: Route, here: tuple[Step, ...]) -> Iterator[Doubt]:
    """Of a route whose methods may not be repeated once a server has seen them."""
    methods = ", ".join(route.match.method)
    if route.hedge is not None:
        yield Doubt("PXD-104", f"`hedge` has no effect: {methods} is not idempotent", (*here, "hedge"), "only GET, HEAD, … are asked twice")
    retry = route.retry
    if retry is not None and retry.attempts and not retry.idempotency_key and _vain(retry):
        yield Doubt(
            "PXD-104",
            f"`when` has no effect for {_vain(retry)}: {methods} is not idempotent, so what a server may have begun is not repeated",
            (*here, "retry", "when"),
            "with `idempotency_key: true`, requests that carry Idempotency-Key are",
        )


def _vain(retry: Retry) -> str:
    return ", ".join(f"`{word}`" for word in retry.when if word not in ("connect_failure", "reset"))


def _upstream(config: Config, name: str, upstream: Upstream, *, flows: bool) -> Iterator[Doubt]:
    here: tuple[Step, ...] = ("upstreams", name)
    tiers = {server.tier for server in upstream.servers}
    if all(server.backup for server in upstream.servers):
        yield Doubt("PXD-107", f"all servers of `{name}` are backups", (*here, "servers"), "backups of what? leave `backup` out")
    zoned = [index for index, server in enumerate(upstream.servers) if server.zone]
    if zoned and upstream.zones.prefer == "local" and config.runtime.zone is None:
        message = "`zone` has no effect: it is not said where proxyd itself stands"
        yield Doubt("PXD-106", message, (*here, "servers", zoned[0], "zone"), "add `runtime: {zone: …}`, or `zones: none`")
    yield from _apart(config, name, upstream)
    limited = upstream.circuit.max_requests or upstream.circuit.adaptive or any(server.max_requests for server in upstream.servers)
    if upstream.circuit.max_pending and flows:
        message = "`max_pending` has no effect: only flows are sent here, and a flow that finds no room is refused at once"
        yield Doubt("PXD-106", message, (*here, "circuit", "max_pending"), "leave it out")
    elif upstream.circuit.max_pending and not limited:
        message = "`max_pending` has no effect: nothing bounds the requests at a time, so none waits"
        yield Doubt("PXD-106", message, (*here, "circuit", "max_pending"), "add `max_requests` here or to the servers")
    checked = upstream.health.active or upstream.health.passive
    if upstream.slow_start and len(upstream.servers) == 1 and tiers == {0} and checked and _fixed(upstream):
        yield Doubt("PXD-106", "`slow_start` has no effect with one server", (*here, "slow_start"), "there is none to take the rest")
    if upstream.sticky is not None and upstream.sticky.source and upstream.balance.hash in ("client.ip", "client.net"):
        message = f"`sticky: source` has no effect: `{upstream.balance.kind}` chooses by the address already"
        yield Doubt("PXD-106", message, (*here, "sticky"), "keep one of them")


def _apart(config: Config, name: str, upstream: Upstream) -> Iterator[Doubt]:
    """Of `zones: {cross: false}`."""
    if upstream.zones.cross:
        return
    zones = [server.zone for server in upstream.servers]
    if not any(zones):
        message = "`cross: false` has no effect: no server tells its zone"
        yield Doubt("PXD-106", message, ("upstreams", name, "zones", "cross"), "add `zone: …` to the servers")
    elif config.runtime.zone is not None and not {None, config.runtime.zone} & {*zones}:
        message = f"no server of `{name}` is ever used: none stands in the zone `{config.runtime.zone}`, and `cross: false` keeps to that"
        yield Doubt("PXD-119", message, ("upstreams", name, "zones", "cross"), "add one of that zone, or leave `cross` out")


def _fixed(upstream: Upstream) -> bool:
    """Whether its servers are addresses: a name may have several."""
    return all(server.address.is_unix or server.address.is_ip for server in upstream.servers)


def _cookies(config: Config) -> Iterator[Doubt]:
    """One cookie of one path and domain cannot hold the servers of two upstreams; they would drive out each other's."""
    first: dict[tuple[str, str, str | None], str] = {}
    for name, upstream in config.upstreams.items():
        sticky = upstream.sticky
        if sticky is None or sticky.cookie is None:
            continue
        key = (sticky.cookie.name, sticky.cookie.path, sticky.cookie.domain)
        if key in first:
            yield Doubt(
                "PXD-108",
                f"the sticky cookie `{sticky.cookie.name}` is that of `{first[key]}` too: clients of both lose one server with the other",
                ("upstreams", name, "sticky"),
                "give each upstream a cookie name of its own",
            )
        first.setdefault(key, name)
