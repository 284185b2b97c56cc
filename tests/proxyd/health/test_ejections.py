from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxyd.health.ejections import Ejections
from proxyd.tasks import Tasks
from tests.support.clock import FakeClock, settle
from tests.support.ejectable import FakeServer


@dataclass
class World:
    clock: FakeClock = field(default_factory=FakeClock)
    changes: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tasks = Tasks(self.clock)
        self.ejections = Ejections(self.tasks, self.clock, lambda upstream: self.changes.append((upstream, self.clock.monotonic())))

    def out(self, label: str = "a", *, ms: int = 30_000, **facts: Any) -> FakeServer:
        """A server that the engines ejected."""
        server = FakeServer(self.clock, until=self.clock.monotonic() + ms / 1000, **facts)
        self.ejections.on_ejected("api", label, server)
        return server


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.tasks.close()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"errors": {"connect_refused": 5}}, "connection refused 5 times; back in 30 s"),
        ({"errors": {"connect_refused": 900}}, "connection refused 5 times; back in 30 s"),
        ({"requests": {200: 1000, 404: 50, 503: 7}}, "status 503 5 times; back in 30 s"),
        ({"errors": {"connect_timeout": 1}, "failures": 1, "ms": 500}, "connecting timed out; back in 500 ms"),
        ({"errors": {"upstream_reset": 3}, "failures": 0}, "connection reset 3 times; back in 30 s"),
        ({"errors": {"first_byte_timeout": 2, "try_timeout": 3}}, "no answer in time 5 times; back in 30 s"),
        ({"errors": {"quite_new": 9}}, "quite new 5 times; back in 30 s"),
        ({}, "failures 5 times; back in 30 s"),
    ],
)
async def test_the_reason_is_in_plain_words(world: World, facts: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture) -> None:
    world.out("10.0.1.12:8000", **facts)
    assert [record.getMessage() for record in caplog.records] == [f"api: 10.0.1.12:8000 left: {said}"]
    assert world.changes == [("api", 1000.0)]


async def test_only_what_came_since_the_last_time_counts(world: World) -> None:
    server = world.out(errors={"connect_refused": 100})
    server.errors = {"connect_refused": 101, "connect_timeout": 5}
    world.ejections.on_ejected("api", "a", server)
    assert world.ejections.reason("api", "a") == "connecting timed out 5 times"


async def test_servers_that_left_are_forgotten(world: World) -> None:
    world.out("a", errors={"connect_refused": 5})
    world.out("b", errors={"connect_refused": 5})
    world.ejections.forget_others({("api", "b")})
    await settle()
    assert world.ejections.reason("api", "a") == ""
    assert world.ejections.reason("api", "b") == "connection refused 5 times"
    assert world.tasks.names() == ["ejection api/b"]


async def test_the_end_of_an_ejection_is_noticed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    server = world.out()
    await settle()
    with caplog.at_level("INFO", logger="proxyd.health"):
        await world.clock.advance(29)
        assert server.told == []
        await world.clock.advance(1)
    assert server.told == ["ramp"]
    assert world.changes == [("api", 1000.0), ("api", 1030.0)]
    assert caplog.records[-1].getMessage() == "api: a is back: its time is over"


async def test_an_ejection_that_is_extended_ends_once(world: World) -> None:
    server = world.out(ms=10_000)
    await settle()
    await world.clock.advance(5)
    server.eject(10_000)
    world.ejections.on_ejected("api", "a", server)
    await world.clock.advance(9)
    assert "ramp" not in server.told
    await world.clock.advance(30)
    assert server.told.count("ramp") == 1


async def test_a_readmitted_server_has_no_end_to_wait_for(world: World) -> None:
    server = world.out()
    await settle()
    server.until = 0.0
    world.ejections.on_readmitted("api", "a")
    await world.clock.advance(60)
    assert server.told == []
    server.eject(1_000)
    world.ejections.on_ejected("api", "a", server)
    await settle()
    await world.clock.advance(2)
    assert server.told == ["eject 1000", "ramp"]


async def test_ours_and_the_engines_are_counted_by_kind(world: World) -> None:
    server = FakeServer(world.clock, errors={"connect_refused": 3})
    world.ejections.eject("api", "a", server, 5_000, "error_rate", "error rate 62 % of 340 requests")
    await settle()
    assert server.told == ["eject 5000"]
    assert world.ejections.reason("api", "a") == "error rate 62 % of 340 requests"
    assert world.ejections.counts("api", "a") == {"error_rate": 1}
    assert world.ejections.counts("api", "b") == {}
    await world.clock.advance(5)
    assert server.told == ["eject 5000", "ramp"]
    assert world.changes == [("api", 1000.0), ("api", 1005.0)]
    world.ejections.on_ejected("api", "a", server)
    assert world.ejections.counts("api", "a") == {"error_rate": 1, "consecutive": 1}


async def test_engines_that_are_being_closed_may_still_tell(world: World) -> None:
    await world.tasks.close()
    world.out(errors={"connect_refused": 5})
    assert world.ejections.reason("api", "a") == "connection refused 5 times"
