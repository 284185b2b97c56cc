"""A clock that stands still until a test moves it."""
from __future__ import annotations

import asyncio
import heapq
from itertools import count


class FakeClock:
    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._serial = count()
        self._changed = asyncio.Event()

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._serial), future))
        self._changed.set()
        await future

    def pass_time(self, seconds: float) -> None:
        """Time goes on without anybody being woken (a check that takes long)."""
        self._now += seconds

    async def sleeping(self, number: int) -> None:
        """Wait until `number` sleepers sleep."""
        while sum(not future.done() for _, _, future in self._sleepers) < number:
            self._changed.clear()
            await self._changed.wait()

    async def advance(self, seconds: float) -> None:
        """Move on, waking each sleeper at its time, and let it come to rest before the next."""
        end = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, when)
            if not future.done():
                future.set_result(None)
                await settle()
        self._now = end


async def settle(turns: int = 20) -> None:
    """Let everything that is ready run: `turns` of the loop, more than any chain of callbacks in these tests is long."""
    for _ in range(turns):
        await asyncio.sleep(0)
