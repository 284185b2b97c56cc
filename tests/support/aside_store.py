"""The native store under a clock that a test moves: values lie in it for longer than any test runs, and end here."""
from __future__ import annotations

from collections.abc import Sequence

from proxyd.cachetier.tier import PurgeKind
from proxyd_ext.cache.store import Cache
from tests.support.clock import FakeClock

SIZE = 4 << 20            # bytes; a value may have an eighth of them
LONG_MS = 3_600_000


class ClockedValues:
    def __init__(self, clock: FakeClock) -> None:
        self.store = Cache(SIZE)
        self._ends: dict[str, float] = {}
        self._clock = clock

    def names(self) -> list[str]:
        """What the store holds, sorted."""
        _, found = self.store.export(0, 1_000)
        return sorted(stored.url.removeprefix("aside:") for stored in found)

    def get(self, key: str) -> bytes | None:
        found = self.store.get(key)
        return found if found is not None and self._ends[key] > self._clock.monotonic() else None

    def put(self, key: str, value: bytes, ttl_ms: int, tags: Sequence[str] = ()) -> bool:
        self._ends[key] = self._clock.monotonic() + ttl_ms / 1000
        return self.store.put(key, value, ttl_ms + LONG_MS, tags)

    def delete(self, key: str) -> bool:
        return self.store.delete(key)

    def purge(self, kind: PurgeKind, text: str = "", *, soft: bool = False) -> int:
        return self.store.purge(kind, text, soft=soft)
