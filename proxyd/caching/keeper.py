"""When the snapshot on disk is written and loaded (`warmth` says how): loaded in the background after the start, written every so often and
once at the end, in a bounded time. What goes wrong is a line in the log and in the report, never a failed start.
"""
from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proxyd.caching.journal import Journal
from proxyd.caching.outlook import size_text
from proxyd.caching.purge import Purge
from proxyd.caching.report import SnapshotView
from proxyd.caching.warmth import Loaded, Saved, load, save
from proxyd.clock import Clock
from proxyd.tasks import Tasks

if TYPE_CHECKING:
    from proxyd_ext.cache.store import Cache

LAST_SAVE_MAX = 20.0      # seconds for the save at the end; a service manager kills after 90

log = logging.getLogger("proxyd.caching")


@dataclass(frozen=True, slots=True)
class SnapshotRule:
    file: Path
    every: float              # seconds; 0: only at the end


class Keeper:
    """The snapshot of one store. `follow` may be called again with other settings; `close` saves for the last time."""

    def __init__(self, tasks: Tasks, clock: Clock, note: Callable[[], bytes], on_loaded: Callable[[bytes], Awaitable[None]]) -> None:
        """`note`: what goes into the file, taken before the store is walked; `on_loaded` gets it when the file has been loaded."""
        self._tasks, self._clock = tasks, clock
        self._note, self._on_loaded = note, on_loaded
        self._rule: SnapshotRule | None = None
        self._journals: dict[Path, Journal] = {}
        self._store: Cache | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = threading.Lock()           # one save or load at a time: a thread goes on for a moment after its task was cancelled
        self._stop = threading.Event()          # of the task that runs now
        self._is_over = False                   # another process keeps the file
        self._warm = False                      # loading has ended; until then the store holds less than the file, and must not replace it
        self._loaded = self._saved = self._bytes = 0
        self._saved_at = 0.0
        self._error = ""

    async def follow(self, rule: SnapshotRule | None, store: Cache | None) -> None:
        """Write this store to this file from now on. The first store is filled with what the file holds, without being waited for."""
        if (rule, store) == (self._rule, self._store) or self._is_over:
            return
        await self._end()
        self._rule, self._store = rule, store
        if rule is not None and store is not None:
            stop = self._stop = threading.Event()
            self._task = self._tasks.keep("cache snapshot", lambda: self._work(rule, store, stop))

    async def close(self, is_cut: Callable[[], bool]) -> None:
        """Write once more, after the engines have drained, unless (or until) `is_cut()`."""
        await self._end()
        if self._rule is None or self._store is None or not self._warm or is_cut():
            return
        end = self._clock.monotonic() + LAST_SAVE_MAX
        await self._save(self._rule, self._store, lambda: self._clock.monotonic() < end and not is_cut())

    async def save(self) -> None:
        """Write now, in a bounded time."""
        if self._rule is not None and self._store is not None and self._warm:
            end = self._clock.monotonic() + LAST_SAVE_MAX
            await self._save(self._rule, self._store, lambda: self._clock.monotonic() < end)

    async def hand_over(self) -> None:
        """Another process has loaded the file, and writes it from now on."""
        await self.follow(None, None)
        self._is_over = True

    async def purged(self, orders: Sequence[Purge]) -> None:
        """These have been carried out in the store, and are going to be answered for."""
        if self._rule is None:
            return
        try:
            await asyncio.to_thread(self._journal(self._rule).add, [(order.kind, order.text) for order in orders])
        except OSError as error:
            self._tell(self._rule, "note purges", error)

    def _journal(self, rule: SnapshotRule) -> Journal:
        return self._journals.setdefault(rule.file, Journal(rule.file))

    async def _end(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._tasks.cancel(self._task)
            self._task = None

    def view(self) -> SnapshotView | None:
        if self._rule is None:
            return None
        return SnapshotView(
            str(self._rule.file), self._rule.every, self._loaded, self._saved, self._saved_at, self._bytes, self._error)

    async def _work(self, rule: SnapshotRule, store: Cache, stop: threading.Event) -> None:
        def go_on() -> bool:
            return not stop.is_set()

        if not self._warm:
            await self._load(rule, store, go_on)
            self._warm = True
        while True:
            if not rule.every:
                return
            await self._clock.sleep(rule.every)
            await self._save(rule, store, go_on)

    async def _load(self, rule: SnapshotRule, store: Cache, go_on: Callable[[], bool]) -> None:
        def work() -> Loaded:
            with self._turn:
                return load(store, rule.file, go_on, self._journal(rule).read())

        try:
            found = await asyncio.to_thread(work)
        except FileNotFoundError:
            log.info("no cache snapshot at %s yet: the cache starts empty", rule.file)
            return
        except OSError as error:
            self._tell(rule, "load", error)
            return
        await self._on_loaded(found.note)
        self._loaded = found.objects
        left = f", {found.skipped} too old or without room" if found.skipped else ""
        size = size_text(found.size)
        log.info("the cache is warm: %d objects, %s from %s in %.1f s%s", found.objects, size, rule.file, found.seconds, left)
        if found.damaged or found.fault:
            causes = [f"{found.damaged} damaged objects were left out"] if found.damaged else []
            self._error = "; ".join([*causes, *([found.fault] if found.fault else [])])
            log.warning("cache snapshot %s: %s", rule.file, self._error)

    async def _save(self, rule: SnapshotRule, store: Cache, go_on: Callable[[], bool]) -> None:
        note, journal = self._note(), self._journal(rule)

        def work() -> Saved:
            with self._turn:
                purges = journal.count
                saved = save(store, rule.file, go_on, note)
                if saved.whole:
                    journal.drop(purges)
                return saved

        try:
            found = await asyncio.to_thread(work)
        except OSError as error:
            self._tell(rule, "save", error)
            return
        self._saved, self._saved_at, self._bytes = found.objects, self._clock.wall(), found.size
        self._error = "" if found.whole else "there was no time to write all of it"
        log.log(logging.INFO if found.whole else logging.WARNING, "cache snapshot %s: %d objects, %s in %.1f s%s", rule.file, found.objects,
                size_text(found.size), found.seconds, f"; {self._error}" if self._error else "")

    def _tell(self, rule: SnapshotRule, what: str, error: OSError) -> None:
        self._error = f"cannot {what}: {error.strerror or error}"
        log.warning("cache snapshot %s: %s", rule.file, self._error)
