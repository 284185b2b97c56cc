"""What each part counted since the last look and since the start, over all the handles that it has had.

The handles of a part change with reloads: a route that left and came back has new counters. `metrics/retained.py` solves the same for a
scrape with all its labels; here somebody looks every second and wants few numbers, so handles are told apart by what they told last, and
only those that counted something cost more than a look. Both forget nothing, and so agree.

A handle that left may still count its last requests: the last two of each part are looked at on.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from proxyd.stats.figures import NOTHING, Figures, minus, plus, total

PAST_LIMIT = 2           # handles of a part that left and are looked at on
GONE_LIMIT = 1_024       # parts without a handle that are remembered; the one that left first is forgotten first

Key = TypeVar("Key", bound=Hashable)
H = TypeVar("H", bound=Hashable)


@dataclass(slots=True)
class Sums(Generic[Key, H]):
    read: Callable[[H], Figures]
    _last: dict[tuple[Key, H], Figures] = field(default_factory=dict)       # what each handle told
    _past: dict[Key, deque[H]] = field(default_factory=dict)                # handles that left; the part that was left first stands first
    _let_go: dict[Key, Figures] = field(default_factory=dict)               # what handles had told that are not looked at any more
    _serving: dict[tuple[Key, H], None] = field(default_factory=dict)       # in the order of the config

    def serve(self, parts: Iterable[tuple[Key, H]]) -> None:
        """These handles serve from now on."""
        serving = dict.fromkeys(parts)
        for key, handle in self._serving.keys() - serving.keys():
            self._depart(key, handle)
        for key, handle in serving.keys() - self._serving.keys():
            self._last.setdefault((key, handle), NOTHING)
            self._return(key, handle)
        self._serving = serving
        self._forget({key for key, _ in serving})

    def gained(self) -> dict[Key, Figures]:
        """What each part counted since the last call; parts that counted nothing are not in it."""
        found: dict[Key, Figures] = {}
        for part, before in self._last.items():
            now = self.read(part[1])
            if now != before:
                self._last[part] = now
                key, gain = part[0], minus(now, before)
                found[key] = plus(found[key], gain) if key in found else gain
        return found

    def totals(self) -> dict[Key, Figures]:
        """What each part that serves has counted since the start, read now. What it gained will be told by the next look all the same."""
        rows: dict[Key, list[Figures]] = {key: [] for key, _ in self._serving}
        for key, handle in self._last:
            if key in rows:
                rows[key].append(self.read(handle))
        for key in rows.keys() & self._let_go.keys():
            rows[key].append(self._let_go[key])
        return {key: found[0] if len(found) == 1 else total(found) for key, found in rows.items()}

    def _depart(self, key: Key, handle: H) -> None:
        past = self._past.setdefault(key, deque())
        past.append(handle)
        if len(past) > PAST_LIMIT:
            last = self._last.pop((key, past.popleft()))
            self._let_go[key] = plus(self._let_go.get(key, NOTHING), last)

    def _return(self, key: Key, handle: H) -> None:
        past = self._past.get(key)
        if past is not None and handle in past:
            past.remove(handle)
            if not past:
                del self._past[key]

    def _forget(self, serving: set[Key]) -> None:
        gone = [key for key in self._past if key not in serving]
        for key in gone[:max(0, len(gone) - GONE_LIMIT)]:
            for handle in self._past.pop(key):
                del self._last[key, handle]
            self._let_go.pop(key, None)
