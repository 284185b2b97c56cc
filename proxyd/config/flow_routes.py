"""Routes of TLS connections that are passed on undecrypted: by server name and application protocol, as the ClientHello tells them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.hosts import check_host
from proxyd.config.routes import TargetsField
from proxyd.config.text import Name, as_text
from proxyd.diagnostics.fail import fail, shown

NO_NAME = "none"  # in `sni`: a hello without a server name


def check_server_name(value: object) -> str:
    """`a.example`, `*.example` (any depth), or `none`."""
    text = as_text(value).strip()
    if text == NO_NAME:
        return text
    if "/" in text:
        raise fail("PXD-037", f"{shown(text)} is not a server name", "a ClientHello tells no path: write the name, like `a.example`")
    name = check_host(text)
    if not name:
        help = "for all names leave `match` out; `none` stands for hellos without one"
        raise fail("PXD-037", f"{shown(text)} is not a server name", help)
    if name.startswith("[") or re.match(r"[0-9.]+\Z", name):  # RFC 6066 §3
        raise fail("PXD-037", f"{shown(text)} is an address: hellos to one carry no server name", "`{sni: none}` takes those")
    return name


def check_protocol(value: object) -> str:
    """The name of an application protocol (RFC 7301), as registered."""
    text = as_text(value)
    if not re.match(r"[\x21-\x7e]{1,255}\Z", text):
        raise fail("PXD-037", f"{shown(text)} is not the name of an application protocol", "like `h2` or `http/1.1`")
    return text


def expand_hello(value: object) -> object:
    """Text is a server name; `*` is any hello."""
    if value == "*":
        return {}
    return {"sni": value} if isinstance(value, str | list) else value


class HelloMatch(Model):
    """All of it must hold."""

    sni: Annotated[tuple[Annotated[str, BeforeValidator(check_server_name), WithJsonSchema(STRING)], ...], ONE_OR_MORE] = Field(
        (),
        description="Server names; `*.example.com` is every name below; `none`: hellos without a name; empty: any hello.",
        examples=[["a.example", "*.internal"]],
    )
    alpn: Annotated[tuple[Annotated[str, BeforeValidator(check_protocol), WithJsonSchema(STRING)], ...], ONE_OR_MORE] = Field(
        (), description="Application protocols, one of which the client must offer; empty: any, or none.", examples=[["h2"]]
    )


class FlowRoute(Model):
    name: Name = Field("", description="Name in logs, metrics and `status`; made from `match` where it is missing.", examples=["split"])
    match: Annotated[HelloMatch, Short(expand_hello, (STRING, {"type": "array", "items": STRING}))] = Field(
        HelloMatch(), description="Which hellos; unset: every one. In short a server name, or a list of them.", examples=["*.internal"]
    )
    to: TargetsField = Field(
        description="Upstream, upstreams with weights, or addresses (which make an upstream of their own).",
        examples=[{"blue": 90, "green": 10}],
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Patterns of server names, "" for hellos without one; none: any hello."""
        return tuple("" if name == NO_NAME else name for name in self.match.sni)

    @property
    def alpn(self) -> tuple[str, ...]:
        return self.match.alpn
