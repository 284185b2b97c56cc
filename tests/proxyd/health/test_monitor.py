from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from proxyd.health.check import Address, Check, CheckFailed, HttpCheck, PostgresCheck, RedisCheck, TcpCheck
from proxyd.health.monitor import HealthMonitor, Wanted
from proxyd.tasks import Tasks
from tests.support.clock import FakeClock, settle

CHECK = TcpCheck(interval=5, timeout=60, rise=2, fall=3)    # its timeout is of the real clock


@dataclass
class Server:
    """Stands in for the native handle: remembers what it was told."""

    down: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    ejections: int = 0
    out: bool = False

    def eject(self) -> None:
        self.out = True
        self.ejections += 1

    def state(self) -> dict[str, Any]:
        return {"ejections": self.ejections, "ejected_for_ms": 1_000 if self.out else 0}

    def set_down(self, reason: str, on: bool) -> None:
        assert on != (reason in self.down), "told what it knew"
        (self.down.add if on else self.down.discard)(reason)
        self.told.append(f"{reason} {'on' if on else 'off'}")

    def readmit(self) -> None:
        self.out = False
        self.told.append("readmit")

    def ramp(self) -> None:
        self.told.append("ramp")


class World:
    """Servers that answer checks as the test says, and a clock that it moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tasks = Tasks(self.clock)
        self.answers: dict[str, str] = {}          # host -> "" passes, else why not; absent: the check hangs
        self.asked: list[tuple[str, float]] = []
        self.servers: dict[str, Server] = {}
        self.monitor = HealthMonitor(self.tasks, self.clock, self.probe, jitter=lambda: 0.5)

    async def probe(self, check: Check, address: Address) -> None:
        host = address[0] if not isinstance(check, HttpCheck) else f"{address[0]}{check.path}"
        self.asked.append((host, self.clock.monotonic()))
        if host not in self.answers:
            await asyncio.Event().wait()
        if self.answers[host]:
            raise CheckFailed(self.answers[host])

    def wanted(self, *hosts: str, checks: tuple[Check, ...]) -> list[Wanted]:
        return [Wanted("api", host, (host, 80), self.servers.setdefault(host, Server()), checks) for host in hosts]

    async def apply(self, *hosts: str, check: Check | tuple[Check, ...] = CHECK, keep_others: bool = False) -> None:
        checks = check if isinstance(check, tuple) else (check,)
        await self.monitor.apply(self.wanted(*hosts, checks=checks), keep_others=keep_others)
        await settle()

    def down(self) -> dict[str, set[str]]:
        return {host: server.down for host, server in self.servers.items() if server.down}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.tasks.close()


async def test_all_are_asked_at_once_at_start(world: World) -> None:
    world.answers = {"a": "", "b": "", "c": "no"}
    await world.apply("a", "b", "c")
    assert world.asked == [("a", 1000.0), ("b", 1000.0), ("c", 1000.0)]
    assert world.down() == {"c": {"health"}}


async def test_before_the_first_result_all_are_used_and_with_one_good_the_others_wait(world: World) -> None:
    await world.apply("a", "b")
    assert world.down() == {}
    world.answers = {"b": ""}
    await world.apply("b", check=TcpCheck(interval=7), keep_others=True)   # a new check of b is run at once
    assert world.down() == {"a": {"pending"}}


@pytest.mark.parametrize("kind", [partial(RedisCheck, "replica"), partial(PostgresCheck, "primary", "me")])
async def test_a_role_is_not_guessed(world: World, kind: Callable[..., Check]) -> None:
    check = kind(interval=5, timeout=60, rise=1)
    await world.apply("a", "b", check=check)
    assert world.down() == {"a": {"pending"}, "b": {"pending"}}
    world.answers = {"c": "it is a primary, a replica is wanted"}
    await world.apply("a", "c", check=check)
    assert world.down() == {"a": {"pending"}, "c": {"health"}}, "not even when no other is left"
    world.answers["d"] = ""
    await world.apply("d", check=check)
    assert world.down() == {}


async def test_any_role_may_be_guessed(world: World) -> None:
    await world.apply("a", check=(RedisCheck("any"), PostgresCheck("any", "me")))
    assert world.down() == {}


async def test_a_failed_sibling_does_not_hold_back_the_unknown(world: World) -> None:
    world.answers = {"b": "status 500"}
    await world.apply("a", "b")
    assert world.down() == {"b": {"health"}}


async def test_a_server_added_later_waits_for_its_first_pass(world: World) -> None:
    world.answers = {"a": ""}
    await world.apply("a")
    await world.apply("a", "new", keep_others=True)
    assert world.down() == {"new": {"pending"}}
    world.answers["new"] = ""
    await world.apply("a", "new", check=TcpCheck(interval=6))
    assert world.down() == {}


async def test_it_takes_fall_failures_and_rise_passes(world: World) -> None:
    world.answers = {"a": ""}
    await world.apply("a")
    world.answers["a"] = "connection refused"
    await world.clock.advance(10)
    assert world.down() == {}
    await world.clock.advance(5)
    assert world.down() == {"a": {"health"}}
    (view,) = world.monitor.checks("api", "a")
    assert (view.title, view.verdict) == ("tcp", "down")
    assert (view.result, view.reason, view.passed, view.failed, view.streak, view.at) == ("failed", "connection refused", 1, 3, 3, 1015.0)
    world.answers["a"] = ""
    await world.clock.advance(5)
    assert world.down() == {"a": {"health"}}
    await world.clock.advance(5)
    assert world.down() == {}


async def test_the_next_check_comes_an_interval_after_the_last_began_with_jitter(world: World) -> None:
    world.answers = {"a": ""}
    jitter = iter([0.0, 1.0, 0.5])
    world.monitor.jitter = lambda: next(jitter)
    await world.apply("a")
    await world.clock.advance(15)
    assert [at for _, at in world.asked] == [1000.0, 1004.5, 1010.0, 1015.0]


async def test_an_unchanged_server_is_not_disturbed_by_a_reload(world: World) -> None:
    world.answers = {"a": "no", "b": ""}
    await world.apply("a", "b")
    await world.clock.advance(3)
    await world.apply("a", "b", "c", keep_others=True)
    await world.apply("a", "c")
    assert [host for host, _ in world.asked] == ["a", "b", "c"]
    assert world.servers["a"].told == ["health on"]
    assert world.monitor.checks("api", "b") == ()


async def test_a_changed_check_keeps_the_verdict_until_it_has_its_own(world: World) -> None:
    world.answers = {"a": "no"}
    await world.apply("a")
    del world.answers["a"]
    await world.apply("a", check=TcpCheck(interval=9))
    assert world.down() == {"a": {"health"}}
    assert world.servers["a"].told == ["health on"]


async def test_a_check_that_ends_takes_its_word_back(world: World) -> None:
    world.answers = {"a": "no", "b": ""}
    await world.apply("a", "b", "c")
    assert world.down() == {"a": {"health"}, "c": {"pending"}}
    await world.apply()
    assert world.down() == {}


async def test_an_ejected_server_returns_after_rise_passes(world: World) -> None:
    world.answers = {"a": ""}
    await world.apply("a")
    await world.clock.advance(5)
    world.servers["a"].eject()
    world.monitor.on_ejected("api", "a")
    world.answers["a"] = "no"
    await world.clock.advance(5)
    world.answers["a"] = ""
    await world.clock.advance(5)
    assert world.servers["a"].told == []
    await world.clock.advance(5)
    assert world.servers["a"].told == ["ramp", "readmit"]
    await world.clock.advance(50)
    assert world.servers["a"].told == ["ramp", "readmit"]


async def test_checks_end_the_ejection_that_they_were_told_of_and_no_other(world: World) -> None:
    world.answers = {"a": ""}
    await world.apply("a")
    server = world.servers["a"]
    server.eject()
    world.monitor.on_ejected("api", "a")
    server.out = False                             # its time was over before two checks had passed
    await world.clock.advance(20)
    assert server.told == [], "it is back already, and has begun its slow start"
    server.eject()
    world.monitor.on_ejected("api", "a")
    server.eject()                                 # as an outlier: too slow, say, for which checks are no judges
    await world.clock.advance(20)
    assert (server.told, server.out) == ([], True)


async def test_a_verdict_is_told_in_plain_words(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.answers = {"a": ""}
    with caplog.at_level("INFO", logger="proxyd.health"):
        await world.apply("a")
        world.answers["a"] = "status 503, expected 200-299"
        await world.clock.advance(20)
        world.answers["a"] = ""
        await world.clock.advance(10)
    assert [record.getMessage() for record in caplog.records] == [
        "api: a is down: check failed 3 times: status 503, expected 200-299",
        "api: a is up: 2 checks passed",
    ]


# ---------------------------------------------------------------------- several checks
BOTH: tuple[Check, ...] = (HttpCheck("/live", interval=5, rise=2, fall=2), HttpCheck("/ready", interval=5, rise=2, fall=2))


async def test_every_check_must_pass(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.answers = {"a/live": "", "a/ready": "not yet", "b/live": "", "b/ready": ""}
    with caplog.at_level("INFO", logger="proxyd.health"):
        await world.apply("a", "b", check=BOTH)
        assert world.down() == {"a": {"health"}}
        world.answers["a/ready"] = ""
        await world.clock.advance(10)
        assert world.down() == {}
        world.answers["a/live"] = world.answers["a/ready"] = "gone"
        await world.clock.advance(10)
        world.answers["a/live"] = ""
        await world.clock.advance(10)
        assert world.down() == {"a": {"health"}}
    assert [record.getMessage() for record in caplog.records] == [
        "api: a is down: check GET /ready failed: not yet",
        "api: a is up: 2 checks passed",
        "api: a is down: check GET /live failed 2 times: gone",
        "api: a is down: check GET /ready failed 2 times: gone",
        "api: a: check GET /live passes again, another does not",
    ]
    assert [(view.title, view.verdict, view.reason) for view in world.monitor.checks("api", "a")] == [
        ("GET /live", "up", ""), ("GET /ready", "down", "gone")]


async def test_one_pass_of_two_is_not_enough_for_a_new_server(world: World) -> None:
    world.answers = {"a/live": "", "a/ready": "", "new/live": ""}
    await world.apply("a", check=BOTH)
    await world.apply("a", "new", check=BOTH)
    assert world.down() == {"new": {"pending"}}
    assert world.monitor.tasks.names().count("health api/new GET /ready") == 1


async def test_a_check_that_is_added_to_a_good_server_must_first_fail_to_matter(world: World) -> None:
    world.answers = {"a/live": "", "b/live": ""}
    await world.apply("a", "b", check=BOTH[:1])
    await world.apply("a", "b", check=BOTH)
    world.answers["a/ready"] = ""
    await world.apply("a", "b", check=BOTH)
    assert world.down() == {}
    assert [host for host, _ in world.asked] == ["a/live", "b/live", "a/ready", "b/ready"], "the first check went on as it was"


async def test_a_check_that_is_taken_away_no_longer_holds_the_server(world: World) -> None:
    world.answers = {"a/live": "", "a/ready": "no"}
    await world.apply("a", check=BOTH)
    assert world.down() == {"a": {"health"}}
    await world.apply("a", check=BOTH[:1])
    assert world.down() == {}


async def test_an_ejected_server_returns_when_all_its_checks_passed(world: World) -> None:
    world.answers = {"a/live": "", "a/ready": ""}
    told: list[tuple[str, str]] = []
    world.monitor.on_readmitted = lambda upstream, label: told.append((upstream, label))
    await world.apply("a", check=BOTH)
    world.servers["a"].eject()
    world.monitor.on_ejected("api", "a")
    del world.answers["a/ready"]
    await world.clock.advance(20)
    assert (world.servers["a"].told, told) == ([], [])
    await world.apply("a", check=(BOTH[0],))       # while the other hangs
    await world.clock.advance(5)
    assert (world.servers["a"].told, told) == (["ramp", "readmit"], [("api", "a")])


# ---------------------------------------------------------------------- rhythm and start
async def test_the_rhythm_changes_with_how_the_server_does(world: World) -> None:
    world.answers = {"a": ""}
    await world.apply("a", check=TcpCheck(interval=10, interval_failing=1, interval_down=30, fall=3, rise=1))
    world.answers["a"] = "no"
    await world.clock.advance(12)
    world.answers["a"] = ""
    await world.clock.advance(48)
    assert [at - 1000 for _, at in world.asked] == [0, 10, 11, 12, 42, 52]


async def test_jitter_is_a_share_of_the_pause(world: World) -> None:
    world.answers = {"a": ""}
    world.monitor.jitter = lambda: 1.0
    await world.apply("a", check=TcpCheck(interval=10, jitter=0.5))
    await world.clock.advance(30)
    assert [at - 1000 for _, at in world.asked] == [0, 15, 30]


async def test_initial_up_waits_for_nothing(world: World) -> None:
    world.answers = {"a": ""}
    check = TcpCheck(interval=5, initial="up")
    await world.apply("a", check=check)
    await world.apply("a", "new", check=check)
    assert world.down() == {}
    world.answers["other"] = "no"
    await world.apply("a", "new", "other", check=check)
    assert world.down() == {"other": {"health"}}


# ---------------------------------------------------------------------- slow start
async def test_no_slow_start_at_process_start(world: World) -> None:
    world.answers = {"a": ""}
    await world.apply("a", "b")
    assert world.down() == {"b": {"pending"}}
    world.answers["b"] = ""
    await world.apply("a", "b", check=TcpCheck(interval=6))
    assert [server.told for server in world.servers.values()] == [[], ["pending on", "pending off"]]


async def test_a_server_that_joins_starts_slowly_once_it_has_passed(world: World) -> None:
    world.answers = {"a": "", "new": "no"}
    await world.apply("a")
    await world.apply("a", "new", keep_others=True)
    await world.apply("a", "new")
    assert world.servers["new"].told == ["pending on", "health on", "pending off"]
    world.answers["new"] = ""
    await world.clock.advance(10)
    assert world.servers["new"].told[3:] == ["ramp", "health off"]


async def test_what_a_reload_tells_is_announced_when_it_is_done(world: World) -> None:
    changes: list[str] = []
    world.monitor.on_change = changes.append
    world.answers = {"a": ""}
    await world.apply("a")
    changes.clear()
    await world.apply("a", "new", keep_others=True)
    assert changes == []
    await world.apply("a", "new")
    assert changes == ["api"], "new is pending"
    await world.apply("a", "new")
    assert changes == ["api"]


async def test_a_server_without_a_check_that_joins_starts_slowly_at_once(world: World) -> None:
    await world.apply("a", check=())
    await world.apply("a", "new", check=())
    await world.apply("a", "new", check=())
    assert [server.told for server in world.servers.values()] == [[], ["ramp"]]


async def test_a_server_that_returns_starts_slowly_before_it_is_opened(world: World) -> None:
    world.answers = {"a": "no"}
    await world.apply("a", check=TcpCheck(rise=1))
    world.answers["a"] = ""
    await world.clock.advance(5)
    assert world.servers["a"].told == ["health on", "ramp", "health off"]
