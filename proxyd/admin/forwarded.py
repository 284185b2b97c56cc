"""Whose request it is: the peer of the connection, or whom a proxy that is believed names (`admin.client_ip`).

As for listeners (`real_client`, ext/proxyd_ext/conn/key.pyx): in the list, from its end, the first address counts that is not itself
believed. What stands left of something that is no address cannot be believed. The field is a list of addresses, as X-Forwarded-For is, or
`Forwarded` (RFC 7239), of which `for` counts.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from proxyd.config.admin import AdminClientIp

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class Trust:
    """Whom the config believes."""

    header: str = ""
    networks: Sequence[Network] = ()

    def use(self, told: AdminClientIp | None) -> None:
        self.header = told.header if told is not None else ""
        self.networks = [ipaddress.ip_network(network) for network in told.trust] if told is not None else []

    def client(self, peer: str, fields: Sequence[str]) -> str:
        """The client's address. `fields`: the values of the header, in the order in which they came."""
        best = maybe_address(peer)
        if best is None:
            return peer
        elements = [element for field in fields for element in field.split(",")]
        while elements and self._believes(best):
            text = elements.pop()
            named = maybe_address(forwarded_for(text) if self.header.lower() == "forwarded" else text)
            if named is None:
                break
            best = named
        return str(best)

    def _believes(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


TRUST: web.AppKey[Trust] = web.AppKey("trust", Trust)
_CLIENT: web.RequestKey[str] = web.RequestKey("client", str)


def client_of(request: web.Request) -> str:
    """The address of who asks, as text."""
    if _CLIENT not in request:
        trust = request.app[TRUST]
        request[_CLIENT] = trust.client(str(request.remote), request.headers.getall(trust.header, ()) if trust.header else ())
    return request[_CLIENT]


def maybe_address(text: str) -> Address | None:
    """`192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`; an IPv4 address in the form of IPv6 is one of IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def forwarded_for(element: str) -> str:
    """The `for` of an element of Forwarded; "" when it has none."""
    for parameter in element.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""
