"""Listeners: where clients are accepted, whom of them is believed, and what bounds hold for them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from proxyd.config.address import BindAddress, check_network
from proxyd.config.base import ONE_OR_MORE, SHORT_FORM, Model
from proxyd.config.headers import HeaderName
from proxyd.config.routes import RedirectField, RespondField, Route, TargetsField
from proxyd.config.text import Count, Integer, as_text
from proxyd.config.units import Duration, Rate, Size, Within
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest


def check_peer(value: object) -> str:
    text = as_text(value).strip()
    return text if text == "unix" else check_network(text)


Peer = Annotated[str, BeforeValidator(check_peer), WithJsonSchema({"type": "string"})]


class ClientIp(Model):
    header: HeaderName = Field("X-Forwarded-For", description="Field that carries the client's address.", examples=["X-Forwarded-For"])
    trust: Annotated[tuple[Peer, ...], ONE_OR_MORE] = Field(
        description="Networks whose `header` and X-Forwarded-* are believed; `unix` stands for peers on a unix socket.",
        examples=[["10.0.0.0/8", "unix"]],
        min_length=1,
    )


class Limits(Model):
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
    per_client: Count = Field(
        10_000,
        description=(
            "Connections of one client address at a time, over all engines; `none`: no bound. Peers in `client_ip.trust` are not counted."
        ),
        examples=[200],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.uri_length > self.header_size:
            at = "uri_length" if "uri_length" in self.model_fields_set else "header_size"
            raise fail("PXD-039", f"`uri_length` {self.uri_length} is more than `header_size` {self.header_size}, which holds it", at=(at,))
        return self


MODES = ("http", "cache")
LATER_MODES = ("tcp", "udp", "tls_passthrough")


def check_mode(value: object) -> str:
    text = as_text(value)
    if text in MODES:
        return text
    if text in LATER_MODES:
        raise fail("PXD-034", f"the mode `{text}` is not in this version yet", f"allowed: {', '.join(MODES)}")
    near = closest(text, MODES)
    hint = f"did you mean `{near}`? " if near else ""
    raise fail("PXD-034", f"{shown(value)} is not a mode of a listener", f"{hint}allowed: {', '.join(MODES)}")


class Listener(Model):
    later: ClassVar[frozenset[str]] = frozenset({"protocols", "tls", "allow", "deny", "proxy_protocol"})

    bind: Annotated[tuple[BindAddress, ...], ONE_OR_MORE] = Field(
        description="Addresses to listen on. `:8080` is every address of the machine; port 0 takes any free port.",
        examples=[["127.0.0.1:8080", "[::1]:8080", "unix:/run/proxyd/web.sock"]],
        min_length=1,
    )
    mode: Annotated[Literal["http", "cache"], BeforeValidator(check_mode)] = Field(
        "http",
        description=(
            "`http`: a proxy, by routes. `cache`: the store itself, for applications: GET, PUT and DELETE of /cache/KEY; routes have no "
            "meaning then."
        ),
    )
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

    @model_validator(mode="after")
    def _mode(self) -> Self:
        if self.mode == "cache" and self.routes is not None:
            help = "for proxying, add another listener with an address of its own"
            raise fail("PXD-024", "a listener with `mode: cache` has nothing to route", help, at=("routes",), key=True)
        return self
