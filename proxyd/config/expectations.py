"""`tests`: requests, and what must become of them. `proxyd check` and a reload put them to the native route table
(`proxyd/snapshot/rehearsal.py`); a config with one that fails is refused there."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from proxyd.config.base import ONE_OR_MORE, Model
from proxyd.config.headers import HeaderName, HeaderValue
from proxyd.config.target import client_part, flow_parts, protocol_part, request_parts
from proxyd.config.text import Integer, Name, Text
from proxyd.diagnostics.fail import fail, shown

NONE_WORD = "none"  # no route, no key, nobody refuses, the field is not sent
_INPUTS = ("request", "headers", "client", "listener", "alpn")
_OF_REQUESTS = ("headers", "policies", "limit", "cache_key", "redirect", "status", "sends")


def check_request(text: str) -> str:
    words = text.split()
    if not 1 <= len(words) <= 2:
        raise fail("PXD-038", f"{shown(text)} is not a request", "write `[METHOD] URL`, like `GET shop.example.com/cart`")
    try:
        if flow_parts(words[-1]) is None:
            request_parts(*_method_and_url(words))
        elif len(words) == 2:
            raise ValueError("a flow has no method")
    except ValueError as error:
        raise fail("PXD-038", str(error), "like `GET shop.example.com/cart`, `/cart`, `tcp://:5432`, `tls://NAME:8443`") from None
    return " ".join(words)


def _method_and_url(words: list[str]) -> tuple[str, str]:
    return (words[0], words[1]) if len(words) == 2 else ("GET", words[0])


def check_address(text: str) -> str:
    try:
        return client_part(text)
    except ValueError:
        raise fail("PXD-038", f"{shown(text)} is not an IP address", "like `192.0.2.7`") from None


def check_offer(text: str) -> str:
    try:
        return protocol_part(text)
    except ValueError as error:
        raise fail("PXD-037", str(error)) from None


class Expectation(Model):
    """A request, or a flow, and what must become of it: only what is written is looked at."""

    request: Annotated[Text, AfterValidator(check_request)] = Field(
        description="`[METHOD] URL` of a request, or `tcp://:PORT`, `udp://:PORT`, `tls://NAME:PORT` of a flow.",
        examples=["GET shop.example.com/api/v1/cart"],
    )
    headers: dict[HeaderName, HeaderValue] = Field({}, description="Fields of the request.", examples=[{"Cookie": "beta=1"}])
    client: Annotated[Text, AfterValidator(check_address)] | None = Field(
        None, description="Address of the client; unset: not known.", examples=["192.0.2.7"]
    )
    listener: Name | None = Field(
        None, description="Where it comes in; unset: on every listener that has no routes of its own, else on all.", examples=["web"]
    )
    alpn: Annotated[tuple[Annotated[Text, AfterValidator(check_offer)], ...], ONE_OR_MORE] = Field(
        (), description="Of `tls://`: the protocols that the client offers.", examples=[["h2"]]
    )
    route: Name | None = Field(None, description="The route that takes it; `none`: no route does.", examples=["shop-api"])
    upstream: Annotated[tuple[Name, ...], ONE_OR_MORE] = Field(
        (), description="The upstream, or those, among the ones that it may be sent to.", examples=["api"]
    )
    status: Annotated[Integer, Field(ge=100, le=599)] | None = Field(
        None, description="Status that proxyd itself answers with, without asking a server.", examples=[308]
    )
    redirect: Text | None = Field(None, description="Where it is redirected to.", examples=["https://shop.example.com/cart"])
    policies: Annotated[tuple[Name, ...], ONE_OR_MORE] = Field(
        (), description="Policies that are in force for it, among others.", examples=[["office"]]
    )
    limit: Annotated[tuple[Name, ...], ONE_OR_MORE] = Field(
        (),
        description="Policies that limit it: of kind `rate_limit` or `concurrency`, and it brings what they count by.", examples=["per-ip"]
    )
    refused: Name | None = Field(
        None,
        description="The policy that refuses it, or the name of the listener that does by `allow` and `deny`; `none`: nobody does.",
        examples=["office"],
    )
    cache_key: Text | None = Field(
        None, description="Key under which its answer is stored, as `proxyd route` shows it; `none`: it is not stored.", examples=["none"]
    )
    sends: dict[HeaderName, Text] = Field(
        {}, description="Fields that the server is sent, as far as the config decides; `none`: it is not.", examples=[{"X-Env": "prod"}]
    )

    @property
    def is_flow(self) -> bool:
        return flow_parts(self.request) is not None

    @property
    def method_and_url(self) -> tuple[str, str]:
        return _method_and_url(self.request.split())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set - {*_INPUTS}:
            raise fail("PXD-022", "the test expects nothing", "add what must become of the request, like `route: NAME` or `status: 404`")
        if not self.is_flow:
            if self.alpn:
                raise fail("PXD-024", "`alpn` has no meaning in a request", "it is for `tls://NAME:PORT`", at=("alpn",), key=True)
            return self
        for name in _OF_REQUESTS:
            if name in self.model_fields_set:
                raise fail("PXD-024", f"`{name}` has no meaning in a flow: nobody reads what is in it", at=(name,), key=True)
        if self.alpn and not self.request.startswith("tls:"):
            raise fail("PXD-024", "`alpn` has no meaning here", "it is for `tls://NAME:PORT`", at=("alpn",), key=True)
        return self
