"""The daemon's part for the cache: gives the engines' events to those who act on them, carries out purges, tells what there is.

It follows each config that is taken. The store, the shared tier and the compressor come and go with what the config asks for; without
any, everything here answers as an empty cache does.
"""
from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from proxyd.caching.keeper import Keeper, SnapshotRule
from proxyd.caching.purge import Asked, Purge, Purged, as_body, carry_out, maybe_asked, parse_request
from proxyd.caching.report import CacheView, WhyView, build_view, object_view, route_views, routes_of, why
from proxyd.clock import Clock
from proxyd.state import CacheEntry, TierEntry
from proxyd.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxyd.cachetier.settings import TierSettings
    from proxyd.cachetier.sharing import Sharing
    from proxyd.caching.report import ObjectView
    from proxyd.compress.compressor import Compressor
    from proxyd.snapshot.compiled import Compiled
    from proxyd.state import RouteDecision, RouteEntry
    from proxyd_ext.cache.store import Cache, CachedObject
    from proxyd_ext.snapshot.spec import CompressSpec

BATCH = 32                # answers that are handed to the compressor at a time
COMPRESS_PAUSE = 0.1      # seconds
Answer = Callable[[int, bytes, str], None]      # status, body, content type

log = logging.getLogger("proxyd.caching")


