"""Work that takes long and a thread, such as the check of a config: few at a time, and few that wait."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxyd.admin import problem
from proxyd.admin.problem import Problem

AT_ONCE, WAITING = 2, 8


class Turns:
    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._taken = 0                  # with those that wait

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it while this lasts. Raises Problem: too many wait."""
        if self._taken >= AT_ONCE + WAITING:
            raise Problem(problem.TOO_MANY_CHECKS, f"{AT_ONCE} configs are being checked, and {WAITING} wait")
        self._taken += 1
        try:
            async with self._turns:
                yield
        finally:
            self._taken -= 1
