"""From a name to its addresses, with the time for which they hold.

c-ares does the work (aiodns): it follows resolv.conf with its search domains, reads /etc/hosts, and answers `localhost` itself.
"""
from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import aiodns

TTL_MIN = 1.0     # seconds: a TTL of 0 must not become a busy loop
TTL_MAX = 60.0    # an address that has moved is found within a minute, whatever the zone says


class ResolveError(Exception):
    """The name has no address now; the message says why in plain words."""


@dataclass(frozen=True, slots=True)
class Answer:
    addresses: tuple[str, ...]     # IP literals, sorted, at least one
    ttl: float                     # seconds, within TTL_MIN and TTL_MAX


class Resolver(Protocol):
    async def lookup(self, name: str) -> Answer:
        """Raises ResolveError."""

    async def close(self) -> None: ...


class AresResolver:
    """One query has `timeout` seconds for each of its tries."""

    __slots__ = ("_dns",)

    def __init__(self, timeout: float = 2.0, tries: int = 2) -> None:
        """Inside a running loop."""
        self._dns = aiodns.DNSResolver(timeout=timeout, tries=tries)

    async def lookup(self, name: str) -> Answer:
        try:
            result = await self._dns.getaddrinfo(name, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            raise ResolveError(str(error.args[-1] if error.args else error).lower()) from error
        return choose([(node.family, _text(node.addr[0]), node.ttl) for node in result.nodes])

    async def close(self) -> None:
        await self._dns.close()


def choose(nodes: Sequence[tuple[int, str, int]]) -> Answer:
    """From (family, address, TTL) to an answer: the IPv4 addresses, or where there is none the IPv6 ones.

    One family only: a machine with both would otherwise count as two servers, in its share of traffic, its limits and its health; and
    `localhost` would be half dead for every origin that listens on 127.0.0.1 alone.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        mine = [(address, ttl) for each, address, ttl in nodes if each == family]
        if mine:
            ttl = min(ttl for _, ttl in mine)
            return Answer(tuple(sorted({address for address, _ in mine})), min(max(float(ttl), TTL_MIN), TTL_MAX))
    raise ResolveError("the name has no address")


def _text(address: bytes | str) -> str:
    return address.decode() if isinstance(address, bytes) else address
