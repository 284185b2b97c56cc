"""From the config model to the native snapshot's specification. Nothing here fails on a config that `check` accepts."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from proxyd.config.flows import FlowLimits
from proxyd.config.listeners import HttpListener, Limits
from proxyd.snapshot.build_flows import build_admission, build_flow
from proxyd.snapshot.build_routes import build_pages, build_route
from proxyd.snapshot.build_upstreams import PROCESS_KEY, build_upstream
from proxyd.snapshot.describe import reachable
from proxyd.snapshot.members import Members
from proxyd.snapshot.store import Store
from proxyd.state import NO_ROUTE
from proxyd_ext.snapshot.spec import ErrorPage, ListenerSpec, RouteSpec, SnapshotSpec

if TYPE_CHECKING:
    from proxyd.config.address import BindAddress
    from proxyd.config.model import Config, Listener
    from proxyd_ext.cache.store import Cache
    from proxyd_ext.io.listener import Listener as NativeListener
    from proxyd_ext.route.stats import RouteStats

__all__ = ["Listen", "build_spec", "used_upstreams"]

Listen = Callable[[str, "BindAddress"], "NativeListener"]
"""(listener name, address) -> the bound native listener."""


def build_spec(
    config: Config,
    members: Members,
    listen: Listen,
    store: Store,
    *,
    generation: int,
    config_hash: str,
    sticky_key: bytes = PROCESS_KEY,
    cache: Cache | None = None,
) -> SnapshotSpec:
    """The specification of a snapshot. New handles are made in `store`; carried-over ones are the same objects as before.

    `cache` is where routes store; None where nothing is stored (`Store.cache`).
    `sticky_key` signs the cookies of upstreams whose config has no secret. It stays the same over reloads, or clients lose their servers.
    """
    zone = config.runtime.zone or ""
    upstreams = tuple(
        build_upstream(name, upstream, members[name], store, zone=zone, sticky_key=sticky_key)
        for name, upstream in config.upstreams.items()
    )
    handles = store.handles()
    index = {name: number for number, name in enumerate(config.upstreams)}
    pages = build_pages(config.defaults.error_pages)
    tables: list[tuple[RouteSpec, ...]] = []
    table_of: dict[int, int] = {}              # id of a tuple of routes -> index of its table: listeners without own routes share one
    listeners: list[ListenerSpec] = []
    for name, listener in config.listeners.items():
        if not isinstance(listener, HttpListener):
            flow = build_flow(config, name, index)
            listeners += [replace(_common(name, listener, listen(name, bind)), flow=flow) for bind in listener.bind]
            continue
        routes = config.routes_of(listener)
        if id(routes) not in table_of:
            table_of[id(routes)] = len(tables)
            tables.append(tuple(build_route(config, route, index, handles, store.lane(config, name, route)) for route in routes))
        stats = tuple(store.route(name, route) for route in (*(route.name for route in routes), NO_ROUTE))
        for bind in listener.bind:
            listeners.append(_serving(listener, _common(name, listener, listen(name, bind)), table_of[id(routes)], stats, pages))
    return SnapshotSpec(
        generation, config_hash, tuple(listeners), tuple(tables), upstreams, cache=cache, purge_allow=config.cache.purge.allow,
        overload=store.overload if config.runtime.overload is not None else None, handles=tuple(handles.keys),
        trace_share=int(config.tracing.sample) / 1_000_000 if config.tracing is not None else None,
    )


def used_upstreams(config: Config) -> tuple[str, ...]:
    """The upstreams that some listener can send requests to, or copies of them, or flows, in the order of the config."""
    used = {name for listener in config.listeners.values() for route in config.routes_of(listener) for name in reachable(route)}
    used |= {to for name in config.listeners for route in config.flow_routes_of(name) for to, weight in route.to.items() if weight}
    return tuple(name for name in config.upstreams if name in used)


def _common(name: str, listener: Listener, native: NativeListener) -> ListenerSpec:
    """What holds for every connection, whatever comes over it."""
    limits = listener.limits
    spec = ListenerSpec(
        native, name, access=build_admission(listener), proxy=listener.proxies, connections=limits.connections, per_client=limits.per_client
    )
    if isinstance(limits, FlowLimits | Limits):
        return replace(spec, buffer=int(limits.buffer), header_ms=int(limits.header_timeout))
    return spec


def _serving(
    listener: HttpListener, spec: ListenerSpec, table: int, stats: tuple[RouteStats, ...], pages: tuple[ErrorPage, ...]
) -> ListenerSpec:
    limits = listener.limits
    told = listener.client_ip if listener.client_ip is not None and not listener.client_ip.proxy_protocol else None
    return replace(
        spec,
        table=table,
        stats=stats,
        client_ip_header=told.header if told else "",
        trust=told.trust if told else (),
        header_size=int(limits.header_size),
        header_count=limits.header_count,
        uri_length=int(limits.uri_length),
        body_size=int(limits.body_size),
        idle_ms=int(limits.idle_timeout),
        min_body_rate=int(limits.min_body_rate),
        error_pages=pages,
    )
