"""One policy's filter: the generation of workers that answers, those that leave, and whether the filter is asked at all.

A generation is replaced as a whole: by another config, and when the filter's files change. The new one has loaded the filter before it
takes over, and the old one keeps what it has. A changed file that does not load is told in the log, and the old generation goes on.
"""
from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from proxyd.clock import Clock
from proxyd.filters.breaker import Breaker
from proxyd.filters.counters import FilterCounters, FilterEntry, Result
from proxyd.filters.generation import Asking, Call, Generation, StartWorker
from proxyd.filters.process import GoneWord, LoadFailed
from proxyd.filters.protocol import PASSED, Answer, Change, Failure, HookWord, Reply
from proxyd.filters.watch import FileWatch
from proxyd.tasks import Tasks

TICK = 0.05            # seconds between two looks at calls that are pending
LOOK = 0.5             # seconds between two looks at the files
TELL = 10.0            # seconds between two lines in the log about calls that fail

log = logging.getLogger("proxyd.filters")


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """What the config says of a `python` policy."""

    name: str
    file: Path                 # absolute
    timeout_s: float
    workers: int = 1
    max_pending: int = 1_000
    disable_after: int = 20    # 0: never
    disable_for_s: float = 30.0

    @property
    def needs(self) -> tuple[Path, int]:
        """What a generation is made for."""
        return self.file, self.workers


class Switch(Protocol):
    """What engines look at: `proxyd_ext.filter.hooks.Hooks`."""

    id: int
    request: bool
    response: bool
    failing: bool

    def stats(self) -> dict[str, int]: ...


