"""Listeners that pass flows on: TCP connections, UDP datagrams, TLS connections undecrypted."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxyd.config.accept import CHECK_MODE, MODE_DOC, ConnectionLimits, Listener, PeerTrust
from proxyd.config.base import SHORT_FORM, Model
from proxyd.config.flow_routes import FlowRoute
from proxyd.config.routes import TargetsField
from proxyd.config.text import Count, Flag
from proxyd.config.units import Duration, Size, Within
from proxyd.diagnostics.fail import fail

TO_DOC = "Where flows go: an upstream, upstreams with weights, or addresses (which make an upstream of their own)."


class Flow(Model):
    idle_timeout: Annotated[Duration, Within("100ms", "30d", off=True)] = Field(
        Duration("10m"), description="How long neither side may send anything; `none`: no bound."
    )
    max_age: Annotated[Duration, Within("100ms", "365d", off=True)] = Field(
        Duration(0), description="How long a flow may go on at all; `none`: no bound.", examples=["1d"]
    )
    drain_timeout: Annotated[Duration, Within("100ms", "30d", off=True)] = Field(
        Duration("5m"),
        description=(
            "How long a flow may go on when its listener has left the config, or its server has left or is drained; `none`: as long as it "
            "likes."
        ),
    )


class TcpFlow(Flow):
    keepalive: Flag = Field(
        False, description="TCP keep-alive on both connections: a peer that is gone is found out without `idle_timeout`."
    )


class UdpFlow(Flow):
    idle_timeout: Annotated[Duration, Within("100ms", "1d")] = Field(
        Duration("30s"), description="How long neither side may send anything until the flow is forgotten."
    )
    responses: Count = Field(
        0, description="Datagrams of the server that end a flow, 1 for DNS; `none`: `idle_timeout` ends it.", examples=[1]
    )
    amplification: Count = Field(
        10,
        description=(
            "Bytes that are sent to a source that has not spoken again, for each byte that it has sent; 4 KiB always are. A source may be "
            "forged: what is more is dropped. (Who forges an address and asks twice is taken for one who has spoken.) `none`: no bound."
        ),
    )


class FlowLimits(ConnectionLimits):
    buffer: Annotated[Size, Within("16KiB", "64MiB")] = Field(
        Size("1MiB"),
        description=(
            "Bytes kept for one direction of a connection while the other side is slow; of long transfers they stand in a pipe, and the "
            "larger the pieces the cheaper the transfer."
        ),
    )
    header_timeout: Annotated[Duration, Within("100ms", "1h")] = Field(
        Duration("10s"), description="Time in which a PROXY header, and a ClientHello, must arrive."
    )


class UdpLimits(ConnectionLimits):
    connections: Count = Field(
        65_536,
        description=(
            "Flows at a time on the whole listener, over all engines; `none`: 65536 on each engine. When there are as many, one makes "
            "room: the longest idle of those whose client has not spoken again after an answer, else the longest idle of all."
        ),
        examples=[10_000],
    )


class FlowClientIp(PeerTrust):
    @model_validator(mode="after")
    def _told(self) -> Self:
        if not self.proxy_protocol:
            help = "add `proxy_protocol: true`, or leave `client_ip` out"
            raise fail("PXD-022", "only a PROXY header can tell the client's address of a flow", help)
        return self


class FlowListener(Listener):
    """Of these modes the address of a client comes from the connection, or from a PROXY header."""

    client_ip: FlowClientIp | None = Field(None, description="Whom to believe about the client's address; unset: nobody.")
    flow: Flow = Field(Flow(), description="How long flows go on.")

    @property
    def flow_routes(self) -> tuple[FlowRoute, ...]:
        """In order. The one of modes that have no routes bears no name: the listener's is its."""
        return ()


class TcpListener(FlowListener):
    mode: Annotated[Literal["tcp"], CHECK_MODE] = Field(description=MODE_DOC, examples=["tcp"])
    to: TargetsField = Field(description=TO_DOC, examples=["app"])
    limits: FlowLimits = Field(FlowLimits(), description="Bounds that hold on this listener.")
    flow: TcpFlow = Field(TcpFlow(), description="How long flows go on, and what holds for them.")

    @property
    def flow_routes(self) -> tuple[FlowRoute, ...]:
        return (FlowRoute(to=self.to),)


class UdpListener(FlowListener):
    mode: Annotated[Literal["udp"], CHECK_MODE] = Field(description=MODE_DOC, examples=["udp"])
    to: TargetsField = Field(description=TO_DOC, examples=["app"])
    limits: UdpLimits = Field(UdpLimits(), description="Bounds that hold on this listener.")
    flow: UdpFlow = Field(UdpFlow(), description="How long flows go on, and what holds for them.")

    @property
    def flow_routes(self) -> tuple[FlowRoute, ...]:
        return (FlowRoute(to=self.to),)

    @model_validator(mode="after")
    def _sockets(self) -> Self:
        for index, bind in enumerate(self.bind):
            if bind.is_unix:
                help = "write an address, like `:53`; streams on a unix socket are `mode: tcp`"
                raise fail("PXD-024", "with `mode: udp` nothing listens on a unix socket", help, at=("bind", index))
        return self


class TlsListener(FlowListener):
    mode: Annotated[Literal["tls_passthrough"], CHECK_MODE] = Field(description=MODE_DOC, examples=["tls_passthrough"])
    routes: tuple[FlowRoute, ...] = Field(
        description="Where connections go, by their ClientHello; the first route that matches wins. One that none takes is refused.",
        examples=[[{"match": "*.internal", "to": "internal-tls"}]],
        min_length=1,
    )
    to: TargetsField | None = Field(
        None, description="Short form of a last route for all that no other takes.", examples=["app"], json_schema_extra=SHORT_FORM
    )
    no_sni: Literal["default", "refuse"] = Field(
        "default", description="Hellos without a server name: `default`: routes without names take them; `refuse`: they get an alert."
    )
    limits: FlowLimits = Field(FlowLimits(), description="Bounds that hold on this listener.")
    flow: TcpFlow = Field(TcpFlow(), description="How long flows go on, and what holds for them.")

    @property
    def flow_routes(self) -> tuple[FlowRoute, ...]:
        return self.routes

    @model_validator(mode="after")
    def _names(self) -> Self:
        for index, route in enumerate(self.routes):
            if self.no_sni == "refuse" and "" in route.names:
                at: tuple[str | int, ...] = ("routes", index, "match", "sni", route.names.index(""))
                raise fail("PXD-039", "`no_sni: refuse` refuses the hellos without a name that this route takes", "keep one of them", at=at)
        return self
