"""PURGE requests in the audit trail: one record each, until more come than a trail should hold."""
from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from proxyd.audit.purges import BURST, CLIENTS_MAX, NAMED_MAX, RECORD_EVERY, WINDOW, Purges
from proxyd.audit.record import Note
from proxyd.caching.purge import Asked
from proxyd.tasks import Tasks
from tests.support.clock import FakeClock, settle


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tasks = Tasks(self.clock)
        self.notes: list[Note] = []
        self.purges = Purges(self.tasks, self.clock, self.notes.append)

    def ask(self, number: int = 0, client: str = "10.0.0.9", objects: int | None = 2) -> None:
        self.purges.on_purge(Asked(client, "10.0.0.1", f"url http://h/{number}", ("url",), objects))

    async def elapse(self, seconds: float) -> None:
        await settle()
        await self.clock.advance(seconds)
        await settle()

    def flood(self) -> None:
        """As many as leave records of their own."""
        for number in range(BURST):
            self.ask(number)
        assert len(self.notes) == BURST
        self.notes.clear()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    yield found
    await found.tasks.close()


async def test_each_leaves_one_record(world: World) -> None:
    world.ask(1)
    world.ask(2, objects=None)
    assert world.notes == [
        Note("10.0.0.9", "PURGE from 10.0.0.1", "cache.purge", "url http://h/1", detail={"objects": 2}),
        Note("10.0.0.9", "PURGE from 10.0.0.1", "cache.purge", "url http://h/2", "refused"),
    ]


async def test_a_flood_is_gathered_by_client(world: World) -> None:
    world.flood()
    for number in range(9):
        world.ask(number, objects=None if number == 8 else 2)
    world.ask(7, "10.0.0.8", objects=None)
    assert world.notes == []
    await world.elapse(WINDOW)
    one, other = world.notes
    assert (one.who, one.target, one.result) == ("10.0.0.9", "url http://h/0 and 8 more requests", "ok")
    assert one.detail == {
        "requests": 9, "refused": 1, "objects": 16, "kinds": {"url": 9}, "first": [f"url http://h/{number}" for number in range(NAMED_MAX)]}
    assert (other.who, other.target, other.result) == ("10.0.0.8", "url http://h/7", "refused")


async def test_clients_beyond_some_have_a_record_in_common(world: World) -> None:
    world.flood()
    for number in range(CLIENTS_MAX + 5):
        world.ask(number, f"10.0.1.{number}")
    await world.elapse(WINDOW)
    assert [note.who for note in world.notes] == [*(f"10.0.1.{number}" for number in range(CLIENTS_MAX)), "others"]
    assert (world.notes[-1].origin, world.notes[-1].detail["requests"]) == ("PURGE", 5)


async def test_however_many_come_the_trail_grows_by_one_a_second_at_most(world: World) -> None:
    world.flood()
    seconds = 300
    for second in range(seconds):
        for number in range(50):
            world.ask(second, f"10.0.{number}.1")
        await world.elapse(1.0)
    assert len(world.notes) <= seconds
    assert sum(note.detail.get("requests", 1) for note in world.notes) > 49 * (seconds - WINDOW)


async def test_it_comes_to_rest(world: World) -> None:
    world.flood()
    world.ask()
    await world.elapse(WINDOW)
    assert world.tasks.names() == []
    await world.elapse(2 * RECORD_EVERY)
    world.notes.clear()
    world.ask(3)
    assert [note.target for note in world.notes] == ["url http://h/3"], "and leaves a record of its own again"


async def test_what_is_gathered_is_told_at_the_end(world: World) -> None:
    world.flood()
    world.ask(1)
    await settle()
    await world.tasks.close()
    world.ask(2)
    world.purges.close()
    world.ask(3)
    world.purges.close()
    assert [note.detail["requests"] for note in world.notes] == [2, 1]
