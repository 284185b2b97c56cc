"""Counters that never go backwards, although the things they count come and go with reloads.

A series belongs to a *group*: the label values that it is shown under. The handles of one group may change: an address leaves a
listener, a server is removed and returns as a new object. Their counts must stay in the sum, or the series would fall. So what every handle
last told is remembered, and what left stays in the sum of its group.

Handles are told apart by identity, which Python may give to a new object once the old one is gone. So they are kept (`keep`), a few a
group. Listeners cannot be: they close their sockets when the last reference goes. Of them only the counts are remembered, and another
object at the same address is noticed when its counts are lower than those; if it has overtaken them between two scrapes, the old ones are
missing from the sum, which still never falls.

The obvious other way, remembering the last value shown and adding it whenever a value falls, counts twice when one of several handles
leaves: the others are still in the new value.
"""
from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from proxyd.metrics.source import Handle

GROUPS_LIMIT = 1_024
"""How many groups without a handle are remembered; the one that left first is forgotten first, and begins at zero should it return."""
PAST_LIMIT = 64
"""How many past handles of a group may return and be known again; older ones are only a sum."""
KEPT_LIMIT = 2
"""The same where the handles themselves are kept. A group that keeps them has one at a time."""

Group = TypeVar("Group", bound=Hashable)
Stats = dict[str, Any]


def add(into: Stats, more: Mapping[Any, Any]) -> None:
    """Add counters of `more` to `into`: numbers, lists of numbers (element by element), mappings (key by key)."""
    for key, value in more.items():
        have = into.get(key)
        if isinstance(value, Mapping):
            add(into.setdefault(key, {}), value)
        elif isinstance(value, list):
            into[key] = list(value) if have is None else [a + b for a, b in zip(have, value, strict=True)]
        else:
            into[key] = value if have is None else have + value


def amount(value: Any) -> float:
    """Everything that is counted in `value`, summed: of two readings of one handle, the later has the greater or the same amount."""
    if isinstance(value, Mapping):
        return sum(amount(part) for part in value.values())
    return sum(value) if isinstance(value, list) else float(value)


@dataclass(slots=True)
class _Reading:
    """What a handle last told, and the handle itself where it is kept."""

    stats: Stats
    handle: Handle | None


@dataclass(slots=True)
class _Known:
    """What is remembered of one group, by the identity of the handle."""

    serving: dict[int, _Reading] = field(default_factory=dict)
    past: dict[int, _Reading] = field(default_factory=dict)
    sum: Stats = field(default_factory=dict)         # of handles too old to return


class Retained(Generic[Group]):
    """Sums over the handles of each group, past ones included, of the `counters` of their stats."""

    def __init__(self, counters: frozenset[str], *, keep: bool = True, groups_limit: int = GROUPS_LIMIT) -> None:
        self._counters = counters
        self._keep = keep
        self._limit = groups_limit
        self._groups: dict[Group, _Known] = {}

    def totals(self, serving: Iterable[tuple[Group, Handle]]) -> dict[Group, Stats]:
        """Take note of what serves now; the sums of its groups."""
        now: dict[Group, dict[int, _Reading]] = {}
        for group, handle in serving:
            now.setdefault(group, {})[id(handle)] = _Reading(self._pick(handle), handle if self._keep else None)
        for group in now.keys() | self._groups.keys():
            self._take_note(self._groups.setdefault(group, _Known()), now.get(group, {}))
        self._forget()
        return {group: self._total(self._groups[group]) for group in now}

    def _take_note(self, known: _Known, now: dict[int, _Reading]) -> None:
        for identity, before in known.serving.items():
            if identity not in now:
                known.past[identity] = before
            elif self._is_another(now[identity], before):
                add(known.sum, before.stats)         # another object at the same address
        for identity, reading in now.items():
            returned = known.past.pop(identity, None)
            if returned is not None and self._is_another(reading, returned):
                add(known.sum, returned.stats)
        known.serving = now
        while len(known.past) > (KEPT_LIMIT if self._keep else PAST_LIMIT):
            oldest = known.past.pop(next(iter(known.past)))
            add(known.sum, self._last(oldest))

    def _is_another(self, reading: _Reading, before: _Reading) -> bool:
        """Whether another object has the address of the one that told `before`."""
        return not self._keep and amount(reading.stats) < amount(before.stats)

    def _forget(self) -> None:
        idle = [group for group, known in self._groups.items() if not known.serving]
        for group in idle[: max(0, len(idle) - self._limit)]:
            del self._groups[group]

    def _total(self, known: _Known) -> Stats:
        """Not to be changed: with one handle, as nearly always, it is what that has told."""
        if len(known.serving) == 1 and not known.past and not known.sum:
            return next(iter(known.serving.values())).stats
        found: Stats = {}
        add(found, known.sum)
        for reading in known.past.values():
            add(found, self._last(reading))
        for reading in known.serving.values():
            add(found, reading.stats)
        return found

    def _last(self, reading: _Reading) -> Stats:
        """A handle that left may still count its last exchanges."""
        return reading.stats if reading.handle is None else self._pick(reading.handle)

    def _pick(self, handle: Handle) -> Stats:
        return {key: value for key, value in handle.stats().items() if key in self._counters}


class Ratchet:
    """The same for plain numbers: a value that falls has begun again, so what it had reached is added from then on. Where the `owner` of
    the number is told (the identity of the handle that has it now), another one begins again, too, even if it has overtaken the last."""

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[float, int]] = {}
        self._base: dict[Hashable, float] = {}

    def total(self, key: Hashable, value: float, owner: int = 0) -> float:
        last, before = self._last.get(key, (0, owner))
        if value < last or owner != before:
            self._base[key] = self._base.get(key, 0) + last
        self._last[key] = value, owner
        return self._base.get(key, 0) + value
