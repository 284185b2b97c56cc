"""One node's link to a shared tier: looks up, stores, follows the log of purges, tells it its own.

How an answer that was purged never comes back from the tier, although purges of tags and prefixes cannot find what they purge there:

    A node *has applied* serial n when its own store has carried out every order up to n. What it shares carries the n of a moment at
    which the answer was still in its store. A lookup returns, with what it found, how far the log reaches; a node that has applied less
    catches up first. Then what was found is used only if no order behind its own n matches it (purges.py), none that this node could not
    yet send either, and if it was stored under the same log.

So it holds when messages are lost, when clocks differ (no time is compared), when a node was away, and when the server lost its data. Where
the log has been trimmed past what this node has applied, purges of others may have been missed: its memory is emptied.

A purge is in force here when `purge` returns, in the tier and so for the lookups of all nodes when it could be told, and in the memory of
the other nodes when they have heard of it (Redis: at once; Memcached: within `poll_s`). Soft purges reach the memory of other nodes as
soft ones; what the tier holds is not used after either.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from proxyd.cachetier.counters import TierCounters
from proxyd.cachetier.envelope import Envelope, unwrap, wrap
from proxyd.cachetier.guard import Guard, NotDone
from proxyd.cachetier.purges import PurgeIndex
from proxyd.cachetier.settings import TierSettings
from proxyd.cachetier.tier import LogPart, Mark, Order, PurgeKind, Tier, TierError, WrongAnswer, open_tier
from proxyd.circuit import Circuit
from proxyd.clock import Clock
from proxyd.tasks import Tasks

CATCH_UP_S = 2.0               # the deadline for reading the log; lookups that wait for it keep their own
LISTEN_S = 5.0                 # how often the log is looked at although nothing rang
UNSENT_MOST = 1_000            # purges that wait for the server to return; beyond, they become one purge of everything

T = TypeVar("T")

_log = logging.getLogger("proxyd.cachetier")


class Purgeable(Protocol):
    """The store of this process, `proxyd_ext.cache.store.Cache`."""

    def purge(self, kind: PurgeKind, text: str = "", *, soft: bool = False) -> int: ...


class Link:
    """Not usable before `start()` and after `close()`."""

    def __init__(
        self, settings: TierSettings, store: Purgeable, clock: Clock, *, counters: TierCounters | None = None,
        empty: bool = True, unsent: Sequence[Order] = (), open_tier: Callable[[TierSettings, Clock], Tier] = open_tier,
    ) -> None:
        """`empty`: the store is, so that there is nothing that earlier purges of others could have meant. `unsent`: of the link before.

        Raises MissingExtra, and ValueError for an address that is none.
        """
        self.settings = settings
        self.counters = counters or TierCounters()
        self.node = secrets.token_hex(6)
        self._store = store
        self._clock = clock
        self._tier = open_tier(settings, clock)
        self._circuit = Circuit(settings.circuit_failures, settings.circuit_open_s, clock)
        self._guard = Guard(settings, self._circuit, self.counters, self._stop_waiting)
        self._listening: asyncio.Timeout | None = None
        self._reading: asyncio.Timeout | None = None
        self._tasks = Tasks(clock)
        self._index = PurgeIndex()
        self._applied = Mark()
        self._own: set[int] = set()                # serials of orders that were carried out here when they were given
        self._unsent = list(unsent)
        self._unsent_index = PurgeIndex()
        self._build_unsent_index()
        self._order = asyncio.Lock()               # one at a time changes what has been applied
        self._catching: asyncio.Future[None] | None = None
        self._late = not empty                     # or the log could not be read at first: this node may have missed orders
        self._here = PurgeIndex()                  # by the number of the order, of those carried out here
        self._carried = 0

    # ------------------------------------------------------------------ life
    async def start(self) -> None:
        """Does not wait for the server: a dead one is no reason not to start."""
        self._tasks.keep("cache tier: purges", self._follow)

    async def close(self) -> None:
        await self._tasks.close()
        if self._catching is not None:
            self._catching.cancel()
        await self._tier.close()

    @property
    def circuit_open(self) -> bool:
        return self._circuit.open

    @property
    def last_error(self) -> str:
        return self._guard.last_error

    @property
    def unsent(self) -> int:
        """Purges that the server has not been told yet."""
        return len(self._unsent)

    @property
    def unsent_orders(self) -> Sequence[Order]:
        """For the link that comes after this one."""
        return tuple(self._unsent)

    @property
    def mark(self) -> Mark:
        """How far purges have been applied here. What is made from now on may be stored with it."""
        return self._applied

    async def caught_up(self) -> Mark:
        """`mark`, after what has come since has been applied, if the server tells: to share what is newer than one's own purge."""
        await self._quietly(self._catch_up)
        return self._applied

    def purged_since(self, mark: Mark, url: str, tags: Sequence[str]) -> bool:
        """Whether an order that matches has come since `mark`; True also where that cannot be told."""
        return (
            mark.token != self._applied.token or self._index.latest(url, tags) > mark.serial or self._unsent_index.latest(url, tags) > 0
        )

    @property
    def carried_out(self) -> int:
        """Orders carried out in the store of this process, for `purged_here_since`."""
        return self._carried

    def purged_here_since(self, carried: int, url: str, tags: Sequence[str]) -> bool:
        """Whether an order that matches has been carried out here since `carried_out` was that number."""
        return self._here.latest(url, tags) > carried

    # ------------------------------------------------------------------ answers
    async def lookup(self, key: bytes, variant: bytes | None, take: Callable[[bytes], bool]) -> int:
        """Hand what may be used to `take`: how many payloads it took; 0 on any trouble. Takes the timeout at most. Counted.

        `take` says False to what it has no use for, and raises ValueError for what is none: that is a wrong answer of the server.
        """
        counters = self.counters
        try:
            taken, purged = await self._guard.run(lambda: self._look(key, variant, take))
        except NotDone as error:
            if error.why == "timeout":
                counters.lookup_timeout += 1
            elif error.why == "skipped":
                counters.lookup_skipped += 1
            elif error.why == "wrong":
                counters.lookup_invalid += 1
            else:
                counters.lookup_error += 1
            return 0
        if taken:
            counters.lookup_hit += 1
        elif purged:
            counters.lookup_purged += 1
        else:
            counters.lookup_miss += 1
        return taken

    async def _look(self, key: bytes, variant: bytes | None, take: Callable[[bytes], bool]) -> tuple[int, int]:
        """How many payloads were taken, and how many left out since they had been purged."""
        found = await self._tier.lookup(key, variant)
        await self._reach(found.mark)
        # No await from here on: an order that comes now finds in the store what was taken.
        taken = purged = 0
        wrong = ""
        for raw in found.envelopes:
            self.counters.bytes_read += len(raw)
            try:
                envelope = unwrap(raw)
                if envelope is None:
                    continue
                if envelope.key != key:
                    wrong = "it answers with what was stored under another key"
                elif self.purged_since(Mark(envelope.token, envelope.serial), envelope.url, envelope.tags):
                    purged += 1
                else:
                    taken += take(envelope.payload)
            except ValueError as error:
                wrong = str(error)
        if wrong and not taken:
            raise WrongAnswer(wrong)
        return taken, purged

    async def store(
        self, key: bytes, payload: bytes, ttl_s: int, mark: Mark, *, vary: str = "", variant: bytes = b"", url: str = "",
        tags: Sequence[str] = (),
    ) -> bool:
        """Share a payload that was good when this node had applied `mark`. False on any trouble. Counted."""
        counters = self.counters
        if not mark.token or self.purged_since(mark, url, tags):
            counters.store_unfit += 1
            return False
        envelope = wrap(Envelope(key, mark.token, mark.serial, url, tags, payload))
        try:
            await self._guard.run(lambda: self._tier.store(key, vary, variant, envelope, ttl_s))
        except NotDone as error:
            if error.why == "timeout":
                counters.store_timeout += 1
            elif error.why == "skipped":
                counters.store_skipped += 1
            elif error.why == "refused":
                counters.store_refused += 1
            else:
                counters.store_error += 1
            return False
        counters.store_done += 1
        counters.bytes_written += len(envelope)
        return True

    async def forget(self, key: bytes) -> bool:
        """Free what the tier holds under a key. Does not keep others from storing it again: a purge does."""
        return await self._quietly(lambda: self._tier.forget(key)) is not None

    # ------------------------------------------------------------------ locks
    async def lock(self, name: bytes, owner: bytes, ttl_s: float) -> bool | None:
        """Whether `owner` has it now; None: the server cannot be asked."""
        try:
            return await self._guard.run(lambda: self._tier.lock(name, owner, ttl_s))
        except NotDone:
            return None

    async def unlock(self, name: bytes, owner: bytes) -> None:
        await self._quietly(lambda: self._tier.unlock(name, owner))

    async def _quietly(self, operation: Callable[[], Awaitable[None]]) -> bool | None:
        try:
            await self._guard.run(operation)
        except NotDone:
            return None
        return True

    # ------------------------------------------------------------------ purges
    async def purge(self, kind: PurgeKind, text: str = "", soft: bool = False) -> tuple[int, bool]:
        """Purge here, in the tier and on the other nodes: the objects that went here, and whether the others have been told.

        If they could not be, they will be as soon as the server is back; what it holds is not used here meanwhile.
        """
        return await self._tasks.shielded("cache tier: purge", self._purge(Order(kind, text, soft, self.node)))

    async def _purge(self, order: Order) -> tuple[int, bool]:
        async with self._order:
            told = not self._unsent and await self._send(order)
            if not told:
                self._keep(order)
            # Only now: what this node took from the tier until now is still in its store, and goes with the rest.
            purged = await self._carry_out(order)
        if told:
            # Until its own order has come back, nothing that matches is shared from here.
            self._begin_to_catch_up()
        return purged, told

    async def _send(self, order: Order) -> bool:
        try:
            serial = await self._guard.run(lambda: self._tier.append(order), reserved=True)
        except NotDone:
            return False
        self._own.add(serial)
        self._index.add(serial, order.kind, order.text)
        self.counters.purges_sent += 1
        return True

    def _keep(self, order: Order) -> None:
        self._unsent.append(order)
        if len(self._unsent) > UNSENT_MOST:
            self._unsent = [Order("all", "", all(each.soft for each in self._unsent), self.node)]
        self._build_unsent_index()

    def _build_unsent_index(self) -> None:
        self._unsent_index = PurgeIndex()
        for each in self._unsent:
            self._unsent_index.add(1, each.kind, each.text)

    async def _send_late(self) -> None:
        """Tell the server what it could not be told."""
        while self._unsent:
            async with self._order:
                if not self._unsent or not await self._send(self._unsent[0]):
                    return
                self.counters.purges_late += 1
                del self._unsent[0]
                self._build_unsent_index()

    async def _carry_out(self, order: Order) -> int:
        self._carried += 1
        self._here.add(self._carried, order.kind, order.text)
        try:
            # On a thread: to purge by prefix walks the store.
            return await asyncio.to_thread(self._store.purge, order.kind, order.text, soft=order.soft)
        except ValueError as error:
            # What names nothing that could be stored here has been carried out: a log that nobody gets past would be the end of the tier.
            _log.warning("a purge of %s %.80r means nothing here: %s", order.kind, order.text, error)
            return 0

    # ------------------------------------------------------------------ following the log
    async def _follow(self) -> None:
        """Keep up with the purges of others; and while the circuit is open, be the one who tries."""
        while True:
            if self._circuit.open:
                await self._clock.sleep(self._circuit.retry_in())
                await self._tier.reset()
            try:
                if self._circuit.open or not self._applied.token:
                    await self._guard.run(lambda: self._tier.lookup(b"", b""), probe=True)
                await self._follow_once()
            except (TierError, NotDone) as error:
                if isinstance(error, TierError):
                    self._guard.failed(str(error))
                if not self._circuit.open:
                    await self._clock.sleep(self.settings.poll_s)

    async def _follow_once(self) -> None:
        """Read what is new, tell what could not be told, and wait for news, or for the circuit to open."""
        await self._catch_up()
        if self._unsent:
            await self._send_late()
            await self._catch_up()
        try:
            async with asyncio.timeout(LISTEN_S + CATCH_UP_S) as self._listening:
                await self._tier.doorbell(LISTEN_S)
        except (TierError, TimeoutError):
            # It answers, but it does not tell: then it is asked.
            if not self._circuit.open:
                await self._clock.sleep(self.settings.poll_s)

    def _stop_waiting(self) -> None:
        """The circuit has opened: nothing is to be heard from the server now, until it is tried again."""
        for waiting in (self._listening, self._reading):
            if waiting is not None:
                with contextlib.suppress(RuntimeError):        # it has ended, or is ending already
                    waiting.reschedule(asyncio.get_running_loop().time())

    async def _reach(self, mark: Mark) -> None:
        """Make sure that what the log held at `mark`, which has just been read, is applied. Raises TierError."""
        for _ in range(2):
            if mark.token and mark.token == self._applied.token and mark.serial <= self._applied.serial:
                return
            under_way = self._catching is not None
            await self._catch_up()
            if not under_way:
                return         # a reading that began after `mark` was read has it all

    async def _catch_up(self) -> None:
        """Apply what the log holds beyond what has been applied. Those who need it at the same time wait for one reading of it."""
        await asyncio.shield(self._begin_to_catch_up())

    def _begin_to_catch_up(self) -> asyncio.Future[None]:
        if self._catching is None:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())       # nobody may be waiting
            self._tasks.keep("cache tier: catching up", lambda: self._settle(waiting))
            self._catching = waiting
        return self._catching

    async def _settle(self, waiting: asyncio.Future[None]) -> None:
        """Tells those who wait how the reading went."""
        try:
            await self._read_log()
        except Exception as error:
            if not isinstance(error, (TierError, TimeoutError)):
                _log.exception("the log of purges could not be applied")
            self._late = True
            reason = f"the log of purges: {error or type(error).__name__}"
            waiting.set_exception(error if isinstance(error, TierError) else TierError(reason))
        else:
            waiting.set_result(None)
        finally:
            self._catching = None
            waiting.cancel()

    async def _read_log(self) -> None:
        async with self._order:
            before = self._applied
            async with asyncio.timeout(CATCH_UP_S) as self._reading:
                part = await self._tier.read_log(before)
                if part.mark.token == before.token and part.mark.serial < before.serial:
                    _log.warning("the shared cache tier has lost its log of purges; what it holds is not used any more")
                    await self._tier.renew_log()
                    part = await self._tier.read_log(before)
            same = part.mark.token == before.token
            if not same:
                self._index, self._own = PurgeIndex(), set()
            self._index.floor = max(self._index.floor, part.floor)
            for serial, order in part.orders:
                self._index.add(serial, order.kind, order.text)
            await self._apply(part, before, same)
            self._applied = part.mark
            self._own = {serial for serial in self._own if serial > part.mark.serial}

    async def replay(self, since: Mark) -> bool:
        """Carry out what was ordered since another life of this node had applied `since`: its store has been filled from a file.

        False: the server could not be asked; then nothing has been purged.
        """
        async with self._order:
            try:
                part = await self._log_since(since)
            except (TierError, TimeoutError):
                return False
            self._late = True
            await self._apply(part, since, part.mark.token == since.token)
            return True

    async def _log_since(self, since: Mark) -> LogPart:
        async with asyncio.timeout(CATCH_UP_S):
            return await self._tier.read_log(since)

    async def _apply(self, part: LogPart, before: Mark, same: bool) -> None:
        """Carry out here what others purged. With the first log that was read at once after the start, there is nothing to purge yet."""
        if not before.token and not self._late:
            return
        if (before.serial if same else 0) < part.floor:
            _log.warning("purges of other nodes may have been missed; memory is emptied")
            self.counters.history_lost += 1
            await self._carry_out(Order("all", "", False, self.node))
            return
        for serial, order in part.orders:
            if not same or serial not in self._own:
                self.counters.purges_received += order.by != self.node
                await self._carry_out(order)
