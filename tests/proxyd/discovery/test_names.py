from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxyd.discovery.names import Names
from proxyd.discovery.resolver import Answer, ResolveError
from proxyd.tasks import Tasks
from tests.support.clock import FakeClock, settle


class Zone:
    """A resolver whose records the test writes: addresses, a failure, or (absent) silence."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.records: dict[str, tuple[str, ...] | str] = {}
        self.ttl = 5.0
        self.asked: list[float] = []
        self.answerable = asyncio.Event()

    async def lookup(self, name: str) -> Answer:
        self.asked.append(self.clock.monotonic() - 1000)
        while name not in self.records:
            await self.answerable.wait()
        record = self.records[name]
        if isinstance(record, str):
            raise ResolveError(record)
        return Answer(record, self.ttl)

    async def close(self) -> None: ...


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tasks, self.zone, self.changes = Tasks(self.clock), Zone(self.clock), 0
        self.names = Names(self.tasks, self.clock, self.zone, self.on_change)

    def on_change(self) -> None:
        self.changes += 1


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.tasks.close()


async def test_a_name_is_looked_up_again_when_its_ttl_is_over(world: World) -> None:
    world.zone.records = {"app": ("10.0.0.1",)}
    await world.names.ensure(["app"], wait=1)
    assert world.names.addresses() == {"app": ("10.0.0.1",)}
    world.zone.records["app"] = ("10.0.0.2", "10.0.0.3")
    await settle()
    await world.clock.advance(4.9)
    assert world.names.addresses() == {"app": ("10.0.0.1",)}
    await world.clock.advance(0.2)
    assert world.names.addresses() == {"app": ("10.0.0.2", "10.0.0.3")}
    assert world.changes == 2


async def test_the_same_addresses_are_no_change(world: World) -> None:
    world.zone.records = {"app": ("10.0.0.1",)}
    await world.names.ensure(["app"], wait=1)
    await settle()
    await world.clock.advance(60)
    assert len(world.zone.asked) == 13
    assert world.changes == 1


async def test_a_failure_keeps_the_last_addresses_and_tries_again_soon(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.zone.records = {"app": ("10.0.0.1",)}
    await world.names.ensure(["app"], wait=1)
    world.zone.records["app"] = "timed out"
    await settle()
    await world.clock.advance(13)
    assert world.zone.asked == [0, 5, 6, 8, 12]
    assert world.names.addresses() == {"app": ("10.0.0.1",)}
    assert world.names.error("app") == "timed out"
    assert [record.getMessage() for record in caplog.records] == ["app does not resolve: timed out; its last addresses stay: 10.0.0.1"]
    world.zone.records["app"] = ("10.0.0.9",)
    await world.clock.advance(8)
    assert world.names.addresses() == {"app": ("10.0.0.9",)}
    assert world.names.error("app") == ""


async def test_a_name_that_never_resolved_has_no_address_and_a_reason(world: World) -> None:
    world.zone.records = {"gone": "domain name not found"}
    await world.names.ensure(["gone"], wait=1)
    assert world.names.addresses() == {"gone": ()}
    assert world.names.error("gone") == "domain name not found"
    assert world.changes == 0


async def test_a_silent_resolver_does_not_hold_up_the_start(world: World) -> None:
    await world.names.ensure(["slow"], wait=0.01)
    assert world.names.addresses() == {"slow": ()}
    assert world.names.error("slow") == "no answer yet"
    world.zone.records["slow"] = ("10.0.0.1",)
    world.zone.answerable.set()
    await settle()
    assert world.names.addresses() == {"slow": ("10.0.0.1",)}
    assert world.changes == 1


async def test_a_name_that_left_the_config_is_not_asked_for_any_more(world: World) -> None:
    world.zone.records = {"a": ("10.0.0.1",), "b": ("10.0.0.2",)}
    await world.names.ensure(["a", "b"], wait=1)
    await world.names.only(["b"])
    assert world.tasks.names() == ["dns b"]
    assert world.names.addresses() == {"b": ("10.0.0.2",)}