class Answering(Protocol):
    """The side of an engine that waits for a look-up in the shared tier."""

    def proceed(self, slot: int, generation: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a config asks for."""

    store: Cache | None = None
    snapshot: SnapshotRule | None = None
    tier: TierSettings | None = None
    compress: Mapping[str, CompressSpec] = field(default_factory=dict)      # by the names of routes


def new_sharing(store: Cache, clock: Clock) -> Sharing:
    from proxyd.cachetier.sharing import Sharing  # here: a proxy without a shared tier does not load its clients

    return Sharing(store, clock)


def new_compressor(store: Cache, tasks: Tasks) -> Compressor[CachedObject]:
    from proxyd.compress.compressor import Compressor  # here: a proxy that compresses nothing does not load the libraries

    return Compressor(tasks, store.put_encoded)


class Caching:
    def __init__(
        self,
        tasks: Tasks,
        clock: Clock,
        *,
        on_asked: Callable[[Asked], None] = lambda asked: None,
        new_sharing: Callable[[Cache, Clock], Sharing] = new_sharing,
        new_compressor: Callable[[Cache, Tasks], Compressor[CachedObject]] = new_compressor,
    ) -> None:
        """`on_asked` hears of each PURGE request that was obeyed or refused."""
        self._tasks, self._clock, self._on_asked = tasks, clock, on_asked
        self._new_sharing, self._new_compressor = new_sharing, new_compressor
        self._keeper = Keeper(tasks, clock, self._mark, self._on_loaded)
        self._store: Cache | None = None
        self._sharing: Sharing | None = None
        self._compressor: Compressor[CachedObject] | None = None

    # ------------------------------------------------------------------ life
    async def follow(self, wanted: Wanted) -> None:
        """Do what the config that is being taken asks for; before the engines get it, so that nothing they tell is lost.

        Never fails: a part that cannot be had is told in the log, and the cache goes on without it.
        """
        if wanted.store is not self._store:
            await self._end_parts()
        self._store = wanted.store
        await self._follow_tier(wanted.tier)
        self._follow_compress(wanted.compress)
        await self._keeper.follow(wanted.snapshot, wanted.store)

    async def _follow_tier(self, settings: TierSettings | None) -> None:
        if self._store is None or (settings is None and self._sharing is None):
            return
        try:
            if self._sharing is None:
                self._sharing = self._new_sharing(self._store, self._clock)
            await self._sharing.reconfigure(settings)
        except Exception as error:
            log.error("the shared tier of the cache is not used as the config says: %s", error)

    def _follow_compress(self, routes: Mapping[str, CompressSpec]) -> None:
        if self._store is None or (not routes and self._compressor is None):
            return
        if self._compressor is None:
            self._compressor = self._new_compressor(self._store, self._tasks)
        self._compressor.apply(routes)

    async def save(self) -> None:
        """Write the snapshot now, where there is one: another process is going to load it."""
        await self._keeper.save()

    async def hand_over(self) -> None:
        """Another process keeps the snapshot now."""
        await self._keeper.hand_over()

    async def close(self, is_cut: Callable[[], bool]) -> None:
        """After the engines have closed. Saves the snapshot, unless (or until) `is_cut()`."""
        await self._keeper.close(is_cut)
        await self._end_parts()

    async def _end_parts(self) -> None:
        sharing, self._sharing = self._sharing, None
        compressor, self._compressor = self._compressor, None
        if sharing is not None:
            await sharing.stop()
        if compressor is not None:
            await compressor.close()

    # ------------------------------------------------------------------ the snapshot and purges of other nodes
    def _mark(self) -> bytes:
        """How far the purges of all nodes have been carried out here."""
        return json.dumps(self._sharing.mark if self._sharing is not None else None).encode()

    async def _on_loaded(self, note: bytes) -> None:
        await self._replay(note)
        if self._store is not None and self._compressor is not None:
            self._tasks.spawn("compress what was loaded", self._compress_all(self._store, self._compressor))

    async def _compress_all(self, store: Cache, compressor: Compressor[CachedObject]) -> None:
        """Forms are not in the snapshot. No more is handed over at a time than the compressor holds beside what engines store."""
        cursor = 0
        while True:
            cursor, found = await asyncio.to_thread(store.export, cursor, BATCH)
            for stored in found:
                while compressor.waiting >= BATCH:
                    await self._clock.sleep(COMPRESS_PAUSE)
                if stored.compress and not stored.encoding and stored.state == "complete":
                    compressor.on_stored(stored)
            if cursor == 0 or compressor is not self._compressor:
                return

    async def _replay(self, note: bytes) -> None:
        """The store was filled from a snapshot: what others have purged since it was written goes again."""
        if self._sharing is None:
            return
        try:
            token, serial = json.loads(note or b"null") or ("", 0)
            told = await self._sharing.replay(str(token), int(serial))
        except (ValueError, TypeError):
            told = await self._sharing.replay()
        if not told:
            log.warning("the shared tier does not answer: what other nodes have purged since the snapshot was written may be served")

    # ------------------------------------------------------------------ what engines tell
    def on_lookup(self, engine: Answering, slot: int, generation: int, key: bytes, variant: bytes | None) -> None:
        if self._sharing is None:
            engine.proceed(slot, generation)       # a config without a shared tier came meanwhile
        else:
            self._sharing.handle_lookup(engine, slot, generation, key, variant)

    def on_stored(self, stored: CachedObject) -> None:
        if stored.share and self._sharing is not None:
            self._sharing.handle_stored(stored)
        if stored.compress and self._compressor is not None:
            self._compressor.on_stored(stored)

    def on_invalidated(self, url: str) -> None:
        """A method changed what a URL stands for (RFC 9111 section 4.4); memory has it no more."""
        if self._sharing is not None:
            self._tasks.spawn("purge", self._spread(self._sharing, url))

    async def _spread(self, sharing: Sharing, url: str) -> None:
        await sharing.purge("url", url, False)

    def on_purge(self, payload: bytes, answer: Answer) -> None:
        """A PURGE request from an allowed network; `answer` is called at once or later, unless proxyd leaves."""
        try:
            orders = parse_request(payload)
        except ValueError as error:
            answer(400, json.dumps({"purged": 0, "error": str(error)}).encode() + b"\n", "application/json")
            self._tell_asked(maybe_asked(payload, ()))
            return
        self._tasks.spawn("purge", self._purge_and_answer(orders, maybe_asked(payload, orders), answer))

    def _tell_asked(self, asked: Asked | None, objects: int | None = None) -> None:
        if asked is not None:
            self._on_asked(replace(asked, objects=objects))

    async def _purge_and_answer(self, orders: Sequence[Purge], asked: Asked | None, answer: Answer) -> None:
        try:
            purged = await self.purge(orders)
        except Exception:
            answer(500, b'{"purged": 0, "error": "proxyd met an error of its own"}\n', "application/json")
            self._tell_asked(asked)
            raise
        self._tell_asked(asked, purged.objects)
        # Applications delete their values all the time: that is no order of an operator's.
        level = logging.DEBUG if orders[0].text.startswith("aside:") else logging.INFO
        log.log(level, "purged %s by PURGE: %d objects", _words(orders), purged.objects)
        answer(200, as_body(purged), "application/json")

    # ------------------------------------------------------------------ orders and questions
    async def purge(self, orders: Sequence[Purge]) -> Purged:
        """In effect on every engine when it returns."""
        began = self._clock.monotonic()
        objects, spread = await carry_out(self._store, orders, self._sharing)
        await self._keeper.purged(orders)
        return Purged(objects, tuple(orders), self._clock.monotonic() - began, spread)

    def view(self, routes: Iterable[RouteEntry]) -> CacheView:
        entry = self.entry()
        return CacheView(False) if entry is None else build_view(entry, route_views(routes), self._keeper.view())

    def entry(self) -> CacheEntry | None:
        """The handles; None where nothing caches."""
        if self._store is None:
            return None
        tier, sharing = None, self._sharing
        if sharing is not None and sharing.settings is not None:
            name = "redis" if sharing.settings.redis else "memcached"
            tier = TierEntry(name, sharing.circuit_open, sharing.counters, sharing.last_error)
        return CacheEntry(self._store, tier, self._compressor.counters if self._compressor is not None else None)

    def find(self, urls: Sequence[str]) -> tuple[ObjectView, ...]:
        """What is stored under the URLs (in normal form), markers too."""
        return () if self._store is None else tuple(object_view(stored) for url in urls for stored in self._store.find(url))

    def why(self, urls: Sequence[str], compiled: Compiled, decisions: Iterable[RouteDecision]) -> WhyView:
        stats = self._store.stats() if self._store is not None else {}
        return why(urls[0], tuple(routes_of(compiled, decisions)), self.find(urls), stats)


def _words(orders: Sequence[Purge]) -> str:
    return f"{orders[0]} and {len(orders) - 1} more" if len(orders) > 1 else str(orders[0])
