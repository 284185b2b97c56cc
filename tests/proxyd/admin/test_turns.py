from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from proxyd.admin.problem import Problem
from proxyd.admin.server import AdminServer
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


async def test_what_is_heavy_leaves_the_loop_to_others(server: AdminServer, daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many ask at once; no two of them are answered in one turn of the loop."""
    turn, seen, loop = 0, list[int](), asyncio.get_running_loop()

    def count() -> None:
        nonlocal turn
        turn += 1
        if len(seen) < 8:
            loop.call_soon(count)

    def routes() -> tuple[Any, ...]:
        seen.append(turn)
        return ()

    monkeypatch.setattr(daemon, "routes", routes)
    count()
    async with aiohttp.ClientSession(f"http://{server.addresses[1]}") as session:
        async def ask() -> int:
            async with session.get("/api/v1/routes") as answer:
                return answer.status

        assert await asyncio.gather(*(ask() for _ in range(8))) == [200] * 8
    assert len(set(seen)) == len(seen) == 8
