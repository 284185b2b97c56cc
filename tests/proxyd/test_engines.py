from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxyd.engines import Callbacks, EngineSet
from proxyd.state import DaemonError
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import SnapshotSpec
from tests.support.wait import until


class World:
    """An engine set that serves nothing, and what it told."""

    def __init__(self, threads: int) -> None:
        self.told: list[str] = []
        self.set = EngineSet(threads, Callbacks(
            on_ejected=lambda upstream, label: self.told.append(f"ejected {upstream} {label}"),
            on_consult=lambda kind: (200, b"", "text/plain"),
            on_released=lambda: self.told.append("released"),
            on_death=lambda index, error: self.told.append(f"engine {index} died"),
        ))
        self.set.start()

    async def publish(self, generation: int) -> None:
        spec = SnapshotSpec(generation, "hash", (), ())
        await self.set.publish(spec, Snapshot(spec), None)

    def held(self) -> list[int]:
        return [spec.generation for spec in self.set.specs()]


@pytest.fixture(params=[0, 1, 3])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = World(request.param)
    yield world
    await world.set.close()


async def test_a_publish_ends_when_all_have_taken_it_and_the_old_one_is_let_go(world: World) -> None:
    await world.publish(1)
    assert [view.snapshot for view in world.set.views()] == [1] * len(world.set.engines)
    assert world.held() == [1]
    await world.publish(2)
    await until(lambda: world.held() == [2])
    assert "released" in world.told


async def test_idle_engines_drain_at_once_and_are_not_missed(world: World) -> None:
    await world.publish(1)
    assert await world.set.drain(5)
    await world.set.close()
    assert world.told == []
    assert world.held() == []
    assert not any(view.alive for view in world.set.views())


async def test_heartbeats_move_although_nothing_happens(world: World) -> None:
    before = world.set.heartbeats()
    await until(lambda: all(now > old for now, old in zip(world.set.heartbeats(), before, strict=True)))


async def test_close_twice_is_once(world: World) -> None:
    await world.set.close()
    await world.set.close()


async def test_a_death_is_told_and_ends_a_publish() -> None:
    world = World(2)
    world.set.engines[0].close()
    await until(lambda: world.told == ["engine 0 died"])
    with pytest.raises(DaemonError, match="died"):
        await world.publish(1)
    await world.set.close()


async def test_a_death_during_a_publish_ends_it() -> None:
    world = World(2)
    publish = asyncio.create_task(world.publish(1))
    world.set.engines[1].close()
    await asyncio.wait({publish}, timeout=5)
    assert publish.done()
    await asyncio.gather(publish, return_exceptions=True)
    await world.set.close()
