"""PURGE requests in the audit trail: who purged what, in a number of records that does not grow with the number of requests.

A PURGE from a network that may (`cache.purge.allow`) leaves a record as a purge by the admin API does: `cache.purge`, by the client's
address, `PURGE from` the address of the connection (another one behind a trusted proxy), with the number of objects that it removed. That
goes for BURST of them at once, and one each RECORD_EVERY seconds after that. What comes faster is gathered: one record for each client and
WINDOW, with the number of requests, of objects, of refused ones, of each kind, and the first few by name. CLIENTS_MAX clients are told
apart; the others have a record in common. So the trail grows by one record a second at most, however many come.

Nobody waits for these records: purges are sent by applications, thousands a second, and a disk that hangs must not hold the consults that
probes need, too. A daemon that is killed loses what it gathered in the last WINDOW; its own log has each PURGE by itself. Not recorded:
values that applications delete (theirs, by `DELETE`), a PURGE that may not (it is a request like others, for the server), and one that
finds the engine's door full (503; the access log has it).
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from proxyd.audit.record import Note
from proxyd.caching.purge import Asked
from proxyd.clock import Clock
from proxyd.tasks import Tasks

BURST = 60
RECORD_EVERY = 10.0        # seconds
WINDOW = 10.0              # seconds
CLIENTS_MAX = 8
NAMED_MAX = 5              # requests that a gathered record names, ...
NAME_MAX = 200             # ... with so many characters each
OTHERS = "others"
ACTION = "cache.purge"


@dataclass(slots=True)
class _Gathered:
    """What one client purged within a window."""

    origin: str
    requests: int = 0
    refused: int = 0
    objects: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def add(self, asked: Asked) -> None:
        self.requests += 1
        self.refused += asked.objects is None
        self.objects += asked.objects or 0
        self.kinds.update(asked.kinds)
        name = asked.words[:NAME_MAX]
        if len(self.named) < NAMED_MAX and name not in self.named:
            self.named.append(name)

    def note(self, client: str) -> Note:
        first, more = self.named[0], self.requests - 1
        return Note(
            client, self.origin, ACTION, f"{first} and {more} more requests" if more else first,
            "refused" if self.refused == self.requests else "ok",
            detail={"requests": self.requests, "refused": self.refused, "objects": self.objects, "kinds": self.kinds, "first": self.named})


def _note(asked: Asked) -> Note:
    origin = f"PURGE from {asked.peer}"
    if asked.objects is None:
        return Note(asked.client, origin, ACTION, asked.words, "refused")
    return Note(asked.client, origin, ACTION, asked.words, detail={"objects": asked.objects})


class Purges:
    def __init__(self, tasks: Tasks, clock: Clock, tell: Callable[[Note], None]) -> None:
        self._tasks, self._clock, self._tell = tasks, clock, tell
        self._left, self._at = float(BURST), clock.monotonic()
        self._gathered: dict[str, _Gathered] = {}      # by client; while there is one, a window is open

    def on_purge(self, asked: Asked) -> None:
        """A PURGE has been answered."""
        if not self._gathered and self._admits():
            self._tell(_note(asked))
            return
        if not self._gathered and not self._tasks.closed:
            self._tasks.spawn("purges of a window", self._tell_later())
        self._room(asked).add(asked)

    def _admits(self) -> bool:
        now = self._clock.monotonic()
        self._left, self._at = min(self._left + (now - self._at) / RECORD_EVERY, BURST), now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def _room(self, asked: Asked) -> _Gathered:
        if asked.client in self._gathered or len(self._gathered) < CLIENTS_MAX:
            return self._gathered.setdefault(asked.client, _Gathered(f"PURGE from {asked.peer}"))
        return self._gathered.setdefault(OTHERS, _Gathered("PURGE"))

    async def _tell_later(self) -> None:
        await self._clock.sleep(WINDOW)
        self.close()

    def close(self) -> None:
        """Tell what has been gathered; what comes after it is gathered anew."""
        gathered, self._gathered = self._gathered, {}
        for client, found in gathered.items():
            self._tell(found.note(client))
