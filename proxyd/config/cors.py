"""The policy `cors`: what pages of other origins may do (Fetch standard, section 3.2)."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.compress import check_once
from proxyd.config.headers import HeaderName
from proxyd.config.match import METHODS
from proxyd.config.text import Flag, as_text
from proxyd.config.units import Lifetime, Within
from proxyd.diagnostics.fail import fail, shown

# as in proxyd_ext/filter/cors.pxd: an answer's field lines have room of their own in the engine
LONGEST_ORIGIN = 300
LONGEST = {"methods": 256, "headers": 1000, "expose": 1000}  # of a list, with commas and blanks
MOST_ORIGINS = 256
ANYBODY = "*"
NOBODY = "null"  # the origin of sandboxed frames and local files
DEFAULT_PORTS = {"http": "80", "https": "443"}  # which browsers leave out
_FORM = "like `https://app.example.com`, `https://*.example.com`, or `*` for every origin"
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[^:/?#@\[\]]+)(:(?P<port>[0-9]{1,5}))?\Z")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*\Z")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,64}\Z")  # RFC 9110 §9.1; `*` would be one, too, and is not meant as one
_FORBIDDEN = ("CONNECT", "TRACE", "TRACK")  # Fetch standard, section 2.2.1


def check_origin(value: object) -> str:
    """An origin as browsers write it: in lower case, without the port that its scheme has anyway."""
    text = as_text(value).strip()
    lower = text.lower()
    if lower in (ANYBODY, NOBODY):
        return lower
    if "://" not in lower:
        raise fail("PXD-038", f"{shown(text)} is not an origin: it has no scheme", f"write `https://{lower[:60].split('/')[0]}`")
    found = _ORIGIN.match(lower)
    if found is None:
        bare = re.match(r"([a-z][a-z0-9+.-]*://[^/?#@]+)[/?#]", lower)
        help = f"without a path: write `{bare[1][:80]}`" if bare else _FORM
        raise fail("PXD-038", f"{shown(text)} is not an origin", help)
    if len(lower) > LONGEST_ORIGIN:
        raise fail("PXD-033", f"the origin has {len(lower)} characters", f"allowed: up to {LONGEST_ORIGIN}")
    scheme, port = found["scheme"], found["port"]
    if port is not None and not 1 <= int(port) <= 65535:
        raise fail("PXD-038", f"{shown(text)} is not an origin: ports are 1 to 65535", _FORM)
    place = f":{int(port)}" if port is not None and port.lstrip("0") != DEFAULT_PORTS.get(scheme) else ""
    return f"{scheme}://{_host(found['host'], text)}{place}"


def _host(host: str, text: str) -> str:
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            raise fail("PXD-038", f"{shown(text)} is not an origin: {shown(host)} is not an IPv6 address", _FORM) from None
    if not host.isascii():
        try:
            help = f"write its ASCII form: `{host.encode('idna').decode()}`"
        except UnicodeError:
            help = "write its ASCII form (`xn--…`)"
        raise fail("PXD-038", f"the host of {shown(text)} is not ASCII", help)
    if not _HOST.match(host):
        help = "`*` stands for whole labels at the front: `https://*.example.com`" if "*" in host else _FORM
        raise fail("PXD-038", f"{shown(text)} is not an origin: {shown(host)} is not a host", help)
    return host


def check_cors_method(value: object) -> str:
    text = as_text(value).strip()
    if not _TOKEN.match(text):
        raise fail("PXD-038", f"{shown(text)} is not a method", "name each of them: a browser that sends credentials knows no `*`")
    if text.upper() in METHODS and text not in METHODS:
        raise fail("PXD-038", f"{shown(text)} is not a method", f"methods are told by case; did you mean `{text.upper()}`?")
    if text.upper() in _FORBIDDEN:
        raise fail("PXD-034", f"no page can send requests with the method {shown(text)}", "leave it out")
    return text


def expand_cors(value: object) -> object:
    return {"origins": value} if isinstance(value, str | list) else value


Origin = Annotated[str, PlainValidator(check_origin), WithJsonSchema(STRING)]
CorsMethod = Annotated[str, PlainValidator(check_cors_method), WithJsonSchema(STRING)]


class Cors(Model):
    origins: Annotated[tuple[Origin, ...], AfterValidator(check_once), ONE_OR_MORE] = Field(
        min_length=1,
        max_length=MOST_ORIGINS,
        description='Origins whose pages may read answers; `https://*.example.com`: every name below; `*`: all; `"null"`: sandboxed pages.',
        examples=[["https://app.example.com"]],
    )
    methods: Annotated[tuple[CorsMethod, ...], AfterValidator(check_once), ONE_OR_MORE] = Field(
        ("GET", "HEAD", "POST"),
        description="Methods that their pages may use; browsers grant GET, HEAD and POST in any case.",
        examples=[["GET", "PUT"]],
    )
    headers: Annotated[tuple[HeaderName, ...], AfterValidator(check_once), ONE_OR_MORE] = Field(
        (),
        description="Fields that their pages may send beside the usual ones; `*`: whatever a page asks for.",
        examples=[["Authorization"]],
    )
    expose: Annotated[tuple[HeaderName, ...], AfterValidator(check_once), ONE_OR_MORE] = Field(
        (), description="Fields of answers that their pages may read beside the usual ones; `*`: all.", examples=[["X-Request-ID"]]
    )
    credentials: Flag = Field(False, description="Whether pages may send cookies and Authorization along and read the answer.")
    max_age: Annotated[Lifetime, Within("1s", "1d", off=True)] | None = Field(
        None,
        description="How long browsers may remember what a preflight was told; `none`: not at all; unset: as they like, usually 5 s.",
        examples=["2h"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("origins", "headers", "expose"):
            values = getattr(self, name)
            if ANYBODY in values and len(values) > 1:
                raise fail("PXD-039", "`*` stands for all of them", "leave the others out, or the `*`", at=(name,))
        if self.credentials and ANYBODY in self.origins:
            help = "name the origins: with `*`, every page that a user visits could act in his name"
            raise fail("PXD-039", "`credentials` and `origins: *` exclude one another", help, at=("credentials",))
        if self.credentials and ANYBODY in self.expose:
            help = "name the fields: where credentials are sent, browsers take `*` for the name of a field"
            raise fail("PXD-039", "`credentials` and `expose: *` exclude one another", help, at=("expose",))
        for name, longest in LONGEST.items():
            size = len(", ".join(getattr(self, name)))
            if size > longest:
                raise fail("PXD-033", f"`{name}` has {size} characters", f"allowed: {longest}, commas and blanks included", at=(name,))
        return self


CorsField = Annotated[Cors, Short(expand_cors, (STRING, {"type": "array", "items": STRING}))]
