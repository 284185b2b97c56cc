from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from proxyd.health.ejections import Ejections
from proxyd.health.outliers import Latency, OutlierPolicy
from proxyd.health.passive import Judged, Outliers, out_limit
from proxyd.tasks import Tasks
from tests.support.clock import FakeClock, settle
from tests.support.ejectable import FakeServer

POLICY = OutlierPolicy(window=10, eject=30, eject_max=70, max_ejected=0.5, error_rate=0.5, min_requests=20)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tasks = Tasks(self.clock)
        self.ejections = Ejections(self.tasks, self.clock)
        self.outliers = Outliers(self.tasks, self.clock, self.ejections)
        self.servers: dict[str, FakeServer] = {}

    async def apply(self, labels: str, policy: OutlierPolicy = POLICY) -> None:
        servers = tuple((label, self.servers.setdefault(label, FakeServer(self.clock))) for label in labels)
        await self.outliers.apply([Judged("api", policy, servers)])
        await settle()

    async def window(self, **failed: int) -> None:
        """A window in which every server has 100 requests, of which so many fail."""
        for label, server in self.servers.items():
            if not server.ejected_for_ms:
                server.serve(100 - failed.get(label, 0), failed.get(label, 0))
        await self.clock.advance(10)

    def ejected(self) -> list[str]:
        return [text for label, server in self.servers.items() for text in [f"{label} {said}" for said in server.told] if "eject" in text]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.tasks.close()


async def test_a_server_that_fails_in_the_window_is_ejected(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.apply("abc")
    await world.window(b=49)
    assert world.ejected() == []
    await world.window(b=62)
    assert world.ejected() == ["b eject 30000"]
    assert [record.getMessage() for record in caplog.records] == ["api: b left: error rate 62 % of 100 requests; back in 30 s"]


async def test_what_was_before_the_first_window_is_not_counted(world: World) -> None:
    world.servers["a"] = FakeServer(world.clock, requests={500: 1_000_000})
    await world.apply("ab")
    await world.window()
    assert world.ejected() == []


async def test_time_grows_with_each_ejection_up_to_its_bound_and_shrinks_with_healthy_windows(world: World) -> None:
    await world.apply("abc")

    async def round_trip() -> None:
        """Fail, be out, return at the end of some window, and have that window go by."""
        await world.window(b=100)
        while world.servers["b"].ejected_for_ms:
            await world.window()

    for _ in range(3):
        await round_trip()
    assert world.ejected() == ["b eject 30000", "b eject 60000", "b eject 70000"]
    for _ in range(2):
        await world.window()
    await world.window(b=100)
    assert world.ejected()[3:] == ["b eject 60000"]


async def test_the_engines_ejections_are_forgiven_as_well(world: World) -> None:
    await world.apply("ab", OutlierPolicy())
    world.servers["b"].eject(3_000)
    world.servers["b"].eject(3_000)
    await world.window()
    assert world.servers["b"].in_row == 2, "it was ejected in this window, and is back"
    await world.window()
    assert world.servers["b"].in_row == 1
    world.servers["b"].down = ["health"]
    await world.window()
    assert world.servers["b"].in_row == 1


async def test_not_more_than_the_share_and_the_engines_ejections_count(world: World) -> None:
    await world.apply("abcd")
    world.servers["a"].until = 2_000.0
    await world.window(b=90, c=95, d=80)
    assert world.ejected() == ["c eject 30000"], "two of four, the worst first"


async def test_one_usable_server_is_always_left(world: World) -> None:
    await world.apply("abc", OutlierPolicy(error_rate=0.5, max_ejected=1.0))
    world.servers["a"].down = ["maint"]
    await world.window(a=100, b=100, c=100)
    assert world.ejected() == ["b eject 30000"], "a is out of service, so that c is the last one"


async def test_a_lone_server_stays(world: World) -> None:
    await world.apply("a")
    await world.window(a=100)
    assert world.ejected() == []


async def test_a_server_that_comes_is_judged_from_its_first_whole_window(world: World) -> None:
    await world.apply("ab")
    world.servers["c"] = FakeServer(world.clock)
    world.servers["c"].serve(0, 100)
    await world.apply("abc")
    await world.window(c=0)
    assert world.ejected() == []
    await world.window(c=100)
    assert world.ejected() == ["c eject 30000"]


async def test_another_server_of_the_same_name_is_another_one(world: World) -> None:
    await world.apply("ab")
    await world.window()
    world.servers["b"] = FakeServer(world.clock)
    world.servers["b"].serve(0, 500)
    await world.apply("ab")
    await world.window()
    assert world.ejected() == []


async def test_an_unchanged_policy_keeps_its_window_and_another_begins_anew(world: World) -> None:
    await world.apply("ab")
    world.servers["b"].serve(0, 100)
    await world.clock.advance(9)
    await world.apply("ab")
    await world.clock.advance(1)
    assert world.ejected() == ["b eject 30000"]
    world.servers["a"].serve(0, 100)
    await world.apply("ab", OutlierPolicy(latency=Latency()))
    await world.clock.advance(20)
    assert world.ejected() == ["b eject 30000"]


async def test_an_upstream_that_leaves_is_not_looked_at(world: World) -> None:
    await world.apply("ab")
    assert world.tasks.names() == ["outliers api"]
    await world.outliers.apply([])
    assert world.tasks.names() == []
    await world.window(b=100)
    assert world.ejected() == []


@pytest.mark.parametrize(("servers", "share", "limit"), [(1, 1.0, 0), (2, 0.1, 1), (10, 0.3, 3), (10, 1.0, 9), (3, 0.5, 1), (10, 0.29, 2)])
def test_how_many_may_be_out(servers: int, share: float, limit: int) -> None:
    assert out_limit(servers, share) == limit
