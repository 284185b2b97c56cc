"""A stand-in for the native store as the cache-aside uses it: a dict whose entries end by a clock that a test moves."""
from __future__ import annotations

from collections.abc import Sequence

from proxyd.cachetier.tier import PurgeKind
from tests.support.clock import FakeClock


class FakeValues:
    def __init__(self, clock: FakeClock, most: int = 1 << 20) -> None:
        self.entries: dict[str, tuple[bytes, float, frozenset[str]]] = {}
        self._clock = clock
        self._most = most              # bytes of a value

    def get(self, key: str) -> bytes | None:
        found = self.entries.get(key)
        return found[0] if found is not None and found[1] > self._clock.monotonic() else None

    def put(self, key: str, value: bytes, ttl_ms: int, tags: Sequence[str] = ()) -> bool:
        if len(value) > self._most:
            return False
        self.entries[key] = (value, self._clock.monotonic() + ttl_ms / 1000, frozenset(tags))
        return True

    def delete(self, key: str) -> bool:
        return self.entries.pop(key, None) is not None

    def purge(self, kind: PurgeKind, text: str = "", *, soft: bool = False) -> int:
        gone = [key for key, (_, _, tags) in self.entries.items() if kind == "all" or (kind == "tag" and text in tags)]
        for key in gone:
            del self.entries[key]
        return len(gone)
