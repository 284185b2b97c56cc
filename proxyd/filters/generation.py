"""The workers of one version of a filter: calls are spread over them, and each is kept alive.

A worker that dies, or that is stuck, is replaced: at once the first time, later and later when it happens again. Calls that it had are
failed, not tried again: one of them may be what it dies of.

When is a worker stuck? A coroutine that is over its time is cancelled in the worker, which says so; a function that computes for long keeps
it silent. So: when a call is overdue and nothing has been heard for a while. It is killed then; the calls of the others go on.
"""
from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from proxyd.clock import Clock
from proxyd.filters.breaker import Breaker
from proxyd.filters.process import GoneWord, LoadFailed, Owner, Worker
from proxyd.filters.protocol import Answer, Failure, HookWord, Loaded
from proxyd.tasks import Tasks

WINDOW = 128               # calls that a worker has at a time; the others wait here
SILENCE = 0.5              # seconds that a worker with an overdue call may be silent; above what a loaded machine makes of a short wait
RESTART_FIRST = 0.1        # seconds before the second restart in a row; twice as long before each further one
RESTART_MAX = 10.0
STEADY = 10.0              # seconds that a worker has to live for its predecessors to be forgotten

StartWorker = Callable[[str, Path, Clock, Owner], Awaitable[Worker]]
Restart = GoneWord | str

log = logging.getLogger("proxyd.filters")


class Asking(Protocol):
    """The side of an engine that waits for a filter: `proxyd_ext.engine.Engine`."""

    def change(
        self, slot: int, generation: int, *, lines: bytes = ..., drop: bytes = ..., path: str = ..., query: str | None = ...,
        status: int = ...,
    ) -> None: ...
    def reply(self, slot: int, generation: int, status: int, head: bytes, body: bytes) -> None: ...
    def fail(self, slot: int, generation: int) -> None: ...


@dataclass(slots=True, eq=False)
class Call:
    """A question of an engine."""

    engine: Asking
    slot: int
    generation: int            # of the slot
    hook: HookWord
    request: bytes
    began: float               # seconds by the clock
    deadline: float
    breaker: Breaker | None = None     # of the version that was asked
    done: bool = False         # answered, though perhaps not by its worker


class Results(Protocol):
    """Who takes the outcome of calls."""

    def on_result(self, call: Call, answer: Answer, crashed: bool) -> None:
        """Called once for each call. `crashed`: its worker ended."""

    def on_restart(self, word: GoneWord, reason: str) -> None: ...


@dataclass(slots=True, eq=False)
class Place:
    """One of the workers, and its successors."""

    results: Results
    wake: Callable[[], None]                 # a worker has become free, or is there again
    clock: Clock
    worker: Worker | None = None
    spent: Worker | None = None              # its predecessor, which still has to be closed
    calls: dict[int, Call] = field(default_factory=dict)      # by number; in the order of their deadlines
    suspect: bool = False                    # a call is overdue and it is silent
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    why: tuple[GoneWord, str] = ("crash", "")

    @property
    def free(self) -> bool:
        return self.worker is not None and not self.suspect and len(self.calls) < WINDOW

    def on_answer(self, call: int, answer: Answer) -> None:
        self.suspect = False
        found = self.calls.pop(call, None)
        if found is None:
            return             # a worker that answers twice, or what nobody has asked
        if not found.done:
            found.done = True
            self.results.on_result(found, answer, False)
        self.wake()

    def on_gone(self, word: GoneWord, reason: str) -> None:
        self.spent, self.worker, self.suspect, self.why = self.worker, None, False, (word, reason)
        calls, self.calls = self.calls, {}
        for call in calls.values():
            if not call.done:
                call.done = True
                self.results.on_result(call, Failure("error", f"its worker ended: {reason}"), True)
        self.gone.set()
        self.wake()

    def look(self, now: float) -> None:
        """Fail what is overdue; kill a worker that is stuck."""
        worker = self.worker
        for call in self.calls.values():
            if call.deadline > now:
                return
            if not call.done:
                call.done = True
                self.results.on_result(call, Failure("timeout", "no answer came within its `timeout`"), False)
            if worker is None:
                continue
            silent = now - max(worker.last_heard, call.deadline)
            self.suspect = silent > 0
            if silent > SILENCE:
                worker.kill("stuck", f"it did not answer for {SILENCE:g} s beyond the `timeout` of a call")
                return


