"""Events of the engines in, blobs into the store and `proceed` out."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from proxyd.cachetier import Sharing, TierSettings
from proxyd.cachetier.redis_tier import RedisTier
from proxyd.cachetier.sharing import lifetime_s
from proxyd.cachetier.tier import Tier, open_tier
from proxyd.clock import Clock
from tests.support.clock import FakeClock
from tests.support.redis_fake import FakeRedis, fake_redis
from tests.support.tier_store import FakeEngine, FakeObject, FakeStore
from tests.support.wait import until


class Node:
    def __init__(self, clock: FakeClock, open_tier: Callable[[TierSettings, Clock], Tier] = open_tier) -> None:
        self.store = FakeStore()
        self.engine = FakeEngine()
        self.sharing = Sharing(self.store, clock, open_tier=open_tier)

    async def look(self, stored: FakeObject, slot: int = 1) -> None:
        self.sharing.handle_lookup(self.engine, slot, 7, stored.key, b"")
        await until(lambda: (slot, 7) in self.engine.went_on, "the exchange goes on")

    async def offer(self, stored: FakeObject) -> None:
        counters = self.sharing.counters

        def ended() -> int:
            return counters.store_done + counters.store_unfit + counters.store_skipped + counters.store_error + counters.store_timeout

        before = ended()
        self.sharing.handle_stored(stored)
        await until(lambda: ended() > before, "the offer has ended")


class Scene:
    def __init__(self, server: FakeRedis, stack: AsyncExitStack) -> None:
        self.server = server
        self.clock = FakeClock()
        self.settings = TierSettings(redis=server.url, timeout_s=10.0, circuit_failures=2, queue=2)
        self._stack = stack

    async def node(self) -> Node:
        node = Node(self.clock)
        await node.sharing.start(self.settings)
        self._stack.push_async_callback(node.sharing.stop)
        await until(lambda: node.sharing.mark[0], "the log has been read")
        return node


@asynccontextmanager
async def made() -> AsyncIterator[Scene]:
    async with fake_redis() as server, AsyncExitStack() as stack:
        yield Scene(server, stack)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with made() as each:
        yield each


async def test_one_stores_and_the_other_loads(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    await two.look(FakeObject(), 1)
    await one.offer(FakeObject(tags=["t"]))
    await two.look(FakeObject(), 2)
    assert two.store.texts() == ["body"]
    assert two.engine.went_on == [(1, 7), (2, 7)]
    assert (two.sharing.counters.lookup_miss, two.sharing.counters.lookup_hit) == (1, 1)


@pytest.mark.parametrize("stored", [
    FakeObject(size=(1 << 20) + 1), FakeObject(fresh_s=0.9), FakeObject(fresh_s=-10.0, stale_if_error_s=10.5), FakeObject(state="filling"),
])
async def test_what_is_not_worth_sharing(scene: Scene, stored: FakeObject) -> None:
    node = await scene.node()
    await node.offer(stored)
    assert (node.sharing.counters.store_unfit, scene.server.hashes) == (1, {})


def test_lifetimes() -> None:
    assert lifetime_s(FakeObject(fresh_s=60.5)) == 60
    assert lifetime_s(FakeObject(fresh_s=60.5, stale_while_revalidate_s=10.0, stale_if_error_s=20.0)) == 80
    assert lifetime_s(FakeObject(fresh_s=-5.0, stale_while_revalidate_s=10.0)) == 5
    assert lifetime_s(FakeObject(fresh_s=1e9)) == 30 * 86_400


async def test_forms_made_here_and_private_routes_stay(scene: Scene) -> None:
    node = await scene.node()
    for stored in (FakeObject(encoding="gzip"), FakeObject(share=False)):
        node.sharing.handle_stored(stored)
    assert node.sharing.waiting == 0
    assert node.sharing.counters.store_unfit == 0


async def test_what_was_purged_on_its_way_is_not_shared(scene: Scene) -> None:
    """An event of before the purge is handled after it: what counts is what the store holds now."""
    one, two = await scene.node(), await scene.node()
    stored = one.store.hold(FakeObject(tags=["t"], text="old"))
    assert await one.sharing.purge("tag", "t") == (1, True)
    await until(lambda: one.sharing.mark[1], "its own order has come back")
    await one.offer(stored)
    assert (one.sharing.counters.store_unfit, scene.server.hashes) == (1, {})
    one.store.hold(replace(stored, text="new"))
    await one.offer(stored)
    await two.look(stored)
    assert two.store.texts() == ["new"]


async def test_the_queue_is_bounded(scene: Scene) -> None:
    node = await scene.node()
    for _ in range(5):
        node.sharing.handle_stored(FakeObject())
    counters = node.sharing.counters
    assert (node.sharing.waiting, counters.store_dropped) == (2, 3)
    await until(lambda: counters.store_done == 2)


async def test_lookups_are_bounded(scene: Scene) -> None:
    scene.settings = replace(scene.settings, lookups=1)
    node = await scene.node()
    for slot in range(3):
        node.sharing.handle_lookup(node.engine, slot, 7, b"k", None)
    assert node.engine.went_on == [(1, 7), (2, 7)], "those beyond do not wait"
    await until(lambda: len(node.engine.went_on) == 3)
    assert node.sharing.counters.lookup_skipped == 2


async def test_a_dead_tier_holds_nobody_up(scene: Scene) -> None:
    node = await scene.node()
    await scene.server.stop()
    for slot in range(5):
        await node.look(FakeObject(), slot)
    await node.offer(FakeObject())
    assert node.sharing.circuit_open
    assert "redis" in node.sharing.last_error
    assert node.sharing.counters.circuit_opened == 1
    assert node.sharing.counters.store_skipped == 1
    assert await node.sharing.purge("all") == (0, False)
    assert node.sharing.purges_unsent == 1
    await scene.server.start()
    await scene.clock.sleeping(1)
    await scene.clock.advance(5.0)
    await until(lambda: node.sharing.mark[1], "the late order has been sent, and has come back")
    assert (node.sharing.circuit_open, node.sharing.purges_unsent) == (False, 0)
    await node.offer(node.store.hold(FakeObject()))
    assert node.sharing.counters.store_done == 1


async def test_reconfigured(scene: Scene) -> None:
    node = await scene.node()
    await node.offer(FakeObject())
    async with fake_redis() as other:
        await node.sharing.reconfigure(scene.settings)
        await node.sharing.reconfigure(replace(scene.settings, redis=other.url))
        await until(lambda: node.sharing.mark[0])
        await node.look(FakeObject())
        assert (node.sharing.counters.lookup_miss, node.sharing.counters.store_done) == (1, 1), "counters live on"
        with pytest.raises(ValueError, match="HOST:PORT"):
            await node.sharing.reconfigure(TierSettings(memcached="nowhere"))
        assert node.sharing.settings == replace(scene.settings, redis=other.url)
        await node.sharing.reconfigure(None)
    assert node.sharing.settings is None
    node.store.hold(FakeObject())
    await node.look(FakeObject(), 9)
    node.sharing.handle_stored(FakeObject())
    assert await node.sharing.purge("all") == (1, None)
    assert not await node.sharing.replay()


async def test_what_the_server_was_not_told_outlives_a_change_of_settings(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    stored = FakeObject(tags=["t"])
    await one.offer(stored)
    await scene.server.stop()
    assert await one.sharing.purge("tag", "t") == (0, False)
    await one.sharing.reconfigure(replace(scene.settings, queue=3))
    assert one.sharing.purges_unsent == 1
    await scene.server.start()
    for _ in range(3):
        await scene.clock.advance(5.0)
    await until(lambda: one.sharing.mark[1], "the late order has been sent, and has come back")
    for node in (one, two):
        await node.look(stored)
        assert node.store.objects == {}


async def test_a_purge_during_a_change_of_settings_is_told_to_the_others(scene: Scene) -> None:
    closing: list[Tier] = []
    may_close = asyncio.Event()

    class Lingering(RedisTier):
        async def close(self) -> None:
            closing.append(self)
            if len(closing) == 2:      # the first one was only tried out
                await may_close.wait()
            await super().close()

    node = Node(scene.clock, Lingering)
    await node.sharing.start(scene.settings)
    try:
        await until(lambda: node.sharing.mark[0])
        stored = FakeObject(tags=["t"])
        await node.offer(node.store.hold(stored))
        changing = asyncio.create_task(node.sharing.reconfigure(replace(scene.settings, queue=3)))
        await until(lambda: len(closing) == 2, "the link of before is closing")
        purging = asyncio.create_task(node.sharing.purge("tag", "t"))
        await asyncio.sleep(0)
        may_close.set()
        await changing
        assert (await purging)[0] == 1
        await node.look(stored)
        assert node.store.objects == {}, "what the tier has is of before the purge"
    finally:
        may_close.set()
        await node.sharing.stop()


async def test_a_snapshot_is_brought_up_to_date(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    mark = two.sharing.mark
    await one.sharing.purge("tag", "t")
    three = await scene.node()
    three.store.hold(FakeObject(tags=["t"]))
    assert await three.sharing.replay(*mark)
    assert three.store.objects == {}
