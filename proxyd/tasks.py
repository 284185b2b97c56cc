"""The one place where asyncio tasks are made: each has a name, is held by its owner, and its failure is never silent.

`spawn` is for work that ends. `keep` is for work that must not: it is started again after a failure, a second later at first and at
most `RESTART_MAX` apart, so that a bug in one control task neither stops the daemon nor spins.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from proxyd.clock import Clock, SystemClock

RESTART_FIRST = 1.0   # seconds
RESTART_MAX = 60.0

T = TypeVar("T")

log = logging.getLogger("proxyd.tasks")


class Tasks:
    """The tasks of one owner. Not usable after `close()`."""

    __slots__ = ("_clock", "_closed", "_tasks")

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` once. An exception in it is logged."""
        return self._start(name, self._once(name, work), work)

    def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Run `work()`; when it raises, log and run it again. Ends when `work()` returns."""
        return self._start(name, self._again(name, work))

    async def shielded(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end and give its result, even if the caller is cancelled meanwhile. Its exception is the caller's."""
        return await asyncio.shield(self._start(name, work))

    @staticmethod
    async def cancel(task: asyncio.Task[None]) -> None:
        """Cancel one task and wait until it has ended."""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended (but not for the one that calls)."""
        self._closed = True
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    @property
    def closed(self) -> bool:
        return self._closed

    def names(self) -> list[str]:
        """The names of the tasks that run now, sorted."""
        return sorted(task.get_name() for task in self._tasks)

    def _start(self, name: str, body: Coroutine[Any, Any, T], inner: Coroutine[Any, Any, None] | None = None) -> asyncio.Task[T]:
        """`inner`: a coroutine that `body` will await, to be closed with it when it is too late."""
        if self._closed:
            for coroutine in (body, inner):
                if coroutine is not None:
                    coroutine.close()
            raise RuntimeError(f"task {name}: its owner has closed")
        task = asyncio.get_running_loop().create_task(body, name=name)
        self._tasks.add(task)
        if inner is not None:
            task.add_done_callback(lambda _: inner.close())    # a task that is cancelled before its first step never awaits it
        task.add_done_callback(self._tasks.discard)
        return task

    async def _once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("task %s failed", name)

    async def _again(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        wait = RESTART_FIRST
        while True:
            began = self._clock.monotonic()
            try:
                return await work()
            except Exception:
                # A task that had run well for a while starts over with a short wait.
                if self._clock.monotonic() - began > RESTART_MAX:
                    wait = RESTART_FIRST
                log.exception("task %s failed; it starts again in %.0f s", name, wait)
            await self._clock.sleep(wait)
            wait = min(wait * 2, RESTART_MAX)
