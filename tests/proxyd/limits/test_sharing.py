from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from proxyd.limits.leases import SharedLimit, ShareSettings
from proxyd.limits.sharing import AWAY_MOST_S, AWAY_S, BATCH, BEAT_S, STEADY_S, ShareCounters, Sharing
from tests.support.clock import FakeClock, settle
from tests.support.leases import FakeLeases, FakeLimit
from tests.support.wait import until

S = 1_000_000


class World:
    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.store = FakeLeases(self.clock)
        self.limit = FakeLimit()
        self.rule = SharedLimit("p", self.limit, 100, S, 39)
        self.sharing = Sharing(
            ShareSettings("redis://a", timeout_s=0.02, **settings), self.clock, lambda: 7, counters=ShareCounters(),
            open_store=lambda _: self.store)

    async def granted(self, number: int) -> list[tuple[int, int, int]]:
        await until(lambda: len(self.limit.grants) >= number, f"{number} grants")
        return self.limit.grants


@asynccontextmanager
async def shared(**settings: Any) -> AsyncIterator[World]:
    world = World(**settings)
    await world.sharing.start([world.rule])
    try:
        yield world
    finally:
        await world.sharing.close()


async def test_wants_are_answered() -> None:
    async with shared() as world:
        assert world.limit.share == (100, S, 39), "the share of one, until the store has answered"
        await until(lambda: world.limit.share is None)
        assert world.limit.lease == 40
        world.limit.want(5, 3, 10)
        assert await world.granted(1) == [(5, 10, 0)]
        world.limit.want(5, 20, 10)
        assert await world.granted(2) == [(5, 10, 0), (5, 7, 10_000)], "40 are the whole burst, and 33 are gone"
        world.limit.want(5, 4, 10)
        assert (await world.granted(3))[2] == (5, 0, 50_000), "what was used on credit is charged beyond the burst"
        assert world.limit.valid_us == 4 * S
        counters = world.sharing.counters
        assert (counters.wants, counters.tokens_used, counters.tokens_asked, counters.tokens_given) == (3, 27, 30, 17)


async def test_the_number_of_proxies_is_followed() -> None:
    async with shared() as world:
        await until(lambda: world.limit.share is None)
        world.store.nodes = 4
        await world.clock.sleeping(1)
        await world.clock.advance(BEAT_S)
        assert (world.sharing.nodes, world.limit.lease) == (4, 10)
        assert [(view.lease, view.beyond_burst, view.local_burst) for view in world.sharing.views()] == [(10, 40, 9)]


async def test_a_number_of_proxies_that_is_set() -> None:
    async with shared(nodes=2, lease=3) as world:
        assert world.limit.share == (100, 2 * S, 19)
        await until(lambda: world.limit.share is None)
        assert (world.sharing.nodes, world.limit.lease) == (2, 3)


async def test_a_store_that_comes_and_goes_is_left_alone_for_longer_each_time() -> None:
    """Each change brings every key a new burst."""
    async with shared() as world:
        away: list[float] = []
        for round in range(9):
            await until(lambda: world.limit.share is None)
            world.store.mood = "fails"
            if round == 8:
                await world.clock.sleeping(1)
                await world.clock.advance(STEADY_S)
            world.limit.want(5, 1, 5)
            await until(lambda: world.limit.share is not None)
            world.store.mood, lost = "well", world.clock.monotonic()
            while world.limit.share is not None:
                await world.clock.sleeping(1)
                await world.clock.advance(AWAY_S)
                await settle()
            away.append(world.clock.monotonic() - lost)
        assert away == [1, 2, 4, 8, 16, 32, AWAY_MOST_S, AWAY_MOST_S, AWAY_S]


@pytest.mark.parametrize("mood", ["silent", "fails"])
async def test_the_store_goes_and_returns(mood: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxyd.limits")
    async with shared() as world:
        world.store.nodes = 2
        await until(lambda: world.limit.share is None)
        world.store.mood = mood
        world.limit.want(5, 3, 5)
        await until(lambda: world.limit.share == (100, 2 * S, 19), "its share")
        assert (world.sharing.counters.times_local, world.limit.grants) == (1, [])
        world.limit.want(5, 1, 5)
        await until(lambda: world.sharing.counters.wants == 2)
        for _ in range(3):
            await world.clock.sleeping(1)
            before = replace(world.sharing.counters)
            await world.clock.advance(max(AWAY_S, BEAT_S))
            await until(partial(_failed_since, world.sharing.counters, before), "it is tried")
        assert world.limit.share is not None
        world.store.mood = "well"
        await world.clock.sleeping(1)
        await world.clock.advance(AWAY_S)
        await until(lambda: world.limit.share is None)
        assert await world.granted(1) == [(5, 5, 0)]
        assert [(want.used, want.asked) for order in world.store.orders for want in order.wants] == [(4, 5)], "nothing was forgotten"
        assert world.sharing.counters.times_local == 1
    words = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[0] for text in words] == ["shared limits"] * 2, words
    assert "is away" in words[0]
    assert "answers again, 2 proxies" in words[1]


def _failed_since(now: ShareCounters, before: ShareCounters) -> bool:
    return now.failures > before.failures


async def test_no_store_at_the_start() -> None:
    world = World()
    world.store.mood = "fails"
    await world.sharing.start([world.rule])
    await until(lambda: world.sharing.counters.failures)
    assert (world.limit.share, world.sharing.counters.times_local) == ((100, S, 39), 0)
    assert "refused" in world.sharing.last_error
    assert await world.sharing.forget("p") is None
    await world.sharing.close()
    assert world.store.closed


async def test_many_keys_go_in_parts() -> None:
    async with shared() as world:
        await until(lambda: world.limit.share is None)
        for hash_ in range(3 * BATCH):
            world.limit.want(hash_, 1, 1)
        assert {grant[0] for grant in await world.granted(3 * BATCH)} == set(range(3 * BATCH))
        assert [len(order.wants) for order in world.store.orders] == [BATCH] * 3
        assert world.sharing.waiting == 0


async def test_limits_come_and_go() -> None:
    async with shared() as world:
        await until(lambda: world.limit.share is None)
        other = FakeLimit()
        world.sharing.apply([SharedLimit("q", other, 10, S, 0)])
        assert (world.limit.share, other.share, other.lease) == ((100, S, 39), None, 1)
        other.want(1, 1, 1)
        world.limit.want(1, 1, 1)
        await until(lambda: other.grants)
        await settle()
        assert world.limit.grants == [], "nobody listens to it any more"
        world.sharing.apply([world.rule])
        await world.granted(1)


async def test_a_proxy_that_leaves_says_so() -> None:
    world = World()
    await world.sharing.start([world.rule])
    await until(lambda: world.store.living)
    await world.sharing.close()
    assert (world.store.living, world.store.closed, world.limit.share) == (set(), True, (100, S, 39))


async def test_forget() -> None:
    async with shared() as world:
        await until(lambda: world.limit.share is None)
        world.limit.want(5, 40, 1)
        world.limit.want(6, 40, 1)
        await world.granted(2)
        assert [await world.sharing.forget("p", 5), await world.sharing.forget("p", 5), await world.sharing.forget("p")] == [1, 0, 1]
