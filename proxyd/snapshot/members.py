"""Which servers an upstream has right now: the config's servers with names replaced by the addresses that they have. Plain values."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxyd.config.address import Address

if TYPE_CHECKING:
    from proxyd.config.model import Config, Server


@dataclass(frozen=True, slots=True)
class Member:
    """One server of an upstream. `address` is what the native side takes; None: the name has no address, so nothing can be sent there."""

    label: str                              # "10.0.0.5:8080"; the source where there is no address
    source: str                             # as the config spells it: "app.internal:8080"
    address: tuple[str, int] | str | None
    weight: int
    tier: int = 0                           # the lowest tier with a usable server gets the requests; `backup: true` is 1
    zone: str = ""                          # "": none is told
    max_requests: int = 0                   # 0: no bound

    @property
    def backup(self) -> bool:
        return self.tier > 0


Members = Mapping[str, tuple[Member, ...]]
"""Upstream name -> its members."""


def names_of(config: Config) -> frozenset[str]:
    """The host names that have to be looked up."""
    return frozenset(
        server.address.host
        for upstream in config.upstreams.values()
        for server in upstream.servers
        if needs_lookup(server.address)
    )


def needs_lookup(address: Address) -> bool:
    return not address.is_unix and not address.is_ip


def members_of(config: Config, addresses: Mapping[str, tuple[str, ...]]) -> Members:
    """`addresses`: name -> its IP literals. An address that two names share counts once, with the weight of the first that names it."""
    return {name: _members(upstream.servers, addresses) for name, upstream in config.upstreams.items()}


def _members(servers: tuple[Server, ...], addresses: Mapping[str, tuple[str, ...]]) -> tuple[Member, ...]:
    found: dict[str, Member] = {}
    for server in servers:
        address, source = server.address, str(server.address)
        places = [address]
        if needs_lookup(address):
            places = [Address(host=literal, port=address.port) for literal in addresses.get(address.host, ())]
        for place in places:
            native = place.path if place.is_unix else (place.host, place.port)
            found.setdefault(str(place), _member(server, str(place), native))
        if not places:
            found.setdefault(source, _member(server, source, None))
    return tuple(found.values())


def _member(server: Server, label: str, address: tuple[str, int] | str | None) -> Member:
    return Member(label, str(server.address), address, server.weight, server.tier, server.zone or "", server.max_requests)
