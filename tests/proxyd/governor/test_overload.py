from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from proxyd.config.overload import Overload as OverloadConfig
from proxyd.governor.memory import Memory
from proxyd.governor.overload import PERIOD, OverloadGuard, OverloadRule, overload_rule
from proxyd.tasks import Tasks
from proxyd_ext.limit.overload import Overload
from tests.support.clock import FakeClock, settle
from tests.support.config import config_of

RULE = OverloadRule(memory=0.8, queue_delay=1.0, retry_after=7)
LIMIT = 1000 << 20


@dataclass
class World:
    clock: FakeClock = field(default_factory=FakeClock)
    word: Overload = field(default_factory=Overload)
    used: float | None = 0.5           # share of the memory; None: not known
    lag: float = 0.0
    wait: float = 0.0

    def __post_init__(self) -> None:
        self.tasks = Tasks(self.clock)
        self.guard = OverloadGuard(self.tasks, self.clock, self.word, [lambda: self.lag, lambda: self.wait], memory=self.memory)

    def memory(self) -> Memory | None:
        return None if self.used is None else Memory(int(LIMIT * self.used), LIMIT)

    async def follow(self, rule: OverloadRule | None) -> None:
        await self.guard.follow(rule)
        await settle()

    async def levels(self, looks: int) -> list[int]:
        """After each of so many looks."""
        found = []
        for _ in range(looks):
            await self.clock.advance(PERIOD)
            found.append(self.word.shed_below)
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.guard.close()
    assert world.tasks.names() == []
    await world.tasks.close()


@pytest.mark.parametrize("what", ["memory", "lag", "wait"])
async def test_one_class_more_with_each_look(world: World, what: str) -> None:
    await world.follow(RULE)
    assert await world.levels(2) == [0, 0]
    match what:
        case "memory":
            world.used = 0.81
        case "lag":
            world.lag = 1.01
        case "wait":
            world.wait = 1.01
    assert await world.levels(5) == [1, 2, 3, 3, 3]
    assert world.word.retry_s == 7


async def test_one_class_less_with_each_second_of_calm(world: World) -> None:
    world.lag = 5.0
    await world.follow(RULE)
    assert await world.levels(3) == [2, 3, 3]
    world.lag = 0.89
    assert await world.levels(13) == [3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0]
    assert await world.levels(5) == [0] * 5


async def test_between_calm_and_too_much_nothing_changes(world: World) -> None:
    world.lag = 2.0
    await world.follow(RULE)
    world.lag = 0.9
    assert await world.levels(20) == [1] * 20
    world.lag = 0.5
    assert await world.levels(4) == [1] * 4
    world.lag = 0.95                 # calm was not long enough
    assert await world.levels(1) == [1]
    world.lag = 0.5
    assert await world.levels(5) == [1, 1, 1, 1, 0]


async def test_all_that_is_measured_must_be_calm(world: World) -> None:
    world.lag = 2.0
    await world.follow(RULE)
    world.lag, world.used = 0.0, 0.75          # nine tenths of 80 % are 72 %
    assert await world.levels(8) == [1] * 8
    world.used = 0.7
    assert await world.levels(5) == [1, 1, 1, 1, 0]


async def test_what_the_rule_does_not_ask_for_does_not_count(world: World) -> None:
    world.lag, world.used = 60.0, 0.5
    await world.follow(OverloadRule(0.8, 0, 1))
    assert await world.levels(2) == [0, 0]
    world.lag, world.used = 0.0, 0.99
    await world.follow(OverloadRule(0, 1.0, 1))
    assert await world.levels(2) == [0, 0]
    world.used = None
    await world.follow(RULE)
    assert await world.levels(2) == [0, 0]


async def test_a_rule_that_goes_lets_everything_pass(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.lag = 2.0
    await world.follow(RULE)
    await world.levels(3)
    await world.follow(OverloadRule(0.8, 1.5, 9))        # another rule: what is shed stays so
    assert (world.word.shed_below, world.word.retry_s) == (3, 9)
    with caplog.at_level("INFO", logger="proxyd.governor"):
        await world.follow(None)
    assert caplog.messages[-1] == "overload: no longer guarded: nothing is shed"
    assert await world.levels(4) == [0] * 4
    assert (world.guard.view().on, world.tasks.names()) == (False, [])


async def test_the_same_rule_changes_nothing(world: World) -> None:
    world.lag = 2.0
    await world.follow(RULE)
    for _ in range(3):
        await world.follow(RULE)       # no look in between
    assert world.word.shed_below == 1


async def test_what_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert world.guard.view().memory is None
    world.used = 0.85
    with caplog.at_level("INFO", logger="proxyd.governor"):
        await world.follow(RULE)
        await world.levels(1)
        world.used, world.lag = 0.1, 0.125
        await world.levels(9)
    text = "overload: 85% of 1000 MiB of memory are in use, more than 80%"
    assert caplog.messages == [
        f"{text}: requests of class low are shed",
        f"{text}: requests of class low and normal are shed",
        "overload becomes less: requests of class low are still shed",
        "overload is over: nothing is shed",
    ]
    view = world.guard.view()
    assert (view.on, view.level, view.shed, view.raised, view.lowered) == (True, 0, (), 2, 2)
    assert (view.memory, view.delay, view.reason) == (world.memory(), 0.125, "overload is over")
    assert view.since == world.clock.wall()
    world.lag = 1.5
    await world.levels(2)
    view = world.guard.view()
    assert (view.shed, view.reason) == (("low", "normal"), "overload: requests are 1.5 s late, more than 1 s")


async def test_a_source_that_fails_does_not_end_the_guard(world: World) -> None:
    failing = True

    def delay() -> float:
        if failing:
            raise RuntimeError("no engine")
        return 2.0

    guard = OverloadGuard(world.tasks, world.clock, world.word, [delay], memory=world.memory)
    await guard.follow(RULE)
    await world.clock.sleeping(1)
    failing = False
    assert await world.levels(5) == [0, 0, 0, 1, 2]      # it begins again after a second
    await guard.close()


def test_rules_of_the_config() -> None:
    assert overload_rule(None) is None
    assert overload_rule(OverloadConfig()) == OverloadRule(0.9, 1.0, 1)
    config = config_of("""
        listen: :8080
        to: ['127.0.0.1:9']
        runtime: {overload: {memory: none, queue_delay: 250ms, retry_after: 5s}}
    """)
    assert overload_rule(config.runtime.overload) == OverloadRule(0, 0.25, 5)
