"""From a listener of the config to what it does before there is any request: who may connect, and where flows go."""
from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from proxyd.config.flows import FlowListener, TcpFlow, TlsListener, UdpFlow
from proxyd.snapshot.build_routes import build_retry
from proxyd_ext.snapshot.spec import AccessFilter, FlowRoute, FlowSpec, TargetSpec

if TYPE_CHECKING:
    from proxyd.config.model import Config, Listener

NO_SNI = "no-sni"
"""Name of the route that refuses hellos without a server name (`no_sni: refuse`)."""
_KINDS: dict[str, Literal["tcp", "tls", "udp"]] = {"tcp": "tcp", "udp": "udp", "tls_passthrough": "tls"}


def build_admission(listener: Listener) -> AccessFilter | None:
    """Who may connect at all; None: everyone."""
    if not listener.allow and not listener.deny:
        return None
    return AccessFilter(listener.allow, listener.deny, default_allow=not listener.allow, policy="listener")


def build_flow(config: Config, name: str, index: dict[str, int]) -> FlowSpec | None:
    """`index`: upstream name -> its number. None: the listener serves requests."""
    listener = config.listeners[name]
    if not isinstance(listener, FlowListener):
        return None
    flow = listener.flow
    return FlowSpec(
        kind=_KINDS[listener.mode],
        routes=tuple(_routes(config, name, listener, index)),
        idle_ms=int(flow.idle_timeout),
        max_age_ms=int(flow.max_age),
        drain_ms=int(flow.drain_timeout),
        keepalive=flow.keepalive if isinstance(flow, TcpFlow) else False,
        responses=flow.responses if isinstance(flow, UdpFlow) else 0,
        amplification=flow.amplification if isinstance(flow, UdpFlow) else 0,
    )


def _routes(config: Config, name: str, listener: FlowListener, index: dict[str, int]) -> list[FlowRoute]:
    refused = [FlowRoute(NO_SNI, (), names=("",))] if isinstance(listener, TlsListener) and listener.no_sni == "refuse" else []
    return refused + [
        FlowRoute(route.name, tuple(_target(config, to, index[to], weight) for to, weight in route.to.items()), route.names, route.alpn)
        for route in config.flow_routes_of(name)
    ]


def _target(config: Config, name: str, number: int, weight: int) -> TargetSpec:
    upstream = config.upstreams[name]
    return TargetSpec(number, weight, int(upstream.timeout.connect), build_retry(upstream.retry))
