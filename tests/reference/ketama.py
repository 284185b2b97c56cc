"""Consistent hashing as nginx's `hash … consistent` documents it, said plainly: zlib's CRC-32 and a sorted list."""

from __future__ import annotations

import bisect
import zlib
from collections.abc import Sequence

POINTS = 160


def points(label: str, weight: int) -> list[int]:
    """A server's points: a chain of CRC-32 over host, NUL, port and the point before (4 bytes, little-endian)."""
    host, colon, port = label.rpartition(":")
    if label.startswith("unix:") or not colon:
        host, port = label.removeprefix("unix:"), ""      # a socket's path is a host without a port
    base = host.encode() + b"\0" + port.encode()
    out: list[int] = []
    previous = b"\0\0\0\0"
    for _ in range(POINTS * weight):
        out.append(zlib.crc32(base + previous))
        previous = out[-1].to_bytes(4, "little")
    return out


class Ring:
    def __init__(self, servers: Sequence[tuple[str, int]]) -> None:
        """Of (label, weight) pairs; where two points are equal, the server named first has it."""
        owner: dict[int, str] = {}
        for label, weight in servers:
            for point in points(label, weight):
                owner.setdefault(point, label)
        self._points = sorted(owner)
        self._owner = owner

    def pick(self, key: bytes, without: frozenset[str] = frozenset()) -> str | None:
        """The first point at or behind the key's hash, round the ring, whose server is not left out."""
        start = bisect.bisect_left(self._points, zlib.crc32(key))
        for step in range(len(self._points)):
            label = self._owner[self._points[(start + step) % len(self._points)]]
            if label not in without:
                return label
        return None