class Pool:
    """Not usable before `take` and after `close`."""

    def __init__(self, hooks: Switch, settings: FilterSettings, clock: Clock, counters: FilterCounters, start: StartWorker) -> None:
        self._hooks, self._clock, self._start_worker = hooks, clock, start
        self.settings, self.counters = settings, counters
        self._tasks = Tasks(clock)
        self._generation: Generation | None = None
        self._leaving: set[Generation] = set()
        self._breaker = Breaker(settings.disable_after, settings.disable_for_s)
        self._retrying: asyncio.Task[None] | None = None
        self._busy = asyncio.Event()           # calls are pending
        self._told, self._untold = float("-inf"), 0
        self._closed = False

    @property
    def id(self) -> int:
        """Of its Hooks: what engines call it."""
        return self._hooks.id

    # ------------------------------------------------------------------ life
    async def prepare(self, settings: FilterSettings) -> Generation | None:
        """The generation that those settings need, loaded; None when the one that serves will do. LoadFailed: nothing has changed."""
        if self._generation is not None and settings.needs == self.settings.needs:
            return None
        return await self._new_generation(settings)

    async def _new_generation(self, settings: FilterSettings) -> Generation:
        generation = Generation(settings.name, settings.file, settings.workers, self._clock, self._start_worker)
        await generation.start(self)
        return generation

    def take(self, settings: FilterSettings, generation: Generation | None) -> None:
        """From now on these settings hold, and `generation` (of `prepare`) answers."""
        first = self._generation is None
        self.settings = settings
        self._breaker.after, self._breaker.first_pause = settings.disable_after, settings.disable_for_s
        if generation is not None:
            self._take(generation)
        if first:
            self._tasks.keep(f"filter {settings.name}: deadlines", self._look)
            self._tasks.keep(f"filter {settings.name}: files", self._follow_files)

    def _take(self, generation: Generation) -> None:
        before, self._generation = self._generation, generation
        self._hooks.request = "request" in generation.loaded.hooks
        self._hooks.response = "response" in generation.loaded.hooks
        self._enable()
        if before is not None:
            self._leaving.add(before)
            self._tasks.spawn(f"filter {self.settings.name}: an old version leaves", self._see_off(before))

    async def _see_off(self, generation: Generation) -> None:
        self._busy.set()
        await generation.leave()
        self._leaving.discard(generation)

    async def close(self) -> None:
        """Some seconds at most, whatever the filter does. Calls that are pending fail."""
        self._closed = True
        await self._tasks.close()
        await asyncio.gather(*(generation.close() for generation in self._generations()))
        self._generation = None
        self._leaving.clear()

    def _generations(self) -> list[Generation]:
        return [*self._leaving, *([self._generation] if self._generation is not None else [])]

    # ------------------------------------------------------------------ calls
    def ask(self, engine: Asking, slot: int, generation: int, hook: HookWord, request: bytes) -> None:
        """Answers the engine, at once or later."""
        current, now = self._generation, self._clock.monotonic()
        call = Call(engine, slot, generation, hook, request, now, now + self.settings.timeout_s, self._breaker)
        if current is None:
            engine.fail(slot, generation)
        elif hook not in current.loaded.hooks:
            self._finish(call, PASSED, "passed")       # a new version without that hook has taken over meanwhile
        elif self.pending >= self.settings.max_pending:
            self._fail(call, "refused", "more calls are pending than `max_pending` allows")
        else:
            current.ask(call)
            self._busy.set()

    @property
    def pending(self) -> int:
        return sum(generation.pending for generation in self._generations())

    def on_result(self, call: Call, answer: Answer, crashed: bool) -> None:
        if isinstance(answer, Failure):
            self._fail(call, "crash" if crashed else answer.word, answer.message, answer.trace)
            return
        result: Result = ("changed" if answer != PASSED else "passed") if isinstance(answer, Change) else "replied"
        self._finish(call, answer, result)

    def _finish(self, call: Call, answer: Change | Reply, result: Result) -> None:
        try:
            if isinstance(answer, Reply):
                call.engine.reply(call.slot, call.generation, answer.status, answer.head, answer.body)
            else:
                call.engine.change(
                    call.slot, call.generation, lines=answer.lines, drop=answer.drop, path=answer.path, query=answer.query,
                    status=answer.status,
                )
        except ValueError as error:
            self._fail(call, "error", f"the engine cannot do what on_{call.hook} says: {error}")
            return
        self._count(call, result)
        if call.breaker is self._breaker:
            self._breaker.on_success()

    def _fail(self, call: Call, result: Result, message: str, trace: str = "") -> None:
        call.engine.fail(call.slot, call.generation)
        self._count(call, result)
        if self._closed:
            return
        self._tell(message, trace)
        # A queue that is full says nothing about the filter, nor an older version about the one that has taken over.
        if result != "refused" and call.breaker is self._breaker and self._breaker.on_failure():
            self._disable()

    def _count(self, call: Call, result: Result) -> None:
        self.counters.calls[call.hook, result] += 1
        self.counters.durations[call.hook].add(self._clock.monotonic() - call.began)

    def _tell(self, message: str, trace: str) -> None:
        now = self._clock.monotonic()
        if now - self._told < TELL:
            self._untold += 1
            return
        more = f" (and {self._untold} failures before it)" if self._untold else ""
        log.warning("filter %s: %s%s%s", self.settings.name, message, more, f"\n{trace.rstrip()}" if trace else "")
        self._told, self._untold = now, 0

    def on_restart(self, word: GoneWord, reason: str) -> None:
        if word in self.counters.restarts:
            self.counters.restarts[word] += 1

    async def _look(self) -> None:
        while True:
            await self._busy.wait()
            await self._clock.sleep(TICK)
            now = self._clock.monotonic()
            for generation in self._generations():
                generation.look(now)
            if not self.pending:
                self._busy.clear()

    # ------------------------------------------------------------------ a filter that only fails
    def _disable(self) -> None:
        self._hooks.failing = True
        self.counters.disabled += 1
        log.error(
            "filter %s is disabled for %g s: %d calls in a row have failed", self.settings.name, self._breaker.pause, self._breaker.failures
        )
        self._retrying = self._tasks.spawn(f"filter {self.settings.name}: retry", self._retry(self._breaker.pause))

    async def _retry(self, pause: float) -> None:
        await self._clock.sleep(pause)
        self._breaker.on_pause_over()
        self._hooks.failing = False
        log.info("filter %s is tried again", self.settings.name)

    def _enable(self) -> None:
        """A new version: nothing is known against it."""
        if self._retrying is not None:
            self._retrying.cancel()
            self._retrying = None
        self._breaker = Breaker(self.settings.disable_after, self.settings.disable_for_s)
        self._hooks.failing = False

    # ------------------------------------------------------------------ changed files
    async def _follow_files(self) -> None:
        watched, files = self._generation, FileWatch({})
        while True:
            if self._generation is not None and (self._generation is not watched or not files.digests):
                watched, files = self._generation, FileWatch(self._generation.loaded.files)
            if await asyncio.to_thread(files.changed):
                await self._renew(watched)
            await self._clock.sleep(LOOK)

    async def _renew(self, watched: Generation | None) -> None:
        settings = self.settings
        try:
            generation = await self._new_generation(settings)
        except LoadFailed as error:
            self.counters.reloads["failed"] += 1
            trace = f"\n{error.trace.rstrip()}" if error.trace else ""
            log.error("filter %s: its changed file does not load, the old version goes on: %s%s", settings.name, error, trace)
            return
        if self._generation is not watched:
            await generation.close()       # a config has brought another one meanwhile
            return
        self.counters.reloads["ok"] += 1
        self._take(generation)
        log.info("filter %s: the new version of its file answers", settings.name)

    # ------------------------------------------------------------------ facts
    def entry(self) -> FilterEntry:
        workers = self._generation.workers if self._generation is not None else 0
        return FilterEntry(
            self.settings.name, self.counters, workers, self.settings.workers, self.pending, self._breaker.disabled, self._hooks.stats()
        )
