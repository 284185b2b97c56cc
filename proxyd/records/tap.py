"""From the log thread to readers on the event loop: access records as objects, with the names of the JSON access log.

What is tapped without anybody asking for everything: faults, 5xx, sampled traces, what was slow, and one in some. A reader that is too
slow makes the tap drop, never the log or an engine.
"""
from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from proxyd_ext.log import AccessLog

Record = dict[str, Any]
Listener = Callable[[list[Record]], None]

TURN_BYTES = 128 * 1024
"""Lines that one turn of the loop makes objects of: about a millisecond and a half."""
PAUSE = 0.02
"""Seconds between two turns: in between, health checks and the admin API have their say."""

log = logging.getLogger("proxyd.records")


class Tap:
    """One for the life of the daemon; the access log that it reads is another one after a reload that changed `log.access`."""

    def __init__(self) -> None:
        self._log: AccessLog | None = None
        self._listeners: dict[int, Listener] = {}
        self._greedy: set[int] = set()         # who wants everything
        self._next = 0
        self._slow_us, self._one_in = 0xFFFF_FFFF, 0
        self._left = b""                       # taken, and not told yet
        self._paused: asyncio.TimerHandle | None = None
        self._unfinished: list[AccessLog] = []     # the one that is read, and those before it that still close
        self._dropped = 0                          # of those that have closed
        self._held: Counter[str] = Counter()

    # ------------------------------------------------------------------ readers
    def subscribe(self, on_records: Listener, *, everything: bool = False) -> Callable[[], None]:
        """Call `on_records` on the loop with new records, the oldest first; `everything`: all there are. Returns what ends it."""
        self._next += 1
        number = self._next
        self._listeners[number] = on_records
        if everything:
            self._greedy.add(number)
            self._tell_wants()

        def end() -> None:
            self._listeners.pop(number, None)
            if number in self._greedy:
                self._greedy.discard(number)
                self._tell_wants()

        return end

    def want(self, *, slow_us: int, one_in: int) -> None:
        """Tap what took at least `slow_us`, and one record in `one_in` (0: none), beside what is always tapped."""
        self._slow_us, self._one_in = min(slow_us, 0xFFFF_FFFF), one_in
        self._tell_wants()

    @property
    def dropped(self) -> int:
        """Records that there was no room for."""
        return self._dropped + sum(each.tap_dropped for each in self._unfinished)

    @property
    def held(self) -> dict[str, int]:
        """Telling records that nobody made since their class (`5xx`, `fault`, `other`) had used up its budget."""
        found = self._held.copy()
        for each in self._unfinished:
            found.update(each.tap_held)
        return dict(found)

    # ------------------------------------------------------------------ the log behind it
    def prepare(self, access_log: AccessLog) -> None:
        """Tell a log that is going to be followed what to tap."""
        access_log.want(self._slow_us, self._one_in)
        access_log.follow(bool(self._greedy))

    def follow(self, access_log: AccessLog) -> None:
        """Read this log from now on. The one before may still be written until it is closed: see `finish`."""
        if access_log is self._log:
            return
        self._unwatch()
        self._log = access_log
        self._unfinished.append(access_log)
        self.prepare(access_log)
        self._watch()

    def finish(self, access_log: AccessLog) -> None:
        """Tell what a closed log still holds. It is not read again."""
        if access_log is self._log:
            self._unwatch()
            self._log = None
        if access_log in self._unfinished:     # once: a daemon may be told twice to close
            self._unfinished.remove(access_log)
            self._dropped += access_log.tap_dropped
            self._held.update(access_log.tap_held)
        self._tell(self._left + access_log.take())
        self._left = b""

    def _tell_wants(self) -> None:
        if self._log is not None:
            self.prepare(self._log)

    def _watch(self) -> None:
        if self._log is not None:
            asyncio.get_running_loop().add_reader(self._log.tap_fileno(), self._turn)

    def _unwatch(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        elif self._log is not None:
            asyncio.get_running_loop().remove_reader(self._log.tap_fileno())

    def _turn(self) -> None:
        """Tell some of what waits, then look away for a while, so that a flood of records leaves the loop to others."""
        loop = asyncio.get_running_loop()
        if self._log is None:
            return
        if self._paused is None:
            loop.remove_reader(self._log.tap_fileno())
        self._paused = loop.call_later(PAUSE, self._resume)
        lines = self._left or self._log.take()
        end = len(lines) if len(lines) <= TURN_BYTES else lines.rfind(b"\n", 0, TURN_BYTES) + 1
        self._left = lines[end:]
        self._tell(lines[:end])

    def _resume(self) -> None:
        if self._left:
            self._turn()
            return
        self._paused = None
        self._watch()

    def _tell(self, lines: bytes) -> None:
        if not lines or not self._listeners:
            return
        records: list[Record] = [json.loads(line) for line in lines.splitlines()]
        for on_records in list(self._listeners.values()):
            try:
                on_records(records)
            except Exception:
                log.exception("a reader of records failed")