class Generation:
    """Not usable before `start` and after `close`."""

    def __init__(self, name: str, file: Path, workers: int, clock: Clock, start: StartWorker) -> None:
        self.name, self.file = name, file
        self._clock, self._start_worker, self._tasks = clock, start, Tasks(clock)
        self._wanted = workers
        self._places: list[Place] = []
        self._waiting: deque[Call] = deque()
        self._serial = 0
        self._idle = asyncio.Event()
        self.loaded = Loaded(frozenset(), {})

    @property
    def workers(self) -> int:
        """Those that answer."""
        return sum(place.worker is not None for place in self._places)

    @property
    def pending(self) -> int:
        """Calls that wait, or that a worker has."""
        return len(self._waiting) + sum(len(place.calls) for place in self._places)

    async def start(self, results: Results) -> None:
        """All workers. LoadFailed: one could not load the filter, and nothing is left."""
        self._places = [Place(results, self._spread, self._clock) for _ in range(self._wanted)]
        starts = [asyncio.ensure_future(self._fill(place)) for place in self._places]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for task in starts:
                task.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await self.close()
            raise
        self._spread()
        for number, place in enumerate(self._places):
            self._tasks.keep(f"filter {self.name}: worker {number}", partial(self._keep, place))

    async def _fill(self, place: Place) -> None:
        place.gone.clear()
        worker = await self._start_worker(self.name, self.file, self._clock, place)
        self.loaded = worker.loaded
        if place.gone.is_set():
            place.spent = worker       # it had loaded the filter, and ended then and there
        else:
            place.worker = worker

    async def leave(self) -> None:
        """Let the calls end that it has, which their deadlines bound; then close."""
        while self.pending:
            self._idle.clear()
            await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """At once, but for some seconds that processes may take. Calls that are left are failed."""
        await self._tasks.close()
        for place in self._places:
            if place.worker is not None:
                place.on_gone("closed", "the filter leaves")
        workers = [place.spent for place in self._places if place.spent is not None]
        while self._waiting:
            self._refuse(self._waiting.popleft(), "the filter leaves")
        await asyncio.gather(*(worker.close() for worker in workers))
        self._idle.set()

    # ------------------------------------------------------------------ calls
    def ask(self, call: Call) -> None:
        self._waiting.append(call)
        self._spread()

    def look(self, now: float) -> None:
        """To be called now and then while calls are pending."""
        while self._waiting and self._waiting[0].deadline <= now:
            self._refuse(self._waiting.popleft(), "no worker was free within its `timeout`")
        for place in self._places:
            place.look(now)
        self._spread()

    def _spread(self) -> None:
        while self._waiting:
            place = min((place for place in self._places if place.free), key=lambda place: len(place.calls), default=None)
            if place is None or place.worker is None:
                break
            call = self._waiting.popleft()
            self._serial += 1
            place.calls[self._serial] = call
            place.worker.ask(self._serial, call.hook, call.deadline, call.request)
        if not self.pending:
            self._idle.set()

    def _refuse(self, call: Call, message: str) -> None:
        if not call.done and self._places:
            call.done = True
            self._places[0].results.on_result(call, Failure("timeout", message), False)

    # ------------------------------------------------------------------ the life of one worker after another
    async def _keep(self, place: Place) -> None:
        deaths = 0
        while True:
            began = self._clock.monotonic()
            await place.gone.wait()
            if place.spent is not None:
                word, reason = place.why
                place.results.on_restart(word, reason)
                await place.spent.close()
                log.error("filter %s: a worker is replaced: %s (%s)", self.name, reason, place.spent.end)
                place.spent = None
            deaths = 1 if self._clock.monotonic() - began > STEADY else deaths + 1
            if deaths > 1:
                await self._clock.sleep(min(RESTART_FIRST * 2 ** (deaths - 2), RESTART_MAX))
            try:
                await self._fill(place)
            except LoadFailed as error:
                log.error("filter %s: a worker cannot be replaced: %s", self.name, error)
            finally:
                if place.worker is None:
                    place.gone.set()       # whatever went wrong, it is tried again
            self._spread()
