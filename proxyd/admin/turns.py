"""Who has to wait for others.

- Work that takes long and a thread, such as the check of a config: few at a time, and few that wait (`Turns`).
- Work on the event loop itself (`View.heavy`): one in a turn of the loop (`in_turn`). A hundred that came together would else be done one
  after the other before anything else is, a health check or a probe.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.access import VIEWS
from proxyd.admin.guard import Handler
from proxyd.admin.problem import Problem

AT_ONCE, WAITING = 2, 8
HEAVY: web.AppKey[asyncio.Lock] = web.AppKey("heavy", asyncio.Lock)


@web.middleware
async def in_turn(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The last middleware before the view."""
    view = request.app[VIEWS].get(request.match_info.route)
    if view is None or not view.heavy:
        return await handler(request)
    async with request.app[HEAVY]:
        await asyncio.sleep(0)               # those that are ready now find it taken, and are woken one by one, a turn of the loop each
        return await handler(request)


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
