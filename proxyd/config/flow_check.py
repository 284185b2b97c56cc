"""Listeners that pass flows on, against the upstreams that they send to: what there needs a request cannot work for them."""

from __future__ import annotations

from collections.abc import Iterator

from proxyd.config.doubt import Doubt
from proxyd.config.flow_shadow import shadowed_hellos
from proxyd.config.flows import FlowListener, TlsListener
from proxyd.config.keys import FLOW_KEYS, split_key
from proxyd.config.model import Config, Upstream
from proxyd.diagnostics.marked import Step

Path = tuple[Step, ...]
_KEYS = ", ".join(f"`{key}`" for key in FLOW_KEYS)


def flow_targets(config: Config) -> Iterator[tuple[Path, str]]:
    """The upstreams that flows are sent to, each with the place that names it."""
    for name, listener in config.listeners.items():
        for index, route in enumerate(listener.flow_routes if isinstance(listener, FlowListener) else ()):
            here: Path = ("listeners", name, "routes", index) if isinstance(listener, TlsListener) else ("listeners", name)
            for to in route.to:
                yield (*here, "to", to), to


def flow_faults(config: Config) -> Iterator[Doubt]:
    """Settings of upstreams that have no meaning for a listener that sends there: an error at the upstream, once for each setting."""
    senders: dict[str, dict[str, str]] = {}  # upstream → the modes of those listeners, each with the first one's name
    for path, to in flow_targets(config):
        listener = str(path[1])
        senders.setdefault(to, {}).setdefault(config.listeners[listener].mode, listener)
    for name, modes in senders.items():
        upstream = config.upstreams.get(name)
        if upstream is not None:
            yield from _reads_requests(name, upstream, *next(iter(modes.items())))
            if "udp" in modes:
                yield from _needs_streams(name, upstream, modes["udp"])


def _reads_requests(name: str, upstream: Upstream, mode: str, listener: str) -> Iterator[Doubt]:
    sender = f"the listener `{listener}` (`mode: {mode}`) sends there, and reads no requests"
    key = upstream.balance.hash
    if key is not None and split_key(key)[0] not in FLOW_KEYS:
        where: Path = ("upstreams", name, "balance", "hash")
        yield Doubt("PXD-024", f"the key `{key}` has no meaning for `{name}`: {sender}", where, f"keys of connections: {_KEYS}")
    by = next((kind for kind in upstream.sticky.kinds() if kind != "source"), None) if upstream.sticky is not None else None
    if by is not None:
        help = "write `sticky: source`, or give the listener an upstream of its own"
        yield Doubt("PXD-024", f"`sticky` by `{by}` has no meaning for `{name}`: {sender}", ("upstreams", name, "sticky"), help)


def _needs_streams(name: str, upstream: Upstream, listener: str) -> Iterator[Doubt]:
    here: Path = ("upstreams", name)
    sender = f"the listener `{listener}` (`mode: udp`) sends there"
    for index, server in enumerate(upstream.servers):
        if server.address.is_unix:
            help = "a server of datagrams has an address and a port"
            yield Doubt("PXD-024", f"`{name}` cannot have a unix socket: {sender}", (*here, "servers", index, "address"), help)
    if upstream.proxy_protocol is not None and upstream.proxy_protocol.version == "v1":
        message = f"version 1 of the PROXY header is not for datagrams: {sender}"
        yield Doubt("PXD-024", message, (*here, "proxy_protocol", "version"), "write `proxy_protocol: v2`")


def flow_shadows(config: Config) -> Iterator[Doubt]:
    """Routes, and server names in them, that earlier routes leave nothing to."""
    for name, listener in config.listeners.items():
        if not isinstance(listener, TlsListener):
            continue
        for index, shadow in shadowed_hellos(listener.routes).items():
            route, here = listener.routes[index], ("listeners", name, "routes", index)
            by = " and ".join(f"`{listener.routes[other].name}`" for other in shadow.by[:3]) + (" and others" if len(shadow.by) > 3 else "")
            take = f"{by} before it take{'s' if len(shadow.by) == 1 else ''}"
            if shadow.whole:
                help = "the first route that matches wins; move it up, or remove it"
                yield Doubt("PXD-103", f"the route `{route.name}` can never match: {take} all its hellos", (*here, "match"), help)
                continue
            for number in shadow.names:
                message = f"the route `{route.name}` never gets `{route.match.sni[number]}`: {take} it"
                yield Doubt("PXD-103", message, (*here, "match", "sni", number), "the first route that matches wins; remove the name here")


def flow_only(config: Config) -> frozenset[str]:
    """The upstreams that are sent flows and no requests."""
    requests = {
        name
        for routes in config.tables()
        for route in routes
        for name in (*(route.to or ()), *(other.to for other in (route.failover, route.mirror) if other is not None))
    }
    return frozenset({to for _, to in flow_targets(config)} - requests)


def flow_doubts(config: Config) -> Iterator[Doubt]:
    """What cannot act, or lets in more than was meant."""
    for name, listener in config.listeners.items():
        if listener.mode == "tcp" and listener.proxies is None and "header_timeout" in listener.limits.model_fields_set:
            message = "`header_timeout` has no effect: nothing has to come before connections are passed on"
            yield Doubt("PXD-106", message, ("listeners", name, "limits", "header_timeout"), "see `flow: {idle_timeout: …}`")
        for index, bind in enumerate(listener.bind):
            if bind.is_unix and listener.allow and "unix" not in listener.allow and listener.proxies is None:
                message = f"`{bind}` lets nobody in: `allow` does not name `unix`"
                yield Doubt("PXD-106", message, ("listeners", name, "bind", index), "add `unix` to `allow`")
        for index, network in enumerate(listener.client_ip.trust if listener.client_ip is not None else ()):
            if network.endswith("/0"):
                message = f"`{network}` is everyone: whoever reaches the listener may pretend to be any client"
                help = "name the networks of the proxies before this one, like `10.0.0.0/8`"
                yield Doubt("PXD-112", message, ("listeners", name, "client_ip", "trust", index), help)
