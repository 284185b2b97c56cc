from __future__ import annotations

import asyncio

import pytest

from proxyd.admin.problem import Problem
from proxyd.admin.turns import AT_ONCE, WAITING, Turns
from tests.support.wait import until


async def test_few_at_a_time_and_few_that_wait() -> None:
    turns, go, working, done = Turns(), asyncio.Event(), 0, 0

    async def work() -> None:
        nonlocal working, done
        async with turns.take():
            working += 1
            await go.wait()
        done += 1

    tasks = [asyncio.create_task(work()) for _ in range(AT_ONCE + WAITING)]
    await until(lambda: working == AT_ONCE, "they work")
    with pytest.raises(Problem, match="2 configs are being checked, and 8 wait"):
        await work()
    tasks.pop().cancel()
    tasks.append(asyncio.create_task(work()))      # the place of one that waits no more
    await asyncio.sleep(0)
    assert working == AT_ONCE
    go.set()
    await asyncio.gather(*tasks)
    assert done == AT_ONCE + WAITING
