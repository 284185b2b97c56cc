"""From the config model to the native snapshot's specification. Nothing here fails on a config that `check` accepts."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxyd.config.keys import split_key
from proxyd.snapshot.members import Member, Members
from proxyd.snapshot.store import Store
from proxyd.state import NO_ROUTE
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    Action,
    ConsultAction,
    Filter,
    HeadersFilter,
    ListenerSpec,
    MemberSpec,
    ProxyAction,
    RedirectAction,
    RespondAction,
    RetrySpec,
    RouteSpec,
    SnapshotSpec,
    TargetSpec,
    UpstreamSpec,
)

if TYPE_CHECKING:
    from proxyd.config.address import BindAddress
    from proxyd.config.model import Config, Headers, Listener, Policy, Respond, Route, Upstream
    from proxyd_ext.io.listener import Listener as NativeListener
    from proxyd_ext.route.stats import RouteStats

Listen = Callable[[str, "BindAddress"], "NativeListener"]
"""(listener name, address) -> the bound native listener."""


def build_spec(config: Config, members: Members, listen: Listen, store: Store, *, generation: int, config_hash: str) -> SnapshotSpec:
    """The specification of a snapshot. New handles are made in `store`; carried-over ones are the same objects as before."""
    upstreams = tuple(_upstream(name, upstream, members[name], store) for name, upstream in config.upstreams.items())
    index = {name: number for number, name in enumerate(config.upstreams)}
    tables: list[tuple[RouteSpec, ...]] = []
    table_of: dict[int, int] = {}              # id of a tuple of routes -> index of its table: listeners without own routes share one
    listeners: list[ListenerSpec] = []
    for name, listener in config.listeners.items():
        routes = config.routes_of(listener)
        if id(routes) not in table_of:
            table_of[id(routes)] = len(tables)
            tables.append(tuple(_route(config, route, index) for route in routes))
        stats = tuple(store.route(name, route) for route in (*(route.name for route in routes), NO_ROUTE))
        for bind in listener.bind:
            listeners.append(_listener(name, listener, listen(name, bind), table_of[id(routes)], stats))
    return SnapshotSpec(generation, config_hash, tuple(listeners), tuple(tables), upstreams)


def used_upstreams(config: Config) -> tuple[str, ...]:
    """The upstreams that some listener can send requests to, in the order of the config."""
    used = {
        name
        for listener in config.listeners.values()
        for route in config.routes_of(listener)
        for name, weight in (route.to or {}).items()
        if weight
    }
    return tuple(name for name in config.upstreams if name in used)


def _listener(name: str, listener: Listener, native: NativeListener, table: int, stats: tuple[RouteStats, ...]) -> ListenerSpec:
    limits, client_ip = listener.limits, listener.client_ip
    return ListenerSpec(
        listener=native,
        name=name,
        table=table,
        stats=stats,
        client_ip_header=client_ip.header if client_ip else "",
        trust=client_ip.trust if client_ip else (),
        header_size=int(limits.header_size),
        header_count=limits.header_count,
        uri_length=int(limits.uri_length),
        buffer=int(limits.buffer),
        body_size=int(limits.body_size),
        header_ms=int(limits.header_timeout),
        idle_ms=int(limits.idle_timeout),
        min_body_rate=int(limits.min_body_rate),
        per_client=limits.per_client,
    )


def _upstream(name: str, upstream: Upstream, members: tuple[Member, ...], store: Store) -> UpstreamSpec:
    passive = upstream.health.passive
    hash_key, hash_name = split_key(upstream.balance.hash) if upstream.balance.hash else ("client.ip", "")
    return UpstreamSpec(
        name=name,
        state=store.upstream(name),
        members=tuple(
            MemberSpec(store.server(name, member.label, member.address), member.weight, int(member.backup))
            for member in members
            if member.address is not None
        ),
        balance=upstream.balance.kind,
        hash_key=hash_key,
        hash_name=hash_name,
        pool_max=upstream.pool.max,
        pool_idle_ms=int(upstream.pool.idle),
        passive_failures=passive.consecutive_5xx if passive else 0,
        eject_ms=int(passive.eject) if passive else 0,
        max_ejected_percent=int(passive.max_ejected) if passive else 0,
    )


def _route(config: Config, route: Route, index: dict[str, int]) -> RouteSpec:
    return RouteSpec(
        name=route.name,
        action=_action(config, route, index),
        host=route.match.host,
        path=route.match.path_text,
        path_exact=route.match.path_exact,
        methods=frozenset(route.match.method),
        filters=tuple(filter_ for _, policy in config.policies_of(route) for filter_ in build_filters(policy)),
    )


def _target(config: Config, route: Route, name: str, number: int, weight: int) -> TargetSpec:
    """One branch of a route: the upstream's connect timeout and retries, unless the route has its own."""
    upstream = config.upstreams[name]
    connect = upstream.timeout.connect if route.timeout.connect is None else route.timeout.connect
    return TargetSpec(number, weight, int(connect), RetrySpec((route.retry or upstream.retry).attempts))


def _action(config: Config, route: Route, index: dict[str, int]) -> Action:
    if route.to is not None:
        timeout = route.timeout
        return ProxyAction(
            targets=tuple(_target(config, route, name, index[name], weight) for name, weight in route.to.items()),
            first_byte_ms=int(timeout.first_byte),
            between_bytes_ms=int(timeout.between_bytes),
            total_ms=int(timeout.total),
            tunnel_idle_ms=int(timeout.tunnel_idle),
        )
    if route.redirect is not None:
        return RedirectAction(route.redirect.status, route.redirect.to)
    if route.respond is None:
        raise ValueError(f"route {route.name} has no action")     # the model refuses it
    return _respond(route.respond)


def _respond(respond: Respond) -> Action:
    if respond.probe is not None:
        return ConsultAction(respond.probe)
    return RespondAction(respond.status, respond.body.encode(), respond.content_type, _field_lines(respond.headers))


def build_filters(policy: Policy) -> tuple[Filter, ...]:
    """The steps of the chain that a policy stands for."""
    if policy.access is not None:
        return (AccessFilter(policy.access.allow_networks, policy.access.deny_networks, policy.access.default_allow),)
    return (_headers(policy.headers),) if policy.headers is not None else ()


def _headers(headers: Headers) -> HeadersFilter:
    return HeadersFilter(_field_lines(headers.request.set), _field_lines(headers.response.set))


def _field_lines(fields: dict[str, str]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items())
