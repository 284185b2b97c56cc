"""Counters that never fall, although the handles that count come and go with reloads.

Of a route, a server or an upstream there is one handle at a time, which the store lets go of when no engine can use it any more. What it
had counted is added there and then to the `Past` of its key; a handle that comes back under the key begins at zero, and everybody who shows
a counter (`/metrics`, `/stats`, the history, `status`) shows the sum of both. So all of them agree, whenever and however often they look.

A flow may hold its server for weeks after the last snapshot that knew it. Such a handle counts on, so it is kept (`Past.late`) until it has
nothing under way. Listeners cannot be kept, they close their sockets when the last reference goes; but none is let go with anything open.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import add as add_numbers
from typing import Any, Generic, Protocol, TypeVar

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.io.listener import Listener
from proxyd_ext.route.stats import RouteStats

GONE_LIMIT = 4_096
"""How many keys without a handle are remembered; the one that left first is forgotten first, and begins at zero should it return."""

Stats = dict[str, Any]
Row = tuple[int, ...]
"""The same in short, as the `figures` of a handle tell it."""


class Handle(Protocol):
    """A native object with counters."""

    def stats(self) -> Mapping[str, Any]: ...


K = TypeVar("K")
H = TypeVar("H", bound=Handle)


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


def is_zero(value: Any) -> bool:
    """Whether nothing is counted in `value`."""
    if isinstance(value, Mapping):
        return all(map(is_zero, value.values()))
    return not any(value) if isinstance(value, list) else not value


def plus(row: Row, more: Row) -> Row:
    return tuple(map(add_numbers, row, more)) if row and more else row or more


@dataclass(frozen=True, slots=True)
class Past(Generic[H]):
    """What a key counted with handles that were let go. It does not change, so that another thread may go on reading it."""

    counters: tuple[str, ...]      # names of the stats that are kept
    stats: Stats = field(default_factory=dict)
    row: Row = ()
    late: tuple[H, ...] = ()       # handles that somebody still holds: they count on


def with_past(stats: Mapping[str, Any], past: Past[Any] | None) -> Mapping[str, Any]:
    """What a handle tells, with the counts of `past` added. Not to be changed: without a past, as nearly always, it is `stats` itself."""
    if past is None:
        return stats
    found: Stats = {}
    add(found, past.stats)
    for told in (*(handle.stats() for handle in past.late), stats):
        add(found, {name: told[name] for name in past.counters})
    return {**stats, **found}


class Tally(Generic[K, H]):
    """The handles of one kind, and what those before them had counted."""

    def __init__(self, counters: Collection[str], row: Callable[[H], Row], *, limit: int = GONE_LIMIT) -> None:
        """`counters`: those of its stats that only grow; `row`: the same in short."""
        self.live: dict[K, H] = {}
        self.let_gos = 0                         # how many handles were let go, and how many of them have ended
        self._counters, self._row, self._limit = tuple(counters), row, limit
        self._past: dict[K, Past[H]] = {}        # the one that was let go first stands first

    # ------------------------------------------------------------------ questions
    def past(self, key: K) -> Past[H] | None:
        """None: nothing was counted under this key before."""
        return self._past.get(key)

    def pasts(self) -> Mapping[K, Past[H]]:
        return self._past

    def stats(self, key: K, handle: H) -> Mapping[str, Any]:
        """Everything that was counted under the key, whose handle is `handle`."""
        return with_past(handle.stats(), self._past.get(key))

    def row(self, key: K, handle: H) -> Row:
        """The same in short."""
        past = self._past.get(key)
        return self._row(handle) if past is None else plus(self._row(handle), self._past_row(past))

    def rows(self) -> Iterator[tuple[K, Row]]:
        """Of every key that has a handle."""
        for key, handle in self.live.items():
            yield key, self.row(key, handle)

    def past_rows(self, *, late: bool) -> Iterator[tuple[K, Row]]:
        """Of every key that has no handle any more. `late`: of those alone that still count."""
        for key, past in self._past.items():
            if key not in self.live and (past.late or not late):
                yield key, self._past_row(past)

    def _past_row(self, past: Past[H]) -> Row:
        found = past.row
        for handle in past.late:
            found = plus(found, self._row(handle))
        return found

    # ------------------------------------------------------------------ changes
    def let_go(self, keys: Iterable[K]) -> None:
        """No snapshot names the handles of these keys any more."""
        for key in keys:
            self.let_gos += 1
            handle = self.live.pop(key)
            told = handle.stats()
            if is_busy(told):
                before = self._take(key)
                self._past[key] = replace(before, late=(*before.late, handle))
            else:
                self._fold(key, handle, told)
        self._settle()
        self._forget()

    def fold(self, key: K, handle: H) -> None:
        """A handle that is not among those of this tally counts no more. Take over what it has counted."""
        self._fold(key, handle, handle.stats())
        self._forget()

    def _fold(self, key: K, handle: H, told: Mapping[str, Any]) -> None:
        counted = {name: told[name] for name in self._counters}
        if is_zero(counted):
            return
        before = self._take(key)
        if before.stats:
            add(counted, before.stats)
        self._past[key] = replace(before, stats=counted, row=plus(before.row, self._row(handle)))

    def _take(self, key: K) -> Past[H]:
        """The past of the key, which is going to be put back as that of the key that was let go last."""
        return self._past.pop(key, None) or Past(self._counters)

    def _settle(self) -> None:
        """Fold the late handles that have nothing under way any more."""
        for key in [key for key, past in self._past.items() if past.late]:
            past = self._past.pop(key)
            late = tuple(handle for handle in past.late if is_busy(handle.stats()))
            if past.stats or late:
                self._past[key] = replace(past, late=late)
            for handle in past.late:
                if handle not in late:
                    self.let_gos += 1
                    self._fold(key, handle, handle.stats())

    def _forget(self) -> None:
        gone = [key for key, past in self._past.items() if key not in self.live and not past.late]
        for key in gone[:max(0, len(gone) - self._limit)]:
            del self._past[key]


def is_busy(told: Mapping[str, Any]) -> bool:
    """Whether a server or an upstream, by its stats, has something under way."""
    return bool(told.get("in_flight"))


@dataclass(slots=True)
class Tallies:
    """Of everything that is counted and may leave with a reload."""

    routes: Tally[tuple[str, str], RouteStats] = field(default_factory=lambda: Tally(             # (listener, route)
        ("requests", "errors", "duration_seconds", "ttfb_seconds", "bytes_in", "bytes_out", "cache", "cache_bytes"), RouteStats.figures))
    servers: Tally[tuple[str, str], Server] = field(default_factory=lambda: Tally(                # (upstream, label)
        ("requests", "errors", "flows", "bytes_in", "bytes_out"), Server.figures))
    upstreams: Tally[str, UpstreamState] = field(default_factory=lambda: Tally(
        ("response_seconds", "connect_seconds", "retries", "refused", "hedges", "mirror"), UpstreamState.times))
    listeners: Tally[tuple[str, str], Listener] = field(default_factory=lambda: Tally(            # (name, kind): at all its addresses
        ("accepted", "rejected", "bytes_in", "bytes_out", "packets_in", "packets_out", "ended"), lambda listener: ()))
