from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar, cast

import pytest

from proxyd.engines import Answer, Callbacks, EngineSet
from proxyd.state import DaemonError
from proxyd_ext.engine import Engine
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import SnapshotSpec
from tests.support.clock import settle
from tests.support.wait import until


class World:
    """An engine set that serves nothing, and what it told."""

    def __init__(self, threads: int) -> None:
        self.told: list[str] = []
        self.set = EngineSet(threads, Callbacks(
            on_ejected=lambda upstream, label: self.told.append(f"ejected {upstream} {label}"),
            on_consult=self.consult,
            on_lookup=lambda engine, slot, generation, key, variant: self.told.append(f"lookup {slot} {generation} {key!r} {variant!r}"),
            on_stored=lambda stored: self.told.append(f"stored {stored}"),
            on_invalidated=lambda url: self.told.append(f"invalidated {url}"),
            on_decide=lambda *asked: self.told.append(f"decide {asked[1:]}"),
            on_filter=lambda *asked: self.told.append(f"filter {asked[1:]}"),
            on_released=lambda: self.told.append("released"),
            on_death=lambda index, error: self.told.append(f"engine {index} died"),
        ))
        self.set.start()

    def consult(self, kind: str, payload: bytes, answer: Answer) -> None:
        self.told.append(f"consult {kind} {payload!r}")
        answer(200, b"well", "text/plain")

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


class Reviewed(Engine):
    """Notes that it was to look at its flows."""

    looks: ClassVar[list[int]]

    def review(self) -> None:
        self.looks.append(self.index)


async def test_flows_are_looked_at_once_for_all_that_changes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.engines.Engine", Reviewed)
    Reviewed.looks = []
    world = World(2)
    for _ in range(3):
        world.set.review()
    assert Reviewed.looks == []
    await settle()
    assert Reviewed.looks == [0, 1]
    world.set.review()
    await settle()
    assert Reviewed.looks == [0, 1, 0, 1]
    world.set.review()
    await world.set.close()
    await settle()
    assert Reviewed.looks[4:] in ([], [0, 1]), "never half of them"


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


class Telling:
    """An engine that tells these events once, and notes what it is answered."""

    def __init__(self, *events: tuple[Any, ...]) -> None:
        self.events, self.answers = list(events), list[tuple[Any, ...]]()

    def take_events(self) -> list[tuple[Any, ...]]:
        events, self.events = self.events, []
        return events

    def answer(self, *words: Any) -> None:
        self.answers.append(words)


async def test_events_of_the_cache_reach_who_acts_on_them(caplog: pytest.LogCaptureFixture) -> None:
    world = World(0)
    engine = Telling(
        ("consult", 3, 7, "purge", b"PURGE"), ("consult", 4, 8, "ready", b""), ("lookup", 5, 9, b"k", None), ("stored", "an answer"),
        ("news from tomorrow",),
    )
    real, world.set.engines[0] = world.set.engines[0], cast(Any, engine)
    world.set._on_events(0)
    world.set.engines[0] = real
    assert world.told == ["consult purge b'PURGE'", "consult ready b''", "lookup 5 9 b'k' None", "stored an answer"]
    assert engine.answers == [(3, 7, 200, b"well", "text/plain"), (4, 8, 200, b"well", "text/plain")]
    assert "news from tomorrow" in caplog.text
    await world.set.close()
