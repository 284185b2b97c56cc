"""What each part gained since the last look, of the sums that its tally keeps.

Somebody looks every second, and most parts have been idle: one costs a look alone.
"""
from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import chain
from operator import sub
from typing import Any, Generic, TypeVar

from proxyd.tally import Row, Tally

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Gains(Generic[Key]):
    _told: dict[Key, Row] = field(default_factory=dict)      # what each part had counted when it was looked at last
    _let_gos: int = 0

    def take(self, tally: Tally[Key, Any]) -> dict[Key, Row]:
        """What each part counted since the last call; parts that counted nothing are not in it."""
        found: dict[Key, Row] = {}
        moved, self._let_gos = tally.let_gos != self._let_gos, tally.let_gos
        for key, now in chain(tally.rows(), tally.past_rows(late=not moved)):
            before = self._told.get(key)
            if now != before:
                self._told[key] = now
                gain = now if before is None else tuple(map(sub, now, before))
                if any(gain):
                    found[key] = gain
        if moved:
            self._told = {key: row for key, row in self._told.items() if key in tally.live or tally.past(key) is not None}
        return found
