"""One proxy's dealings with the store of shared limits: in the background, so that its latency never sits on a request.

Two tasks. One tells the store that this proxy lives, learns how many do, and is the only one that tries a store that is away. The other
carries the wants of the data plane there and its answers back, one exchange at a time with all that has come together meanwhile.

The first failure is enough to do without the store (`Circuit(1, …)`): a key whose lease is used up while nobody answers would be refused
until somebody does, and the local share is always right, only coarser. A store that comes and goes is left alone for longer each time.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from proxyd.circuit import Circuit
from proxyd.clock import Clock
from proxyd.limits.leases import (
    Given,
    LeaseStore,
    Order,
    SharedLimit,
    ShareSettings,
    StoreError,
    Want,
    beyond_burst,
    lasting_us,
    lease_tokens,
    local_share,
)
from proxyd.tasks import Tasks

BATCH = 128                    # keys in one call of the store
CALLS_MOST = 8                 # calls on one round trip
WAITING_MOST = 100_000         # keys of one limit that wait for the store; those beyond are not charged
BEAT_S = 1.0
AWAY_S = 1.0                   # until a store that failed is tried again
AWAY_MOST_S = 60.0             # the same of one that comes and goes: each change brings every key a new burst
STEADY_S = 120.0               # without a loss; then a store does not come and go any more

T = TypeVar("T")

log = logging.getLogger("proxyd.limits")


@dataclass(slots=True)
class ShareCounters:
    """What only grows, over every change of the config."""

    exchanges: int = 0             # with the store, beats too
    failures: int = 0              # of them
    wants: int = 0                 # of keys
    wants_answered: int = 0
    wants_dropped: int = 0         # too many waited
    tokens_used: int = 0           # on credit, charged
    tokens_asked: int = 0          # beyond them
    tokens_given: int = 0
    times_local: int = 0           # that the local share took over


@dataclass(frozen=True, slots=True)
class LeaseView:
    """One limit, as it is shared now."""

    policy: str
    lease: int                     # tokens
    beyond_burst: int              # requests of one key that may pass beyond the burst, at worst
    local_requests: int            # the share while the store is away
    local_per_seconds: float
    local_burst: int


@dataclass(slots=True)
class _Table:
    rule: SharedLimit
    waiting: dict[int, tuple[int, int]] = field(default_factory=dict)      # hash -> tokens used, asked for


class Sharing:
    def __init__(
        self, settings: ShareSettings, clock: Clock, now_us: Callable[[], int], *, counters: ShareCounters,
        open_store: Callable[[ShareSettings], LeaseStore],
    ) -> None:
        """ValueError for an address that is none. `now_us`: the engines' clock."""
        self.settings = settings
        self.counters = counters
        self.node = secrets.token_hex(6)
        self.nodes = settings.nodes or 1           # before the store has told: this one is
        self.local = True                          # the store is away, or has not answered yet
        self.last_error = ""
        self._clock = clock
        self._now_us = now_us
        self._store = open_store(settings)
        self._circuit = Circuit(1, AWAY_S, clock)
        self._tasks = Tasks(clock)
        self._tables: list[_Table] = []
        self._ready = asyncio.Event()              # somebody waits, and the store is there
        self._told = False                         # that the store is away
        self._lost_at = float("-inf")

    # ------------------------------------------------------------------ life
    async def start(self, limits: Sequence[SharedLimit]) -> None:
        """Does not wait for the store."""
        self.apply(limits)
        self._tasks.keep("shared limits: beat", self._live)
        self._tasks.keep("shared limits: exchange", self._exchange)

    async def close(self) -> None:
        """The limits go on by their local shares."""
        await self._tasks.close()
        self._let_go(self._tables)
        self._tables = []
        if not self._circuit.open:
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(self.settings.timeout_s):
                    await self._store.leave(self.node)
        await self._store.close()

    def apply(self, limits: Sequence[SharedLimit]) -> None:
        """Share these, and no others."""
        gone = {id(table.rule.limit): table for table in self._tables}
        kept = [gone.pop(id(rule.limit), None) for rule in limits]
        self._let_go(gone.values())
        self._tables = [_Table(rule, before.waiting if before is not None else {}) for rule, before in zip(limits, kept, strict=True)]
        for table in self._tables:
            asyncio.get_running_loop().add_reader(table.rule.limit.fileno(), self._on_wants, table)      # in the place of the one before
            self._set_up(table)
        self._wake()

    def _let_go(self, tables: Iterable[_Table]) -> None:
        for table in tables:
            asyncio.get_running_loop().remove_reader(table.rule.limit.fileno())
            table.rule.limit.set_local_share(True, *local_share(table.rule, self.nodes))

    def _set_up(self, table: _Table) -> None:
        """Tell the data plane how a limit is shared now."""
        rule = table.rule
        rule.limit.set_lease(lease_tokens(rule, self.settings, self.nodes))
        if self.local:
            rule.limit.set_local_share(True, *local_share(rule, self.nodes))
        else:
            rule.limit.set_local_share(False)

    # ------------------------------------------------------------------ facts
    def views(self) -> tuple[LeaseView, ...]:
        return tuple(self._view(table.rule) for table in self._tables)

    def _view(self, rule: SharedLimit) -> LeaseView:
        lease = lease_tokens(rule, self.settings, self.nodes)
        requests, per_us, burst = local_share(rule, self.nodes)
        return LeaseView(rule.policy, lease, beyond_burst(lease, self.nodes), requests, per_us / 1e6, burst)

    def shares(self, limit: object) -> bool:
        return any(table.rule.limit is limit for table in self._tables)

    @property
    def waiting(self) -> int:
        return sum(len(table.waiting) for table in self._tables)

    # ------------------------------------------------------------------ this proxy lives
    async def _live(self) -> None:
        while True:
            if self._circuit.open:
                await self._clock.sleep(self._circuit.retry_in())
            nodes = await self._ask(lambda: self._store.beat(self.node))
            if nodes is not None:
                self._on_beat(self.settings.nodes or nodes)
                await self._clock.sleep(BEAT_S)

    def _on_beat(self, nodes: int) -> None:
        if not self.local and nodes == self.nodes:
            return
        if self._told:
            log.info("shared limits: the store answers again, %d proxies share", nodes)
        self.nodes, self.local, self._told = nodes, False, False
        for table in self._tables:
            self._set_up(table)
        self._wake()

    def _on_away(self, reason: str) -> None:
        if not self._told:
            log.warning("shared limits: the store is away (%s); this proxy admits 1/%d of each until it is back", reason, self.nodes)
        self._told = True
        if not self.local:
            self.counters.times_local += 1
        self.local = True
        self._ready.clear()
        for table in self._tables:
            self._set_up(table)

    # ------------------------------------------------------------------ wants and grants
    def _on_wants(self, table: _Table) -> None:
        """The data plane wants tokens. They are taken at once, for its descriptor stays readable until they are."""
        for hash_, used, asked in table.rule.limit.take_wants(self._now_us()):
            self.counters.wants += 1
            if hash_ not in table.waiting and len(table.waiting) >= WAITING_MOST:
                self.counters.wants_dropped += 1
                table.rule.limit.grant(hash_, 0, int(self.settings.sync_s * 1e6), self._now_us(), 0)
                continue
            self._put(table, Want(hash_, used, asked))
        self._wake()

    @staticmethod
    def _put(table: _Table, want: Want) -> None:
        used, asked = table.waiting.get(want.hash, (0, 0))
        table.waiting[want.hash] = (used + want.used, max(asked, want.asked))

    def _wake(self) -> None:
        if not self.local and any(table.waiting for table in self._tables):
            self._ready.set()

    async def _exchange(self) -> None:
        while True:
            await self._ready.wait()
            taken = list(self._take())
            if not taken:
                self._ready.clear()
                continue
            answers = await self._ask(partial(self._store.settle, [order for _, order in taken]))
            if answers is None:
                for table, order in taken:
                    for want in order.wants:
                        self._put(table, want)
                continue
            for (table, order), given in zip(taken, answers, strict=True):
                self._grant(table, order, given)

    def _take(self) -> Iterator[tuple[_Table, Order]]:
        """What goes to the store on the next round trip; of every limit some."""
        left = CALLS_MOST
        while left:
            busy = [table for table in self._tables if table.waiting][:left]
            if not busy:
                return
            for table in busy:
                hashes = [hash_ for _, hash_ in zip(range(BATCH), table.waiting, strict=False)]
                yield table, Order(table.rule, [Want(hash_, *table.waiting.pop(hash_)) for hash_ in hashes])
            left -= len(busy)

    def _grant(self, table: _Table, order: Order, given: Sequence[Given]) -> None:
        rule, counters = table.rule, self.counters
        lasting = lasting_us(rule, lease_tokens(rule, self.settings, self.nodes), self.nodes)
        now = self._now_us()
        for want, each in zip(order.wants, given, strict=True):
            counters.wants_answered += 1
            counters.tokens_used += want.used
            counters.tokens_asked += want.asked
            counters.tokens_given += each.tokens
            rule.limit.grant(want.hash, each.tokens, each.retry_us, now, lasting)

    async def forget(self, policy: str, hash: int | None = None) -> int | None:
        """Fill the bucket of a key for all proxies, or all of the policy: how many were not full; None: the store is away."""
        return None if self.local else await self._ask(lambda: self._store.forget(policy, hash))

    async def _ask(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        """None: it failed. Client libraries have their own ways to trip over nonsense; that is a failure, too."""
        self.counters.exchanges += 1
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                found = await operation()
        except TimeoutError:
            self._failed(f"no answer within {self.settings.timeout_s * 1000:g} ms")
        except StoreError as error:
            self._failed(str(error))
        except Exception as error:
            self._failed(f"{type(error).__name__}: {error}")
        else:
            self._circuit.succeeded()
            return found
        return None

    def _failed(self, reason: str) -> None:
        self.counters.failures += 1
        self.last_error = reason
        if not self.local:
            now = self._clock.monotonic()
            again = now - self._lost_at < STEADY_S
            self._circuit.open_s = min(2 * self._circuit.open_s, AWAY_MOST_S) if again else AWAY_S
            self._lost_at = now
        self._circuit.failed()
        self._on_away(reason)
