"""Keeps what the balancers draw from true: when a server leaves or returns, or is in slow start, its upstream gets another pool.

Engines never pick a server that is down, whatever their tables say; a table that holds the usable servers only makes that cheap, gives the
others their exact shares, and decides about tiers, zones and panic. So a rebuild may come a moment late, and many changes make one.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxyd.clock import Clock
from proxyd.tasks import Tasks
from proxyd_ext.balance.pool import Pool

if TYPE_CHECKING:
    from proxyd_ext.snapshot.spec import UpstreamSpec

RAMP_STEP = 1.0       # seconds between two pools of an upstream with a server in slow start
SMALL = 64            # members up to which a pool is built here and now; others are built on a thread

log = logging.getLogger("proxyd.pools")


@dataclass(slots=True)
class Pools:
    tasks: Tasks
    clock: Clock
    spec_of: Callable[[str], UpstreamSpec | None]     # of an upstream that serves; None: it no longer does
    engines: int
    _due: set[str] = field(default_factory=set)
    _begun: dict[str, int] = field(default_factory=dict)      # pools of the upstream, so far
    _ramping: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def changed(self, upstream: str) -> None:
        """The state of some server of the upstream is another one now: it gets a new pool soon."""
        self._due.add(upstream)
        self._news.set()
        if self._task is None:
            self._task = self.tasks.keep("pools", self.run)

    async def run(self) -> None:
        """Ends only by cancellation."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._due:
                upstream = self._due.pop()
                try:
                    await self.rebuild(upstream)
                except BaseException:
                    self.changed(upstream)      # it is still due when this task begins again
                    raise

    async def rebuild(self, upstream: str) -> None:
        """The same members with their states of now."""
        spec = self.spec_of(upstream)
        if spec is None:
            return
        number = self._begun[upstream] = self._begun.get(upstream, 0) + 1
        small = len(spec.members) <= SMALL
        pool = Pool(spec, self.engines) if small else await asyncio.to_thread(Pool, spec, self.engines)
        if self.spec_of(upstream) is not spec:
            self._due.add(upstream)      # a reload came between: its own pool is newer than this one
            self._news.set()
            return
        if self._begun[upstream] != number:
            return                       # nor does this one know what the one knows that was begun after it
        spec.state.use(pool)
        self._watch_ramp(upstream, pool)

    def _watch_ramp(self, upstream: str, pool: Pool) -> None:
        if not pool.ramping or upstream in self._ramping or self.tasks.closed:
            return
        self._ramping.add(upstream)
        self.tasks.spawn(f"slow start {upstream}", self._ramp(upstream))

    async def _ramp(self, upstream: str) -> None:
        await self.clock.sleep(RAMP_STEP)
        self._ramping.discard(upstream)
        self.changed(upstream)
