"""Addresses: `host:port`, `[v6]:port`, `name:port`, `unix:/path`; networks in CIDR."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail, shown

_HOST_NAME = re.compile(
    r"(?=.{1,253}\.?\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?\Z"
)
_UNIX_PATH_MAX = 107  # sun_path is 108 bytes with its NUL


@dataclass(frozen=True, slots=True)
class Address:
    """A place to connect to. Either `path` (a unix socket) or `host` and `port` are set; `host` is an IP literal or a DNS name."""

    host: str = ""
    port: int = 0
    path: str = ""

    forms: ClassVar[str] = "`10.0.0.1:8080`, `[::1]:8080`, `name:8080` or `unix:/path`"
    usual_host: ClassVar[str] = "127.0.0.1"     # of who writes a port alone

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    @property
    def is_ip(self) -> bool:
        """The host is an IP literal, so nothing has to be looked up."""
        return _ip(self.host) is not None

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        text = as_text(value).strip()
        if text.startswith("unix:"):
            return cls(path=_unix_path(text))
        if "://" in text:
            scheme, _, rest = text.partition("://")
            place = rest.split("/")[0]
            if not re.search(r":[0-9]+\Z", place):
                place += ":443" if scheme == "https" else ":80"
            note = "; servers are spoken to in plain HTTP in this version" if scheme == "https" else ""
            raise fail("PXD-035", f"{shown(text)} is a URL, not an address", f"write `{place}`{note}")
        host, port = cls._split(text)
        return cls(host=cls._host(host, text), port=cls._port(port, text))

    @classmethod
    def _split(cls, text: str) -> tuple[str, str]:
        bracket = re.match(r"\[([^\]]*)\]:(.*)\Z", text)
        if bracket:
            if not isinstance(_ip(bracket[1]), ipaddress.IPv6Address):
                raise fail("PXD-035", f"`[{bracket[1][:60]}]` is not an IPv6 address", f"write {cls.forms}")
            return bracket[1], bracket[2]
        if text.count(":") > 1:
            alone, _, port = text.rpartition(":")
            meant = f"[{alone}]:{port}" if _ip(alone) and re.match(r"[0-9]{4,5}\Z", port) else f"[{text}]:8080"
            help = f"put an IPv6 address in brackets: `{meant}`" if _ip(text) else f"write {cls.forms}"
            raise fail("PXD-035", f"{shown(text)} is not an address", help)
        host, colon, port = text.partition(":")
        if not colon and re.match(r"[0-9]{1,5}\Z", text):
            raise fail("PXD-035", f"{shown(text)} is a port without an address", f"write `{cls.usual_host}:{text}`")
        if not colon:
            raise fail("PXD-035", f"the address {shown(text)} lacks a port", f"write {cls._with_port(text)}")
        return host, port

    @classmethod
    def _with_port(cls, host: str) -> str:
        """What was most likely meant, if it is not secret, else all forms."""
        name, _, port = host.rpartition(" ")
        if re.match(r"[0-9]{1,5}\Z", port) and (_ip(name) or _HOST_NAME.match(name)):
            return f"a colon before the port: `{name}:{port}`"
        return f"`{host}:80`, or another port" if _ip(host) is not None or _HOST_NAME.match(host) else cls.forms

    @classmethod
    def _port(cls, port: str, text: str) -> int:
        if not re.match(r"[0-9]{1,5}\Z", port) or not 1 <= int(port) <= 65535:
            raise fail("PXD-035", f"{shown(port)} is not a port, in {shown(text)}", "ports are 1 to 65535")
        return int(port)

    @classmethod
    def _host(cls, host: str, text: str) -> str:
        parsed = _ip(host)
        if parsed is not None:
            return str(parsed)
        if re.match(r"[0-9.]+\Z", host):
            raise fail("PXD-035", f"{shown(host)} is not an IPv4 address, in {shown(text)}", "four numbers from 0 to 255, like `10.0.0.1`")
        if not _HOST_NAME.match(host):
            raise fail("PXD-035", f"{shown(host)} is not a host name, in {shown(text)}", f"write {cls.forms}")
        return host.rstrip(".").lower()

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "description": f"{cls.forms}"}


@dataclass(frozen=True, slots=True)
class BindAddress(Address):
    """A place to listen on. An empty `host` means every address of the machine, IPv4 and IPv6; port 0 takes any free one."""

    forms: ClassVar[str] = "`:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`"
    usual_host: ClassVar[str] = ""

    @classmethod
    def _port(cls, port: str, text: str) -> int:
        return 0 if port == "0" else super(BindAddress, cls)._port(port, text)

    @classmethod
    def _host(cls, host: str, text: str) -> str:
        if not host:
            return ""
        parsed = _ip(host)
        if parsed is None:
            port = text.rpartition(":")[2]
            help = {"localhost": f"write `127.0.0.1:{port}`", "*": f"write `:{port}`"}.get(host, f"write {cls.forms}")
            raise fail("PXD-035", f"cannot listen on the name {shown(host)}: an IP address is needed", help)
        return str(parsed)

    @property
    def is_loopback(self) -> bool:
        parsed = _ip(self.host)
        return self.is_unix or (parsed is not None and parsed.is_loopback)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    # a scope id names an interface of one machine and cannot be told apart from a typing slip
    return None if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id else parsed


def _unix_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or "\0" in path:
        raise fail("PXD-035", f"{shown(text)} is not an absolute socket path", "write `unix:/run/app.sock`")
    if len(path.encode("utf-8", "surrogatepass")) > _UNIX_PATH_MAX:
        raise fail("PXD-035", f"the socket path is longer than {_UNIX_PATH_MAX} bytes, which the kernel does not take")
    return path


def check_network(text: str) -> str:
    """A network in its canonical CIDR spelling."""
    try:
        return str(ipaddress.ip_network(text.strip(), strict=True))
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise fail("PXD-038", f"{shown(text)} is not a network", "write `10.0.0.0/8`, `2001:db8::/32` or a single address") from None
    raise fail("PXD-038", f"{shown(text)} has bits set behind the prefix", f"write `{loose}` for the network, or the address without `/…`")


Network = Annotated[str, BeforeValidator(as_text), AfterValidator(check_network), WithJsonSchema({"type": "string"})]
