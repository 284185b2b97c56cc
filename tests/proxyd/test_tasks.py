from __future__ import annotations

import asyncio
import inspect
import itertools
import logging

import pytest

from proxyd.tasks import RESTART_MAX, Tasks
from tests.support.clock import FakeClock, settle


async def test_a_failed_task_is_logged_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()

    async def work() -> None:
        raise ValueError("the reason")

    await tasks.spawn("one", work())
    assert "task one failed" in caplog.text
    assert "the reason" in caplog.text
    assert tasks.names() == []


async def test_a_kept_task_starts_again_after_growing_waits(caplog: pytest.LogCaptureFixture) -> None:
    clock, starts = FakeClock(), []
    tasks = Tasks(clock)

    async def work() -> None:
        starts.append(clock.monotonic())
        raise OSError("no")

    with caplog.at_level(logging.CRITICAL):
        tasks.keep("beat", work)
        await settle()
        await clock.advance(300)
    waits = [int(b - a) for a, b in itertools.pairwise(starts)]
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert max(waits) == RESTART_MAX
    await tasks.close()
    assert tasks.names() == []


async def test_a_kept_task_that_returns_is_done() -> None:
    tasks = Tasks()

    async def work() -> None:
        return

    await tasks.keep("short", work)
    assert tasks.names() == []


async def test_close_cancels_and_waits_for_the_last_words() -> None:
    tasks, words = Tasks(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            words.append("good-bye")

    tasks.spawn("one", work())
    tasks.keep("two", work)
    await settle()
    assert tasks.names() == ["one", "two"]
    await tasks.close()
    assert words == ["good-bye"] * 2


async def test_work_that_was_cancelled_before_its_first_step_is_closed() -> None:
    async def work() -> None:
        raise AssertionError("must not run")

    tasks, body = Tasks(), work()
    tasks.spawn("one", body)
    await tasks.close()
    await settle()
    assert inspect.getcoroutinestate(body) == inspect.CORO_CLOSED


async def test_nothing_starts_after_close() -> None:
    tasks = Tasks()
    await tasks.close()

    async def work() -> None:
        raise AssertionError("must not run")

    with pytest.raises(RuntimeError, match="late"):
        tasks.spawn("late", work())


async def test_close_from_within_a_task_does_not_wait_for_itself() -> None:
    tasks, ended = Tasks(), []

    async def closer() -> None:
        await tasks.close()
        ended.append(True)

    await tasks.spawn("closer", closer())
    assert ended


async def test_shielded_work_ends_although_its_caller_goes_away() -> None:
    tasks, go_on, done = Tasks(), asyncio.Event(), []

    async def work() -> int:
        await go_on.wait()
        done.append(True)
        return 7

    caller = asyncio.create_task(tasks.shielded("work", work()))
    await settle()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert tasks.names() == ["work"]
    go_on.set()
    await settle()
    assert done == [True]
    assert await tasks.shielded("again", work()) == 7


async def test_the_exception_of_shielded_work_is_its_callers() -> None:
    async def work() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await Tasks().shielded("work", work())
