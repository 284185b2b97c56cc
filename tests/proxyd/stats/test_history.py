"""The last quarter of an hour, second by second."""
from __future__ import annotations

import asyncio

import pytest

from proxyd.stats import history
from tests.proxyd.stats.world import Route, Server, Upstream, World
from tests.support.client import get
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin


def busy() -> tuple[World, Route]:
    world, route = World(), Route()
    world.routes.append(route)
    world.look()
    return world, route


def test_totals_of_a_time() -> None:
    world, route = busy()
    for count in (10, 20, 30):
        route.answer(times=count)
        route.answer(502, fault="connect_refused")
        world.second()
    since = world.clock.monotonic() - 2.0
    found = world.history.totals(since)
    assert (found.seconds, found.requests, found.errors, found.proxy_errors) == (2.0, 52, 2, 2)
    assert world.history.totals().requests == 63
    assert found.quantile(0.5) == pytest.approx(0.00375)


def test_a_point_counts_when_most_of_it_lies_behind() -> None:
    world, route = busy()
    route.answer()
    world.second()
    now = world.clock.monotonic()
    assert [world.history.totals(now - back).requests for back in (0.0, 0.4, 0.6, 1.0)] == [0, 0, 1, 1]


def test_a_look_begins_another_point() -> None:
    world, route = busy()
    route.answer(times=5)
    world.clock.pass_time(0.3)
    point = world.look()
    assert point.seconds == pytest.approx(0.3)
    since = world.clock.monotonic()
    route.answer(times=2)
    world.clock.pass_time(0.7)
    world.look()
    assert world.history.totals(since).requests == 2


def test_of_one_route() -> None:
    world = World()
    world.routes = [Route("web", "api"), Route("tls", "api"), Route("web", "media")]
    world.look()
    for count, route in enumerate(world.routes):
        route.answer(times=10 ** count)
    world.second()
    names = ("api", "web/api", "tls/api", "media", "nobody")
    assert [world.history.totals(route=name).requests for name in names] == [11, 1, 10, 100, 0]


def test_of_one_upstream_with_what_its_servers_did() -> None:
    world, one, two = World(), Server("app", "10.0.0.1:80"), Server("app", "10.0.0.2:80")
    world.upstreams = [Upstream("app", one, two), Upstream("other")]
    world.look()
    one.requests, two.requests, two.errors = {200: 8}, {500: 1}, {"connect_refused": 2}
    world.upstreams[0].buckets[3] = 9
    world.second()
    found = world.history.totals(upstream="app")
    assert (found.requests, found.errors, found.proxy_errors, found.classes) == (11, 3, 2, {"2xx": 8, "5xx": 1})
    assert found.quantile(1.0) == 0.005
    assert world.history.totals(upstream="other").requests == 0


def test_a_reload_changes_what_is_looked_at_and_loses_nothing() -> None:
    world, old = busy()
    old.answer(times=4)
    world.routes, world.generation = [Route()], 2
    world.routes[0].answer(times=2)
    world.second()
    assert world.history.totals(route="api").requests == 6
    key, handle = ("web", "api"), world.history.routes["web", "api"]
    assert sum(world.tallies.routes.row(key, handle)[:6]) == 6


def test_what_came_and_went_within_a_second_counts() -> None:
    world, _ = busy()
    world.routes.append(Route(route="brief"))
    world.serve()
    world.routes.pop().answer(times=3)
    world.second()
    assert (world.history.totals().requests, world.history.totals(route="brief").requests) == (3, 3)


def test_fifteen_minutes_are_kept() -> None:
    world, route = busy()
    for _ in range(history.POINTS + 5):
        route.answer()
        world.second()
    assert (world.history.totals().requests, len(world.history.points(5_000))) == (900, 900)
    assert [point.at for point in world.history.points(2)] == [world.clock.monotonic() - 1, world.clock.monotonic()]


def test_parts_of_old_points_are_let_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PARTS_LIMIT", 6)
    world = World()
    world.routes = [Route(route="one"), Route(route="two")]
    for _ in range(5):
        for route in world.routes:
            route.answer()
        world.second()
    assert world.history.totals().requests == 10
    of_one = world.history.totals(route="one")
    assert (of_one.requests, of_one.seconds) == (3, 3.0), "it says how much of the time it knows"
    assert [None if row is None else row[1] for row in history.named(world.history.points(5), "one", "")] == [None, None, 1, 1, 1]
    assert [row and row[1] for row in history.named(world.history.points(5), "", "")] == [2] * 5


def test_gauges() -> None:
    world, _ = busy()
    world.listener = {"accepted": 7, "open": 3, "in_flight": 2}
    world.engine, world.dropped = {"cpu_seconds": 0.25, "loop_lag_seconds": 0.004, "heartbeat": 9}, 5
    world.second()
    assert world.history.points(1)[0].gauges == history.Gauges(3, 2, 7, 0.25, 0.004, 5, (9,))
    world.listener["accepted"], world.dropped = 5, 0                      # a listener left, and another sink is written
    world.second()
    gauges = world.history.points(1)[0].gauges
    assert (gauges.accepted, gauges.dropped) == (0, 0)


async def test_it_looks_once_a_second() -> None:
    world = World()
    seen: list[float] = []
    world.history.on_point = lambda point: seen.append(point.at)
    task = asyncio.create_task(world.history.run())
    await world.clock.sleeping(1)
    await world.clock.advance(3.0)
    assert seen == [1_000.0, 1_001.0, 1_002.0, 1_003.0]
    task.cancel()


async def test_of_a_daemon_over_a_reload() -> None:
    async with Origin("one") as one:
        text = f'listen: "127.0.0.1:0"\nto: app\nupstreams: {{app: {{servers: ["{one.address}"]}}}}\n'
        async with running(text) as daemon:
            port = port_of(daemon)
            for _ in range(3):
                assert (await get(port)).status == 200
            daemon.history.look()
            before = daemon.history.totals()
            assert (before.requests, before.classes, daemon.history.totals(upstream="app").requests) == (3, {"2xx": 3}, 3)
            again = whole_config(text.replace("to: app", "routes: [{name: other, to: app}]"))
            assert (await daemon.reload(again)).ok
            await get(port)
            daemon.history.look()
            assert [daemon.history.totals(route=name).requests for name in ("", "other")] == [4, 1]
