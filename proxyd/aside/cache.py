"""`AsideCache`: read the cache; if it is not there, load it, and put it there.

    cache = AsideCache(store, codec=JsonCodec())
    user = await cache.get_or_load(f"user:{id}", lambda: database.user(id), ttl=60, negative_ttl=5, tags=["users"])

However many coroutines ask for a key that is not there, one loads; with a shared tier, one among all nodes. A caller that is cancelled does
not stop the load, since others may wait for it.

Values lie in the store as they are, so that `GET /cache/{key}` of a daemon that runs in the same process gives the same bytes. What else
there is to know lies beside them, under keys that no HTTP path can have: `KEY NUL -` says that there is no such thing (a negative answer),
`KEY NUL ~` that the value is fresh (only with a grace). If one of these is evicted, a thing is loaded once more.
"""
from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

from proxyd.aside.codec import BytesCodec, Codec
from proxyd.aside.shared import Shared, SharedValues, tag_of
from proxyd.cachetier.link import Link
from proxyd.cachetier.tier import PurgeKind
from proxyd.clock import Clock, SystemClock
from proxyd.tasks import Tasks

NONE_MARK, FRESH_MARK = "\0-", "\0~"

V = TypeVar("V")

_log = logging.getLogger("proxyd.aside")


class Store(Protocol):
    """What is needed of `proxyd_ext.cache.store.Cache`."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes, ttl_ms: int, tags: Sequence[str] = ()) -> bool: ...

    def delete(self, key: str) -> bool: ...

    def purge(self, kind: PurgeKind, text: str = "", *, soft: bool = False) -> int: ...


@dataclass(slots=True)
class AsideCounters:
    hits: int = 0                  # fresh values, from memory
    negative_hits: int = 0         # known not to exist, from memory
    stale_hits: int = 0            # within the grace; loaded again behind the caller's back
    joined: int = 0                # waited for a load that was under way in this process
    tier_hits: int = 0             # from the shared tier
    loads: int = 0                 # of the loader
    load_errors: int = 0
    refresh_errors: int = 0        # of those: behind a stale answer, which nobody sees
    not_kept: int = 0              # loaded, but deleted or purged meanwhile, or too large for the store
    unreadable: int = 0            # the codec could not decode what was there


@dataclass(slots=True, eq=False)
class _Flight(Generic[V]):
    """A load under way, and what its callers wait for."""

    result: asyncio.Future[V | None]
    tags: Sequence[str]
    void: bool = False             # its key was deleted, put or purged meanwhile: what it brings is not kept


@dataclass(frozen=True, slots=True)
class _Life:
    ttl: float
    negative_ttl: float | None
    tags: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    state: Literal["fresh", "stale", "none"]
    value: V | None = field(default=None)


class AsideCache(Generic[V]):
    """For one event loop. `close()` it, or use it in `async with`: loads under way are cancelled."""

    @overload
    def __init__(
        self: AsideCache[bytes], store: Store, *, link: Link | None = None, prefix: str = "", jitter: float = 0.0, grace: float = 0.0,
        lock_s: float = 10.0, wait_s: float = 5.0, clock: Clock | None = None, chance: Callable[[], float] = random.random,
    ) -> None: ...

    @overload
    def __init__(
        self, store: Store, *, codec: Codec[V], link: Link | None = None, prefix: str = "", jitter: float = 0.0, grace: float = 0.0,
        lock_s: float = 10.0, wait_s: float = 5.0, clock: Clock | None = None, chance: Callable[[], float] = random.random,
    ) -> None: ...

    def __init__(
        self, store: Store, *, codec: Codec[Any] | None = None, link: Link | None = None, prefix: str = "", jitter: float = 0.0,
        grace: float = 0.0, lock_s: float = 10.0, wait_s: float = 5.0, clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`store`: shared with whoever else has it. `codec`: bytes as they are, by default. `link`: a started one, over the same store.

        `jitter`: each lifetime is shortened at random by up to this part (0 to 1), so that what was loaded together does not end together.
        `grace`: seconds for which a value that is no longer fresh is given while one load for it runs in the background.
        `lock_s`: how long a load keeps other nodes from loading, at most. `wait_s`: how long they wait for it, at most.
        Raises ValueError for a jitter out of range or a negative time.
        """
        if not 0.0 <= jitter <= 1.0 or grace < 0 or lock_s <= 0 or wait_s < 0:
            raise ValueError("jitter is between 0 and 1, times are not negative")
        self.counters = AsideCounters()
        self._store = store
        self._codec: Codec[Any] = codec or BytesCodec()
        self._prefix = prefix
        self._jitter = jitter
        self._grace = grace
        self._clock = clock or SystemClock()
        self._chance = chance
        self._shared = None if link is None else SharedValues(
            link, self._clock, readable=self._readable, lock_s=lock_s, wait_s=wait_s)
        self._flights: dict[str, _Flight[V]] = {}
        self._tasks = Tasks(self._clock)

    async def __aenter__(self) -> AsideCache[V]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Callers that wait for a load are cancelled. The link is its owner's to close."""
        await self._tasks.close()
        for flight in self._flights.values():
            flight.result.cancel()
        self._flights.clear()

    # ------------------------------------------------------------------ reading
    async def get_or_load(
        self, key: str, loader: Callable[[], Awaitable[V | None]], ttl: float, negative_ttl: float | None = None, tags: Sequence[str] = (),
    ) -> V | None:
        """The value of `key`; loaded and kept for `ttl` seconds if it is not there.

        None from the loader is given on, and kept only for `negative_ttl`. What the loader raises is raised to all who wait for this load,
        and nothing is kept. Of several callers at the same time, the first one's loader, lifetimes and tags are used.
        Raises ValueError if a lifetime is not positive, or for a NUL in the key.
        """
        if ttl <= 0 or (negative_ttl is not None and negative_ttl <= 0):
            raise ValueError("a lifetime is more than nothing")
        entry = self._read(key)
        if entry is not None and entry.state != "stale":
            if entry.state == "none":
                self.counters.negative_hits += 1
            else:
                self.counters.hits += 1
            return entry.value
        flight = self._flights.get(key)
        if entry is not None:
            self.counters.stale_hits += 1
            if flight is None:
                self._begin(key, loader, _Life(ttl, negative_ttl, tags), behind=True)
            return entry.value
        if flight is None:
            flight = self._begin(key, loader, _Life(ttl, negative_ttl, tags), behind=False)
        else:
            self.counters.joined += 1
        return await asyncio.shield(flight.result)

    async def get(self, key: str) -> V | None:
        """The value if it is there and fresh, from memory or the shared tier; else None."""
        entry = self._read(key)
        if entry is not None and entry.state != "stale":
            return entry.value
        if self._shared is None:
            return None
        carried = self._shared.link.carried_out
        shared = await self._shared.fetch(key)
        if shared is None:
            return None
        # Its tags are not known here: it is kept only under its own.
        return self._keep_shared(key, shared, (), carried)

    # ------------------------------------------------------------------ writing
    async def put(self, key: str, value: V, ttl: float, tags: Sequence[str] = ()) -> bool:
        """Keep a value, whatever was there. False: it is too large for the store. Raises ValueError if `ttl` is not positive."""
        if ttl <= 0:
            raise ValueError("a lifetime is more than nothing")
        raw = self._codec.encode(value)
        self._void(key)
        if self._shared is not None:
            # Other nodes drop theirs; what is stored after that is good.
            await self._shared.link.purge("tag", tag_of(self._prefix + key))
            mark = await self._shared.link.caught_up()
            await self._shared.store(self._prefix + key, self._timed(raw, ttl), self._all_tags(key, tags), mark)
            self._void(key)
        return self._keep(key, self._timed(raw, ttl), tags)

    async def delete(self, key: str) -> bool:
        """Forget a key, here and on all nodes. What is being loaded for it is not kept. True if there was a value here."""
        self._void(key)
        was_there = self._forget(key)
        if self._shared is not None:
            await self._shared.link.purge("tag", tag_of(self._prefix + key))
        return was_there

    async def purge_tag(self, tag: str) -> int:
        """Forget all that has this tag, here and on all nodes; how much it was here."""
        for key, flight in list(self._flights.items()):
            if tag in flight.tags:
                self._void(key)
        if self._shared is not None:
            purged, _ = await self._shared.link.purge("tag", tag)
            return purged
        return await asyncio.to_thread(self._store.purge, "tag", tag)

    # ------------------------------------------------------------------ loads
    def _begin(self, key: str, loader: Callable[[], Awaitable[V | None]], life: _Life, *, behind: bool) -> _Flight[V]:
        flight: _Flight[V] = _Flight(asyncio.get_running_loop().create_future(), life.tags)
        flight.result.add_done_callback(lambda done: done.cancelled() or done.exception())     # nobody may be waiting
        self._tasks.keep(f"cache-aside: {key[:80]}", lambda: self._fly(key, flight, loader, life, behind))
        self._flights[key] = flight
        return flight

    async def _fly(self, key: str, flight: _Flight[V], loader: Callable[[], Awaitable[V | None]], life: _Life, behind: bool) -> None:
        """Load, and tell those who wait as soon as there is something to tell; the tier hears of it after them."""
        try:
            if self._shared is None:
                self._land(key, flight, await self._load(key, flight, loader, life))
            else:
                await self._fly_with_others(self._shared, key, flight, loader, life)
        except asyncio.CancelledError:
            flight.result.cancel()
            raise
        except Exception as error:
            if behind:
                self.counters.refresh_errors += 1
                _log.warning("cache-aside: loading %.80s anew failed, the old value stands: %r", key, error)
            if not flight.result.done():
                flight.result.set_exception(error)
        finally:
            self._retire(key, flight)

    async def _fly_with_others(
        self, shared: SharedValues, key: str, flight: _Flight[V], loader: Callable[[], Awaitable[V | None]], life: _Life,
    ) -> None:
        name, carried = self._prefix + key, shared.link.carried_out
        found: Shared | bytes | None = await shared.fetch(name)
        if found is None:
            found = await shared.lead(name)
        if isinstance(found, Shared):
            self.counters.tier_hits += 1
            return self._land(key, flight, self._keep_shared(key, found, life.tags, carried, flight))
        try:
            mark = shared.link.mark
            value = await self._load(key, flight, loader, life)
            self._land(key, flight, value)
            timed = self._lived(value, life)
            if timed is not None and not flight.void:
                await shared.store(name, timed, self._all_tags(key, life.tags), mark)
        finally:
            await shared.done(name, found)
        return None

    async def _load(self, key: str, flight: _Flight[V], loader: Callable[[], Awaitable[V | None]], life: _Life) -> V | None:
        """Ask the loader, and keep what it brings."""
        carried = 0 if self._shared is None else self._shared.link.carried_out
        self.counters.loads += 1
        try:
            value = await loader()
        except Exception:
            self.counters.load_errors += 1
            raise
        timed = self._lived(value, life)
        if timed is not None:
            self._keep(key, timed, life.tags, flight, carried)
        return value

    def _land(self, key: str, flight: _Flight[V], value: V | None) -> None:
        self._retire(key, flight)
        if not flight.result.done():
            flight.result.set_result(value)

    def _retire(self, key: str, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _void(self, key: str) -> None:
        """What is being loaded for this key is of before: whoever asks from now on begins anew."""
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.void = True

    # ------------------------------------------------------------------ the store
    def _read(self, key: str) -> _Entry[V] | None:
        if "\0" in key:
            raise ValueError("a key has no NUL")
        name = self._prefix + key
        raw = self._store.get(name)
        if raw is None:
            return None if self._store.get(name + NONE_MARK) is None else _Entry("none")
        if not self._readable(raw):
            return None
        stale = self._grace and self._store.get(name + FRESH_MARK) is None
        return _Entry("stale" if stale else "fresh", self._codec.decode(raw))

    def _lived(self, value: V | None, life: _Life) -> Shared | None:
        """What the loader brought, with its times; None if it is not to be kept."""
        if value is not None:
            return self._timed(self._codec.encode(value), life.ttl)
        return None if life.negative_ttl is None else self._timed(None, life.negative_ttl)

    def _timed(self, raw: bytes | None, ttl: float) -> Shared:
        fresh_until = self._clock.wall() + ttl * (1.0 - self._jitter * self._chance())
        return Shared(raw, fresh_until, fresh_until + (self._grace if raw is not None else 0.0))

    def _keep_shared(self, key: str, shared: Shared, tags: Sequence[str], carried: int, flight: _Flight[V] | None = None) -> V | None:
        """What came from the tier, and was found readable there."""
        self._keep(key, shared, tags, flight, carried)
        return None if shared.raw is None else self._codec.decode(shared.raw)

    def _readable(self, raw: bytes) -> bool:
        try:
            self._codec.decode(raw)
        except ValueError:
            self.counters.unreadable += 1
            return False
        return True

    def _keep(self, key: str, timed: Shared, tags: Sequence[str], flight: _Flight[V] | None = None, carried: int | None = None) -> bool:
        name, now, tags = self._prefix + key, self._clock.wall(), self._all_tags(key, tags)
        purged = self._shared is not None and carried is not None and self._shared.link.purged_here_since(carried, "", tags)
        if purged or (flight is not None and flight.void):
            self.counters.not_kept += 1
            return False
        fresh_ms, use_ms = (max(0, int((until - now) * 1000)) for until in (timed.fresh_until, timed.of_use_until))
        if timed.raw is None:
            self._forget(key)
            return fresh_ms > 0 and self._store.put(name + NONE_MARK, b"", fresh_ms, tags)
        self._store.delete(name + NONE_MARK)
        kept = use_ms > 0 and self._store.put(name, timed.raw, use_ms, tags)
        if not kept:
            self._store.delete(name)
            self.counters.not_kept += 1
        elif self._grace and fresh_ms > 0:
            self._store.put(name + FRESH_MARK, b"", fresh_ms, tags)
        return kept

    def _forget(self, key: str) -> bool:
        name = self._prefix + key
        self._store.delete(name + NONE_MARK)
        self._store.delete(name + FRESH_MARK)
        return self._store.delete(name)

    def _all_tags(self, key: str, tags: Sequence[str]) -> Sequence[str]:
        return tags if self._shared is None else [*tags, tag_of(self._prefix + key)]
