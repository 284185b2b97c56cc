from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxyd.governor.breaker import BreakerPolicy
from proxyd.governor.governor import Governed, GovernorPolicy, Governors
from proxyd.governor.gradient import AdaptivePolicy
from proxyd.state import CircuitView, GovernorView
from proxyd.tasks import Tasks
from proxyd_ext.core.stats import BUCKETS_SECONDS
from tests.support.clock import FakeClock, settle

BREAKER = GovernorPolicy(breaker=BreakerPolicy(0.5, window=10, min_requests=20, open_for=10, probes=2))
ALL = GovernorPolicy(BREAKER.breaker, AdaptivePolicy(10, 200), 0.95)


class Upstream:
    """Stands in for the native state: counters that a test sets, and what it was told."""

    def __init__(self) -> None:
        self.finished = self.failed = self.ok = self.bad = self.in_flight = 0
        self.buckets, self.sum = [0] * (len(BUCKETS_SECONDS) + 1), 0.0
        self.told: list[str] = []

    def stats(self) -> dict[str, Any]:
        times = {"buckets": list(self.buckets), "sum": self.sum, "count": sum(self.buckets)}
        probes = {"ok": self.ok, "failed": self.bad}
        return {"finished": self.finished, "failed": self.failed, "probes": probes, "response_seconds": times, "in_flight": self.in_flight}

    def set_circuit(self, circuit: str, probes: int = 0) -> None:
        self.told.append(f"circuit {circuit} {probes}")
        self.ok = self.bad = 0

    def set_limit(self, most: int) -> None:
        self.told.append(f"limit {most}")

    def set_hedge_ms(self, ms: int) -> None:
        self.told.append(f"hedge {ms}")

    def serve(self, good: int, bad: int = 0, seconds: float = 0.02) -> None:
        self.finished += good + bad
        self.failed += bad
        self.sum += (good + bad) * seconds
        self.buckets[next(index for index, bound in enumerate(BUCKETS_SECONDS) if seconds <= bound)] += good + bad


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tasks = Tasks(self.clock)
        self.governors = Governors(self.tasks, self.clock)
        self.upstream = Upstream()

    async def apply(self, policy: GovernorPolicy, upstream: Upstream | None = None) -> None:
        await self.governors.apply([Governed("api", policy, upstream or self.upstream)])
        await settle()

    @property
    def circuit(self) -> CircuitView | None:
        return self.governors.view("api").circuit

    @property
    def state(self) -> str:
        return self.circuit.state if self.circuit is not None else ""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.tasks.close()


async def test_a_circuit_opens_tries_and_closes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.upstream.serve(0, 1_000_000)           # before it was governed
    with caplog.at_level("INFO", logger="proxyd.governor"):
        await world.apply(BREAKER)
        await world.clock.advance(1)
        assert world.circuit == CircuitView("closed", 1000.0, "")
        world.upstream.serve(129, 211)
        await world.clock.advance(0.2)
        view = world.circuit
        assert view is not None
        assert (view.state, round(view.since, 3), view.reason) == ("open", 1001.0, "62 % of 340 requests failed within 10 s")
        await world.clock.advance(10.1)
        assert world.state == "half_open"
        world.upstream.ok += 2
        await world.clock.advance(0.3)
        assert world.state == "closed"
    assert world.upstream.told == ["circuit open 0", "circuit half_open 2", "circuit closed 0"]
    assert [record.getMessage() for record in caplog.records] == [
        "api: circuit opens for 10 s: 62 % of 340 requests failed within 10 s",
        "api: circuit is half open: trying 2 requests",
        "api: circuit closes: 2 trial requests went well",
    ]


async def test_every_trial_is_counted_from_zero(world: World) -> None:
    await world.apply(BREAKER)
    for _ in range(3):
        world.upstream.serve(0, 20)
        await world.clock.advance(10.5)
        world.upstream.ok += 1
        await world.clock.advance(0.5)
        assert world.state == "half_open"
        world.upstream.ok += 1
        await world.clock.advance(0.5)
        assert world.state == "closed"


async def test_probes_that_are_granted_again_are_no_change(world: World) -> None:
    await world.apply(BREAKER)
    world.upstream.serve(0, 20)
    await world.clock.advance(10.5)
    since = world.circuit.since if world.circuit is not None else 0.0
    await world.clock.advance(10.5)
    assert world.upstream.told == ["circuit open 0", "circuit half_open 2", "circuit half_open 2"]
    assert world.circuit == CircuitView("half_open", since, "trying 2 requests")


