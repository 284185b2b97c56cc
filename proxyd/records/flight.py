"""The flight recorder: records of requests that somebody may ask about later, in bounded memory.

    errors      answers that proxyd made of a failure with a 5xx, and flows that failed       the last 1,000
    refusals    answers that proxyd made with a 4xx (limits, credentials, no route)           the last 1,000, so that a flood of them
    failures    answers of servers with a 5xx                                                 the last 1,000   pushes out none of the others
    slow        requests that took longest                                                    20 of each of the last 15 minutes
    sample      one in N, where N follows the traffic; all of them while there is little      the last 1,000

At most 4,300 records are kept. One takes 3.4 KB as a rule, so that all take 15 MB; with every string at its longest, 45 MB.

What is slow and what N is follow the traffic: every second `tune` sets both so that some RATE records a second arrive of either.
"""
from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Protocol

from proxyd.clock import Clock
from proxyd.records.filters import Filter
from proxyd.records.tap import Record
from proxyd.stats.figures import Totals

KEPT = 1_000
SLOW_MINUTES = 15
SLOW_EACH = 20           # of a minute
RATE = 20                # records a second that are wanted of slow ones and of the sample
WINDOW = 5               # seconds of traffic that the thresholds are made from
PREFIX_MIN = 6           # characters of an id that stand for the whole


class Wanting(Protocol):
    """What is told which records are wanted: the `Tap`."""

    def want(self, *, slow_us: int, one_in: int) -> None: ...


def _ring() -> deque[Record]:
    return deque(maxlen=KEPT)


@dataclass(slots=True)
class Flight:
    tap: Wanting
    clock: Clock
    errors: deque[Record] = field(default_factory=_ring)
    refusals: deque[Record] = field(default_factory=_ring)
    failures: deque[Record] = field(default_factory=_ring)
    sample: deque[Record] = field(default_factory=_ring)
    _slow: deque[list[tuple[float, int, Record]]] = field(default_factory=lambda: deque(maxlen=SLOW_MINUTES))    # heaps, one a minute
    _minute: int = -1
    _serial: count[int] = field(default_factory=count)      # so that two records that took equally long need not be compared
    _wanted: tuple[int, int] = (-1, -1)

    def tune(self, recent: Totals) -> None:
        """Say what is wanted now. `recent`: the traffic of the last seconds."""
        rate = recent.requests / recent.seconds if recent.seconds else 0.0
        wanted = slow_us(recent, rate), max(round(rate / RATE), 1)
        if wanted != self._wanted:
            self._wanted = wanted
            self.tap.want(slow_us=wanted[0], one_in=wanted[1])

    def on_records(self, records: Iterable[Record]) -> None:
        for record in records:
            self._ring_of(record).append(record)
            if "kind" not in record:           # a flow is as long as its client likes
                self._note_time(record)

    def _ring_of(self, record: Record) -> deque[Record]:
        status = record.get("status", 0)
        if "error" in record:
            return self.refusals if 400 <= status < 500 else self.errors
        return self.failures if status >= 500 else self.sample

    def _note_time(self, record: Record) -> None:
        minute = int(self.clock.monotonic() // 60)
        for _ in range(min(minute - self._minute, SLOW_MINUTES) if self._minute >= 0 else 1):
            self._slow.append([])
        self._minute = minute
        entry, slowest = (record.get("t_total", 0.0), next(self._serial), record), self._slow[-1]
        if len(slowest) < SLOW_EACH:
            heapq.heappush(slowest, entry)
        elif entry[0] > slowest[0][0]:
            heapq.heapreplace(slowest, entry)

    # ------------------------------------------------------------------ questions
    def all(self) -> list[Record]:
        """Everything that is kept, the newest first."""
        slow = [record for minute in self._slow for _, _, record in minute]
        found = {id(record): record for records in (self.errors, self.refusals, self.failures, self.sample, slow) for record in records}
        return sorted(found.values(), key=lambda record: str(record["time"]), reverse=True)

    def latest(self, wanted: Filter, limit: int) -> list[Record]:
        """Those that pass, the newest first."""
        return list(islice(filter(wanted, self.all()), limit))

    def slowest(self, wanted: Filter, limit: int) -> list[Record]:
        """Those that pass, the slowest first."""
        slow = (record for minute in self._slow for _, _, record in minute if wanted(record))
        return heapq.nlargest(limit, slow, key=lambda record: float(record.get("t_total", 0.0)))

    def find(self, id: str) -> list[Record]:
        """What is kept of a request, the newest first. `id`: its X-Request-ID, the id of proxyd's own span, or how one of them begins.

        There may be several: clients may send an id twice, and proxies behind one another keep it.
        """
        wanted, kept = id.lower(), self.all()
        exact = [record for record in kept if wanted in ids(record)]
        if exact or len(wanted) < PREFIX_MIN:
            return exact
        return [record for record in kept if any(known.startswith(wanted) for known in ids(record))]


def ids(record: Record) -> list[str]:
    return [str(record[name]).lower() for name in ("id", "span_id") if name in record]


def slow_us(recent: Totals, rate: float) -> int:
    """From how many microseconds on a request is slow: RATE requests a second take longer. 0: there are no more than that."""
    if rate <= RATE:
        return 0
    return round((recent.quantile(1 - RATE / rate) or 0.0) * 1e6)
