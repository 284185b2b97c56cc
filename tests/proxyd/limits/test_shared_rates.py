"""Several tables of the data plane over one store: what the proxies admit together."""
from __future__ import annotations

from contextlib import AsyncExitStack
from random import Random
from select import select

import pytest

from proxyd.limits.leases import SharedLimit, ShareSettings, beyond_burst, lease_tokens
from proxyd.limits.sharing import BEAT_S, ShareCounters, Sharing
from proxyd_ext.limit.rate import RateLimit
from tests.support.clock import FakeClock, settle
from tests.support.leases import FakeLeases
from tests.support.wait import until

S = 1_000_000
KEY = 0xFEDCBA9876543210


class Cluster:
    def __init__(self, nodes: int, requests: int, burst: int) -> None:
        self.clock = FakeClock()
        self.store = FakeLeases(self.clock)
        self.settings = ShareSettings("redis://a", timeout_s=0.05)
        self.rules = [
            SharedLimit("p", RateLimit("p", requests=requests, per_us=S, burst=burst, capacity=1_000, leased=True), requests, S, burst)
            for _ in range(nodes)
        ]
        self.sharings = [
            Sharing(self.settings, self.clock, self.now_us, counters=ShareCounters(), open_store=lambda _: self.store) for _ in self.rules
        ]

    def now_us(self) -> int:
        return round(self.clock.monotonic() * S)

    async def start(self, stack: AsyncExitStack) -> None:
        self.store.nodes = len(self.rules)
        for sharing, rule in zip(self.sharings, self.rules, strict=True):
            await sharing.start([rule])
            stack.push_async_callback(sharing.close)
        await until(lambda: not any(sharing.local for sharing in self.sharings), "all share")

    def take(self, node: int) -> bool:
        limit = self.rules[node].limit
        assert isinstance(limit, RateLimit)
        return limit.try_take(KEY, self.now_us())[0] == "passed"

    async def quiet(self) -> None:
        """Every want has been taken, and answered."""
        for _ in range(10_000):
            if not self._wanting():
                return
            await settle(1)
        raise AssertionError("a want is not answered")

    def _wanting(self) -> bool:
        if select([rule.limit for rule in self.rules], [], [], 0)[0]:
            return True
        return any(sharing.counters.wants != sharing.counters.wants_answered for sharing in self.sharings)


@pytest.mark.parametrize("seed", range(3))
async def test_together_no_more_than_the_bucket_and_what_is_stated(seed: int) -> None:
    nodes, requests, burst, seconds = 3, 100, 40, 8
    cluster, random = Cluster(nodes, requests, burst), Random(seed)
    async with AsyncExitStack() as stack:
        await cluster.start(stack)
        admitted = 0
        for _ in range(seconds * 100):
            for _ in range(random.randrange(12)):
                admitted += cluster.take(random.randrange(nodes))
            await cluster.quiet()
            await cluster.clock.advance(0.01)
        beyond = beyond_burst(lease_tokens(cluster.rules[0], cluster.settings, nodes), nodes)
        assert admitted <= requests * seconds + burst + 1 + beyond
        assert admitted >= requests * seconds * 0.9, "and what the rate allows is used"


async def test_a_client_within_the_limit_is_never_refused() -> None:
    cluster, random = Cluster(3, 50, 59), Random(7)
    async with AsyncExitStack() as stack:
        await cluster.start(stack)
        for _ in range(400):
            assert cluster.take(random.randrange(3))
            await cluster.quiet()
            await cluster.clock.advance(0.021)


async def test_while_the_store_is_away_each_admits_its_part() -> None:
    cluster = Cluster(2, 100, 19)
    async with AsyncExitStack() as stack:
        await cluster.start(stack)
        cluster.store.mood = "fails"
        await cluster.clock.sleeping(2)
        await cluster.clock.advance(BEAT_S)
        await until(lambda: all(sharing.local for sharing in cluster.sharings))
        passed = [sum(cluster.take(node) for _ in range(100)) for node in (0, 1)]
        assert passed == [10, 10], "(burst + 1) / 2"
        await cluster.clock.advance(0.1)
        passed = [sum(cluster.take(node) for _ in range(100)) for node in (0, 1)]
        assert passed == [5, 5], "what half of the rate brings in 100 ms"
