"""Ejections: servers that are out for a while because of what real requests met there.

Two can eject. The engines do so by themselves after failures in a row, and say which server it was; why, is what its counters gained since.
The control plane does so for what only a look at all servers shows (`proxyd.health.outliers`), and brings its reason with it. Either way
the time is kept by the server itself; here somebody waits for its end, so that the server starts slowly and the engines' tables follow.
"""
from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

from proxyd.clock import Clock
from proxyd.tasks import Tasks

OutlierKind = Literal["error_rate", "success_rate", "latency"]
Kind = Literal["consecutive"] | OutlierKind

WORDS: dict[str, str] = {
    "connect_refused": "connection refused",
    "connect_timeout": "connecting timed out",
    "connect_unreachable": "address unreachable",
    "connect_failed": "connecting failed",
    "upstream_closed": "connection closed without an answer",
    "upstream_reset": "connection reset",
    "first_byte_timeout": "no answer in time",
    "try_timeout": "no answer in time",
    "read_timeout": "answer stalled",
    "write_timeout": "request not taken",
    "upstream_truncated": "answer cut short",
    "upstream_head_malformed": "not an HTTP answer",
}
"""The native fault words (core/fault.pyx) that eject, as people say them; others are shown with spaces for their underscores."""

log = logging.getLogger("proxyd.health")

Key = tuple[str, str]
"""(upstream, server label)"""


class Ejectable(Protocol):
    """What is asked of a server; `proxyd_ext.balance.server.Server` answers."""

    def state(self) -> Mapping[str, Any]: ...

    def stats(self) -> Mapping[str, Any]: ...

    def eject(self, ms: int) -> None: ...

    def forgive(self) -> None: ...

    def ramp(self) -> None: ...


@dataclass(slots=True)
class _Record:
    """What is remembered of one server."""

    failures: Counter[str] = field(default_factory=Counter)        # known when it was last looked at
    reason: str = ""                                               # of its last ejection
    counts: Counter[str] = field(default_factory=Counter)          # ejections by kind
    waiting: asyncio.Task[None] | None = None                      # for the end of the ejection


@dataclass(slots=True)
class Ejections:
    tasks: Tasks
    clock: Clock
    on_change: Callable[[str], None] = lambda upstream: None       # called when a server of `upstream` left or returned
    _records: dict[Key, _Record] = field(default_factory=dict)

    def on_ejected(self, upstream: str, label: str, server: Ejectable) -> None:
        """The engines took the server out after failures in a row."""
        record = self._records.setdefault((upstream, label), _Record())
        state, failures = server.state(), _failures(server.stats())
        gained = failures - record.failures
        record.failures = failures
        word, count = gained.most_common(1)[0] if gained else ("failures", 0)
        # The counter that grew most may hold older ones as well; the row that ejected is the smaller of both.
        row = state["consecutive_failures"]
        times = min(count, row) if count and row else count or row
        self._note(upstream, label, server, "consecutive", f"{word} {times} times" if times > 1 else word)

    def eject(self, upstream: str, label: str, server: Ejectable, ms: int, kind: OutlierKind, reason: str) -> None:
        """Take the server out for `ms`."""
        record = self._records.setdefault((upstream, label), _Record())
        record.failures = _failures(server.stats())
        server.eject(ms)
        self._note(upstream, label, server, kind, reason)

    def on_readmitted(self, upstream: str, label: str) -> None:
        """It is back before its time was over."""
        record = self._records.get((upstream, label))
        if record is not None and record.waiting is not None:
            record.waiting.cancel()
            record.waiting = None

    def reason(self, upstream: str, label: str) -> str:
        """Why it was last ejected: "connection refused 5 times"; "" when it never was."""
        record = self._records.get((upstream, label))
        return record.reason if record is not None else ""

    def counts(self, upstream: str, label: str) -> Mapping[str, int]:
        """How often it was ejected, by kind."""
        record = self._records.get((upstream, label))
        return dict(record.counts) if record is not None else {}

    def forget_others(self, keys: set[Key]) -> None:
        """Keep only these servers."""
        for key in self._records.keys() - keys:
            self.on_readmitted(*key)
            del self._records[key]

    def _note(self, upstream: str, label: str, server: Ejectable, kind: Kind, reason: str) -> None:
        record = self._records[(upstream, label)]
        record.reason = reason
        record.counts[kind] += 1
        log.warning("%s: %s left: %s; back in %s", upstream, label, reason, _seconds(server.state()["ejected_for_ms"]))
        if record.waiting is None and not self.tasks.closed:       # engines that are being closed may still tell
            record.waiting = self.tasks.keep(
                f"ejection {upstream}/{label}", partial(self._await_end, upstream, label, server, record)
            )
        self.on_change(upstream)

    async def _await_end(self, upstream: str, label: str, server: Ejectable, record: _Record) -> None:
        # Looked at again after each wait: the time may have been extended, and two clocks may differ by a millisecond.
        while (left := server.state()["ejected_for_ms"]) > 0:
            await self.clock.sleep(left / 1000)
        record.waiting = None
        server.ramp()
        log.info("%s: %s is back: its time is over", upstream, label)
        self.on_change(upstream)


def _failures(stats: Mapping[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for word, count in stats["errors"].items():
        found[WORDS.get(word, word.replace("_", " "))] += count
    for code, count in stats["requests"].items():
        if code >= 500:
            found[f"status {code}"] += count
    return found


def _seconds(ms: int) -> str:
    return f"{round(ms / 1000)} s" if ms >= 1000 else f"{ms} ms"