async def test_the_limit_follows_response_times(world: World) -> None:
    await world.apply(GovernorPolicy(adaptive=AdaptivePolicy(10, 200)))
    assert world.upstream.told == ["limit 20"]
    world.upstream.in_flight = 100
    for _ in range(10):
        world.upstream.serve(100)
        await world.clock.advance(0.5)
    grown = world.governors.view("api").limit
    assert grown == 200
    for _ in range(10):
        world.upstream.serve(100, seconds=2.0)
        await world.clock.advance(0.5)
    assert world.governors.view("api").limit < grown / 2
    assert world.upstream.told[-1] == f"limit {world.governors.view('api').limit}"


async def test_a_sample_waits_for_ten_answers(world: World) -> None:
    await world.apply(GovernorPolicy(adaptive=AdaptivePolicy(10, 200)))
    world.upstream.in_flight = 100
    world.upstream.serve(9)
    await world.clock.advance(5)
    assert world.upstream.told == ["limit 20"]
    world.upstream.serve(1)
    await world.clock.advance(0.5)
    assert world.upstream.told == ["limit 20", "limit 40"]


async def test_the_hedge_delay_follows_the_percentile(world: World) -> None:
    await world.apply(GovernorPolicy(hedge=0.95))
    world.upstream.serve(1000, seconds=0.02)
    await world.clock.advance(1)
    assert world.upstream.told == ["hedge 24"]   # of the bucket from 10 to 25 ms: 24.25
    assert world.governors.view("api") == GovernorView(None, 0, 24)
    await world.clock.advance(20)
    assert world.upstream.told == ["hedge 24", "hedge 0"]


async def test_what_is_not_wanted_is_not_told(world: World) -> None:
    await world.apply(GovernorPolicy())
    assert world.tasks.names() == []
    assert world.governors.view("api") == GovernorView()
    assert world.upstream.told == []


async def test_each_part_in_its_own_rhythm(world: World) -> None:
    await world.apply(ALL)
    assert world.tasks.names() == ["governor api"]
    world.upstream.in_flight = 100
    world.upstream.serve(500, 500)
    await world.clock.advance(0.3)
    assert world.upstream.told == ["limit 20", "circuit open 0"]
    await world.clock.advance(0.3)
    assert world.upstream.told[2:] == ["limit 40"]
    await world.clock.advance(0.5)
    assert world.upstream.told[3:] == ["hedge 24"]


# ---------------------------------------------------------------------- reloads
async def test_a_reload_that_changes_nothing_disturbs_nothing(world: World) -> None:
    await world.apply(ALL)
    world.upstream.serve(0, 1000)
    await world.clock.advance(2)
    told, view = list(world.upstream.told), world.governors.view("api")
    await world.apply(ALL)
    assert (world.upstream.told, world.governors.view("api")) == (told, view)
    await world.clock.advance(8.5)
    assert world.upstream.told[len(told)] == "circuit half_open 2"


async def test_one_part_that_changes_leaves_the_others_alone(world: World) -> None:
    await world.apply(ALL)
    world.upstream.serve(0, 1000)
    await world.clock.advance(2)
    del world.upstream.told[:]
    await world.apply(GovernorPolicy(ALL.breaker, AdaptivePolicy(10, 50), None))
    assert world.upstream.told == ["limit 0", "hedge 0", "limit 20"]
    assert world.state == "open"
    await world.apply(GovernorPolicy(BreakerPolicy(0.9), AdaptivePolicy(10, 50), None))
    assert world.upstream.told[3:] == ["circuit closed 0"]
    assert world.circuit == CircuitView("closed", 1002.0, "")


async def test_an_upstream_that_leaves_is_released(world: World) -> None:
    await world.apply(ALL)
    del world.upstream.told[:]
    await world.governors.apply([])
    assert world.upstream.told == ["circuit closed 0", "limit 0", "hedge 0"]
    assert world.tasks.names() == []
    world.upstream.serve(0, 1000)
    await world.clock.advance(5)
    assert len(world.upstream.told) == 3


async def test_another_upstream_of_the_same_name_begins_anew(world: World) -> None:
    await world.apply(BREAKER)
    world.upstream.serve(0, 20)
    await world.clock.advance(1)
    other = Upstream()
    await world.apply(BREAKER, other)
    assert world.upstream.told == ["circuit open 0", "circuit closed 0"]
    assert world.circuit == CircuitView("closed", 1001.0, "")
    other.serve(0, 20)
    await world.clock.advance(1)
    assert other.told == ["circuit open 0"]
