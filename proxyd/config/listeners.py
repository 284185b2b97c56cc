"""Listeners: where clients are accepted, whom of them is believed, and what bounds hold. Their mode says which options there are."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxyd.config.accept import CHECK_MODE, MODE_DOC, ConnectionLimits, Listener, PeerTrust
from proxyd.config.base import SHORT_FORM
from proxyd.config.flows import TcpListener, TlsListener, UdpListener
from proxyd.config.headers import HeaderName
from proxyd.config.routes import RedirectField, RespondField, Route, TargetsField
from proxyd.config.text import Integer
from proxyd.config.units import Duration, Rate, Size, Within
from proxyd.diagnostics.fail import fail
from proxyd.diagnostics.shape import Choice


class ClientIp(PeerTrust):
    header: HeaderName = Field(
        "X-Forwarded-For",
        description="Field that carries the client's address, where there is no `proxy_protocol`; X-Forwarded-* are believed with it.",
        examples=["X-Forwarded-For"],
    )

    def in_force(self) -> tuple[str, ...]:
        return ("trust", "proxy_protocol") if self.proxy_protocol else super().in_force()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.proxy_protocol and "header" in self.model_fields_set:
            raise fail("PXD-024", "with `proxy_protocol: true` no field is read", "keep one of them", at=("header",), key=True)
        return self


class Limits(ConnectionLimits):
    header_size: Annotated[Size, Within("1KiB", "64KiB")] = Field(Size("16KiB"), description="Whole request head.")
    header_count: Annotated[Integer, Field(ge=8, le=256)] = Field(100, description="Fields in a request head.")
    uri_length: Annotated[Size, Within("256B", "10KiB")] = Field(Size("8KiB"), description="Request target; not more than `header_size`.")
    buffer: Annotated[Size, Within("16KiB", "64MiB")] = Field(
        Size("256KiB"), description="Bytes kept for one direction of a connection while the other side is slow."
    )
    body_size: Annotated[Size, Within("1B", "8TiB", off=True)] = Field(
        Size(0), description="Largest request body; `none`: no bound, bodies are streamed.", examples=["10MiB"]
    )
    header_timeout: Annotated[Duration, Within("100ms", "1h")] = Field(
        Duration("10s"), description="Time in which a whole request head must arrive."
    )
    idle_timeout: Annotated[Duration, Within("100ms", "1d")] = Field(
        Duration("75s"), description="Time that a client connection may rest between requests."
    )
    min_body_rate: Annotated[Rate, Within("1B/s", "1GiB/s", off=True)] = Field(
        Rate("240B/s"), description="Slowest request body, after 5 s of grace; `none`: any."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.uri_length > self.header_size:
            at = "uri_length" if "uri_length" in self.model_fields_set else "header_size"
            message = f"`uri_length` {self.uri_length} is more than `header_size` {self.header_size}, which holds it"
            raise fail("PXD-039", message, "lower the one, or raise the other", at=(at,))
        return self


class HttpListener(Listener):
    mode: Annotated[Literal["http", "cache"], CHECK_MODE] = Field("http", description=MODE_DOC)
    client_ip: ClientIp | None = Field(None, description="Whom to believe about the client's address; unset: nobody.")
    limits: Limits = Field(Limits(), description="Bounds that hold on this listener.")
    routes: tuple[Route, ...] | None = Field(
        None, description="This listener's own routes; unset: the top-level `routes`.", examples=[[{"to": "app"}]]
    )
    to: TargetsField | None = Field(None, description="Short form of `routes: [{to: …}]`.", examples=["app"], json_schema_extra=SHORT_FORM)
    redirect: RedirectField | None = Field(
        None, description="Short form of `routes: [{redirect: …}]`.", examples=["https"], json_schema_extra=SHORT_FORM
    )
    respond: RespondField | None = Field(
        None, description="Short form of `routes: [{respond: …}]`.", examples=[{"status": 404}], json_schema_extra=SHORT_FORM
    )

    @property
    def own_routes(self) -> tuple[Route, ...] | None:
        return self.routes

    @model_validator(mode="after")
    def _mode(self) -> Self:
        if self.mode == "cache" and self.routes is not None:
            help = "for proxying, add another listener with an address of its own"
            raise fail("PXD-024", "a listener with `mode: cache` has nothing to route", help, at=("routes",), key=True)
        return self


_BYTES = "connections and datagrams are passed on as they are; what speaks HTTP is `mode: http`"
BY_MODE = Choice(
    "mode",
    {"http": HttpListener, "cache": HttpListener, "tcp": TcpListener, "udp": UdpListener, "tls_passthrough": TlsListener},
    always=("bind",),
    hints={
        "routes": "write `to`: there is nothing to choose by. By the server name of TLS: `mode: tls_passthrough`",
        "redirect": _BYTES,
        "respond": _BYTES,
        "limits.idle_timeout": "write `flow: {idle_timeout: …}`",
        "limits.buffer": "a datagram is passed on or dropped, never kept",
        "limits.header_timeout": "datagrams wait for nothing",
        "flow": "it is for `tcp`, `udp` and `tls_passthrough`; for HTTP see `limits` and the routes' `timeout`",
        "routes.match.host": "write `sni`: what tells a name here is the ClientHello",
        "client_ip.header": "a connection has no fields; with `proxy_protocol: true` a PROXY header tells the client's address",
        "no_sni": "server names are looked at with `mode: tls_passthrough`",
    },
)
AnyListener = Annotated[Listener, BY_MODE]
