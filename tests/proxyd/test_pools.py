from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from proxyd import pools
from proxyd.pools import RAMP_STEP, Pools
from proxyd.tasks import RESTART_FIRST, Tasks
from proxyd_ext.balance.pool import Pool, UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.snapshot.spec import MemberSpec, UpstreamSpec
from tests.support.clock import FakeClock, settle
from tests.support.wait import until


class World:
    """An upstream of three servers that is served as `spec` says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tasks = Tasks(self.clock)
        self.state = UpstreamState("api")
        self.servers = [Server("api", label, (f"127.0.0.{number}", 80)) for number, label in enumerate("abc", 1)]
        self.spec: UpstreamSpec | None = self.spec_with(3)
        self.pools = Pools(self.tasks, self.clock, lambda upstream: self.spec if upstream == "api" else None, 1)

    def spec_with(self, servers: int, slow_start_ms: int = 3_600_000) -> UpstreamSpec:
        return UpstreamSpec("api", self.state, [MemberSpec(server) for server in self.servers[:servers]], slow_start_ms=slow_start_ms)

    @property
    def pool(self) -> Pool:
        assert self.state.pool is not None
        return self.state.pool

    def active(self) -> dict[str, float]:
        return dict(self.pool.describe()["active"]) if self.state.pool is not None else {}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.tasks.close()


async def test_tables_follow_a_change(world: World) -> None:
    world.pools.changed("api")
    await until(lambda: set(world.active()) == {"a", "b", "c"})
    world.servers[1].set_down("health", True)
    world.pools.changed("api")
    await until(lambda: set(world.active()) == {"a", "c"})


async def test_many_changes_make_one_pool(world: World) -> None:
    world.pools.changed("api")
    await settle()
    first = world.pool
    for server in world.servers[1:]:
        world.pools.changed("api")
        server.set_down("drain", True)
        world.pools.changed("api")
    assert world.pool is first
    await settle()
    assert set(world.active()) == {"a"}


async def test_of_two_at_the_same_time_the_one_begun_later_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def build(spec: UpstreamSpec, engines: int) -> Pool:
        pool = Pool(spec, engines)
        if not begun.is_set():
            begun.set()
            assert go_on.wait(10.0)
        return pool

    monkeypatch.setattr(pools, "SMALL", 0)
    monkeypatch.setattr(pools, "Pool", build)
    older = asyncio.create_task(world.pools.rebuild("api"))
    await until(begun.is_set)
    world.servers[1].set_down("drain", True)
    try:
        await world.pools.rebuild("api")
    finally:
        go_on.set()
        await older
    assert set(world.active()) == {"a", "c"}


async def test_slow_start_is_followed_to_its_end(world: World) -> None:
    world.servers[1].ramp()
    world.pools.changed("api")
    await world.clock.sleeping(1)
    assert world.active()["b"] < 0.1
    for _ in range(2):
        before = world.pool
        await world.clock.advance(RAMP_STEP)
        await world.clock.sleeping(1)
        assert world.pool is not before
    world.spec = world.spec_with(3, slow_start_ms=0)
    await world.clock.advance(RAMP_STEP)
    await until(lambda: world.active()["b"] == 1.0)
    await settle()
    assert world.tasks.names() == ["pools"]


async def test_an_upstream_that_left_is_not_followed(world: World) -> None:
    world.servers[1].ramp()
    world.pools.changed("api")
    await world.clock.sleeping(1)
    world.spec, before = None, world.pool
    await world.clock.advance(RAMP_STEP)
    assert world.pool is before
    assert world.tasks.names() == ["pools"]


async def test_at_once(world: World) -> None:
    world.servers[2].set_down("maint", True)
    await world.pools.rebuild("api")
    assert set(world.active()) == {"a", "b"}


async def test_a_build_that_fails_is_still_due(world: World) -> None:
    """Nothing is forgotten: the task begins again, and the pool follows then."""
    spec = world.spec
    world.spec = UpstreamSpec("api", world.state, [MemberSpec(world.servers[0], weight=0)])
    world.pools.changed("api")
    await world.clock.sleeping(1)
    assert world.state.pool is None
    world.spec = spec
    await world.clock.advance(RESTART_FIRST)
    await until(lambda: set(world.active()) == {"a", "b", "c"})
