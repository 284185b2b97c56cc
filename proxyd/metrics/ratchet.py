"""Plain numbers that never fall, although what counts them is made anew with a reload: a policy, the cache, a log.

For what the store holds (routes, servers, upstreams, listeners) there is something better, which misses nothing between two looks:
`proxyd/tally.py`.
"""
from __future__ import annotations

from collections.abc import Hashable


class Ratchet:
    """A value that falls has begun again, so what it had reached is added from then on. Where the `owner` of the number is told (the
    identity of the handle that has it now), another one begins again, too, even if it has overtaken the last."""

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[float, int]] = {}
        self._base: dict[Hashable, float] = {}

    def total(self, key: Hashable, value: float, owner: int = 0) -> float:
        last, before = self._last.get(key, (0, owner))
        if value < last or owner != before:
            self._base[key] = self._base.get(key, 0) + last
        self._last[key] = value, owner
        return self._base.get(key, 0) + value
