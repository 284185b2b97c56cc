"""Writes MaxMind databases (MaxMind DB File Format Specification 2.0), so that tests have one without MaxMind's."""
from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Record = Mapping[str, object]
Side = int | None                  # of a node: the number of another one, -1 - OFFSET of data, or None for nothing

TEXT, UINT16, UINT32, MAP, UINT64, ARRAY = 2, 5, 6, 7, 9, 11
_NUMBERS = {"node_count": UINT32, "build_epoch": UINT64}     # other numbers are UINT16
MARKER = b"\xab\xcd\xefMaxMind.com"
ALIASES = ("::ffff:0:0/96", "2002::/16")     # IPv4 in other clothes: MaxMind's own trees lead from there to their IPv4 part


def country(code: str) -> Record:
    """A record like those of GeoLite2 Country."""
    return {"country": {"iso_code": code, "names": {"en": f"the land {code}"}}, "registered_country": {"iso_code": "ZZ"}}


def mmdb(
    networks: Mapping[str, Record], *, record_size: int = 24, ip_version: Literal[4, 6] = 6, aliases: bool = True,
    metadata: Mapping[str, object] | None = None,
) -> bytes:
    """A database of these networks; the narrower go before the wider. Equal records stand in it once. `metadata` replaces what it tells of
    itself."""
    tree, section, offsets = _Tree(ip_version), bytearray(), dict[bytes, int]()
    parsed = [(ipaddress.ip_network(text), record) for text, record in networks.items()]
    for network, record in sorted(parsed, key=lambda item: tree.bits(item[0])):
        written = _encode(record)
        if written not in offsets:
            offsets[written] = len(section)
            section += written
        tree.put(network, -1 - offsets[written])
    if aliases and ip_version == 6:
        for alias in ALIASES:
            tree.put(ipaddress.ip_network(alias), tree.ipv4())
    facts: dict[str, object] = {
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_700_000_000, "database_type": "Test-Country",
        "description": {"en": "made for tests"}, "ip_version": ip_version, "languages": ["en"], "node_count": len(tree.nodes),
        "record_size": record_size,
    }
    return tree.encoded(record_size) + bytes(16) + bytes(section) + MARKER + _encode({**facts, **(metadata or {})})


class _Tree:
    def __init__(self, ip_version: Literal[4, 6]) -> None:
        self.ip_version = ip_version
        self.nodes: list[list[Side]] = [[None, None]]

    def bits(self, network: Network) -> int:
        """The length of its prefix in this tree."""
        return network.prefixlen + (96 if self.ip_version == 6 and network.version == 4 else 0)

    def put(self, network: Network, side: Side) -> None:
        """Let the prefix lead there."""
        length, width = self.bits(network), 128 if self.ip_version == 6 else 32
        path = [int(network.network_address) >> (width - 1 - depth) & 1 for depth in range(length)]
        node = 0
        for bit in path[:-1]:
            node = self._inner(node, bit)
        self.nodes[node][path[-1]] = side

    def _inner(self, node: int, bit: int) -> int:
        """The node on that side; what was not divided so far, is."""
        below = self.nodes[node][bit]
        if below is None or below < 0:
            self.nodes.append([below, below])
            below = self.nodes[node][bit] = len(self.nodes) - 1
        return below

    def ipv4(self) -> Side:
        """What ::/96 leads to."""
        side: Side = 0
        for _ in range(96):
            if side is None or side < 0:
                return side
            side = self.nodes[side][0]
        return side

    def encoded(self, record_size: int) -> bytes:
        count = len(self.nodes)
        numbers = [[count if side is None else side if side >= 0 else count + 16 - 1 - side for side in node] for node in self.nodes]
        if record_size != 28:
            return b"".join(number.to_bytes(record_size // 8, "big") for node in numbers for number in node)
        return b"".join(                                      # the middle byte has the upper bits of both
            (left & 0xFFFFFF).to_bytes(3, "big") + bytes([left >> 24 << 4 | right >> 24]) + (right & 0xFFFFFF).to_bytes(3, "big")
            for left, right in numbers
        )


def _encode(value: object, key: object = None) -> bytes:
    """As the data section has it."""
    if isinstance(value, str):
        return _control(TEXT, len(value.encode())) + value.encode()
    if isinstance(value, Mapping):
        return _control(MAP, len(value)) + b"".join(_encode(key) + _encode(item, key) for key, item in value.items())
    if isinstance(value, int):
        digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(_NUMBERS.get(str(key), UINT16), len(digits)) + digits
    assert isinstance(value, Sequence)
    return _control(ARRAY, len(value)) + b"".join(_encode(item) for item in value)


def _control(kind: int, size: int) -> bytes:
    assert size < 29               # nothing here is longer
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])


def prefixes(networks: Mapping[str, object]) -> Iterator[str]:
    """The first and the last address of each network."""
    for text in networks:
        network = ipaddress.ip_network(text)
        yield from (str(network[0]), str(network[-1]))
