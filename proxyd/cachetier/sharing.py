"""What the daemon has of the shared tier: it answers the engines' lookups, shares what they stored, and spreads purges.

The engine has a deadline of its own for each lookup (`CacheSpec.share_ms`); an answer that comes later is dropped there, and what was
loaded is in memory for the next request.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from proxyd.cachetier.counters import TierCounters
from proxyd.cachetier.link import Link
from proxyd.cachetier.settings import TierSettings
from proxyd.cachetier.tier import TTL_MAX_S, Mark, Order, PurgeKind, Tier, open_tier
from proxyd.clock import Clock
from proxyd.tasks import Tasks

STORERS = 4                    # answers stored at the same time

_log = logging.getLogger("proxyd.cachetier")


class SharedObject(Protocol):
    """What is needed of a `proxyd_ext.cache.store.CachedObject`."""

    @property
    def key(self) -> bytes: ...

    @property
    def url(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def encoding(self) -> str: ...

    @property
    def vary(self) -> str: ...

    @property
    def variant(self) -> bytes: ...

    @property
    def fresh_s(self) -> float: ...

    @property
    def stale_while_revalidate_s(self) -> float: ...

    @property
    def stale_if_error_s(self) -> float: ...

    @property
    def tags(self) -> Sequence[str]: ...

    @property
    def state(self) -> str: ...

    @property
    def soft_purged(self) -> bool: ...

    @property
    def share(self) -> bool: ...

    def blob(self) -> bytes: ...


class Store(Protocol):
    """What is needed of the cache of this process, a `proxyd_ext.cache.store.Cache`."""

    def purge(self, kind: PurgeKind, text: str = "", *, soft: bool = False) -> int: ...

    def load(self, blob: bytes) -> bool: ...

    def find(self, url: str) -> Sequence[SharedObject]: ...


class Asking(Protocol):
    """The engine that asks."""

    def proceed(self, slot: int, generation: int) -> None: ...


class Sharing:
    """The counters live as long as this does, through every `reconfigure`."""

    def __init__(
        self, store: Store, clock: Clock, *, open_tier: Callable[[TierSettings, Clock], Tier] = open_tier,
    ) -> None:
        self.counters = TierCounters()
        self._store = store
        self._clock = clock
        self._open_tier = open_tier
        self._link: Link | None = None
        self._tasks = Tasks(clock)
        self._waiting: asyncio.Queue[SharedObject] = asyncio.Queue()
        self._lookups = 0
        self._turn = asyncio.Lock()    # of purges and changes of the link: none is told to a server that is being left, or to none at all
        self._empty = True         # the store, as far as is known: nothing was stored before the first start

    # ------------------------------------------------------------------ life
    async def start(self, settings: TierSettings, unsent: Sequence[Order] = ()) -> None:
        """Does not wait for the server. `unsent`: purges that it has not been told.

        Raises MissingExtra, and ValueError for an address that is none; then nothing has been started.
        """
        link = Link(
            settings, self._store, self._clock, counters=self.counters, empty=self._empty, unsent=unsent, open_tier=self._open_tier)
        self._empty = False
        self._link = link
        self._tasks = Tasks(self._clock)
        self._waiting = asyncio.Queue(settings.queue)
        await link.start()
        for number in range(STORERS):
            self._tasks.keep(f"cache tier: storing {number}", lambda: self._store_them(link, self._waiting))

    async def stop(self) -> None:
        """What waits to be stored is given up."""
        async with self._turn:
            await self._leave()

    async def _leave(self) -> None:
        link, self._link = self._link, None
        await self._tasks.close()
        if link is not None:
            await link.close()

    async def reconfigure(self, settings: TierSettings | None) -> None:
        """None: no shared tier. Nothing happens if the settings are the same. Raises as `start` does, and then goes on as before."""
        if settings == self.settings:
            return
        if settings is not None:
            # Whether it can be opened at all, before the one that works goes.
            await self._open_tier(settings, self._clock).close()
        async with self._turn:
            before = self._link
            await self._leave()
            if settings is not None:
                same = before is not None and _same_server(before.settings, settings)
                await self.start(settings, before.unsent_orders if before is not None and same else ())

    @property
    def settings(self) -> TierSettings | None:
        return None if self._link is None else self._link.settings

    @property
    def circuit_open(self) -> bool:
        return self._link is not None and self._link.circuit_open

    @property
    def last_error(self) -> str:
        """Of the server, for people; "" when there was none."""
        return "" if self._link is None else self._link.last_error

    @property
    def purges_unsent(self) -> int:
        return 0 if self._link is None else self._link.unsent

    @property
    def waiting(self) -> int:
        """Answers that wait to be stored."""
        return self._waiting.qsize()

    # ------------------------------------------------------------------ events of the engines
    def handle_lookup(self, engine: Asking, slot: int, generation: int, key: bytes, variant: bytes | None) -> None:
        """Let the exchange go on, after what the tier has was loaded. `variant` None: it is not known by what fields the answers vary."""
        link = self._link
        if link is None or link.circuit_open or self._lookups >= link.settings.lookups:
            self.counters.lookup_skipped += 1
            engine.proceed(slot, generation)
            return
        self._lookups += 1
        task = self._tasks.spawn("cache tier: lookup", self._look_up(link, key, variant))
        # Not in the task: one that is cancelled before its first step does nothing.
        task.add_done_callback(lambda _: self._looked_up(engine, slot, generation))

    async def _look_up(self, link: Link, key: bytes, variant: bytes | None) -> None:
        await link.lookup(key, variant, self._store.load)

    def _looked_up(self, engine: Asking, slot: int, generation: int) -> None:
        self._lookups -= 1
        engine.proceed(slot, generation)

    def handle_stored(self, stored: SharedObject) -> None:
        """Share an answer, later; forms that were encoded here stay here, every node makes its own."""
        link = self._link
        if link is None or not stored.share or stored.encoding:
            return
        if link.circuit_open:
            self.counters.store_skipped += 1
        elif stored.size > link.settings.max_object or lifetime_s(stored) < 1:
            self.counters.store_unfit += 1
        else:
            try:
                self._waiting.put_nowait(stored)
            except asyncio.QueueFull:
                self.counters.store_dropped += 1

    async def _store_them(self, link: Link, waiting: asyncio.Queue[SharedObject]) -> None:
        while True:
            await self._share(link, await waiting.get())

    async def _share(self, link: Link, offered: SharedObject) -> None:
        mark = link.mark
        stored: SharedObject | None = offered
        if link.purged_here_since(0, offered.url, offered.tags):
            # It may have been purged while the event was on its way. What is in the store now was not, and that is what counts.
            stored = self._still_there(offered)
        blob = _blob(stored) if stored is not None and lifetime_s(stored) >= 1 else None
        if stored is None or blob is None:
            self.counters.store_unfit += 1
            return
        await link.store(
            stored.key, blob, lifetime_s(stored), mark, vary=stored.vary, variant=stored.variant, url=stored.url, tags=stored.tags)

    def _still_there(self, offered: SharedObject) -> SharedObject | None:
        for each in self._store.find(offered.url):
            same = (each.key, each.variant, each.encoding) == (offered.key, offered.variant, "")
            if same and each.state == "complete" and not each.soft_purged:
                return each
        return None

    # ------------------------------------------------------------------ purges
    @property
    def mark(self) -> tuple[str, int]:
        """How far the purges of all nodes have been carried out here: to be kept with a snapshot of the store, for `replay`."""
        return ("", 0) if self._link is None else (self._link.mark.token, self._link.mark.serial)

    async def replay(self, token: str = "", serial: int = 0) -> bool:
        """After the store was filled from a snapshot: carry out what was purged since its `mark` (by default: all that is remembered).

        False: there is no tier, or it does not answer.
        """
        return self._link is not None and await self._link.replay(Mark(token, serial))

    async def purge(self, kind: PurgeKind, text: str = "", soft: bool = False) -> tuple[int, bool | None]:
        """Purge the store of this process, the tier, and the other nodes: objects that went here, and whether the others were told.

        Without a tier: None instead. The store is purged here and not by the caller, since it has to happen at a certain moment (link.py).
        """
        async with self._turn:
            if self._link is None:
                return await asyncio.to_thread(self._store.purge, kind, text, soft=soft), None
            return await self._link.purge(kind, text, soft)


def _same_server(one: TierSettings, other: TierSettings) -> bool:
    return (one.redis, one.memcached, one.prefix) == (other.redis, other.memcached, other.prefix)


def _blob(stored: SharedObject) -> bytes | None:
    try:
        return stored.blob()
    except ValueError:        # it has gone from the store meanwhile
        return None


def lifetime_s(stored: SharedObject) -> int:
    """Whole seconds from now in which it may be of use, stale times included."""
    return min(TTL_MAX_S, int(stored.fresh_s + max(stored.stale_while_revalidate_s, stored.stale_if_error_s, 0.0)))
