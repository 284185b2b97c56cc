"""The last thousand events, in memory, each a sentence with the facts behind it; and those who want to hear of the next ones."""
from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from proxyd.clock import Clock
from proxyd.feed import Feed

LIMIT = 1_000

Kind = Literal[
    "server.state",          # facts: upstream, server, was, state, reason
    "circuit",               # upstream, state, reason
    "config.reload",         # ok, changed, hash, generation
    "config.rollback",       # hash, why
    "server.change",         # upstream, servers, by
    "server.kept",           # from before the start
    "cache.purge",           # objects
    "limit.reset",           # policy
    "log.drops",             # dropped; `over` once it has ended
    "engine.stuck",          # engine; `over` once it turns again
    "daemon.stop",           # now
]


@dataclass(frozen=True, slots=True)
class Event:
    id: int                  # grows; also over restarts, since it begins with the time of the start in milliseconds
    at: float                # epoch seconds
    kind: Kind
    text: str                # a sentence for people: "api/10.0.0.1:80 is down: check failed: connection refused"
    facts: Mapping[str, Any]


@dataclass(slots=True)
class Events:
    clock: Clock
    feed: Feed[Event] = field(default_factory=Feed)
    _ring: deque[Event] = field(default_factory=lambda: deque(maxlen=LIMIT))
    _last: int = 0

    def note(self, kind: Kind, text: str, **facts: Any) -> Event:
        now = self.clock.wall()
        self._last = max(self._last, int(now * 1000)) + 1
        event = Event(self._last, now, kind, text, facts)
        self._ring.append(event)
        self.feed.tell(event)
        return event

    def after(self, id: int = 0, limit: int = LIMIT) -> list[Event]:
        """The newest `limit` of those behind `id`, the oldest of them first."""
        found = [event for event in self._ring if event.id > id]
        return list(islice(found, max(len(found) - limit, 0), None))
