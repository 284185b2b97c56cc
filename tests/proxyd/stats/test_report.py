"""What `/stats` tells, held against the counters and against `/metrics`."""
from __future__ import annotations

import json

import pytest

from proxyd.daemon import Daemon
from proxyd.metrics.exposition import Exposition
from proxyd.stats.history import named
from proxyd.stats.report import RECENT, columns, report, whole_report
from tests.proxyd.stats.world import Route, Server, Upstream, World
from tests.support.client import connect, get
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin
from tests.support.wait import until


async def samples(exposition: Exposition, name: str) -> float:
    """The sum over a family of `/metrics`."""
    page, _ = await exposition.render("")
    return sum(float(line.rpartition(" ")[2]) for line in page.decode().splitlines() if line.startswith(f"{name}{{"))


async def test_it_agrees_with_metrics_to_the_request_over_reloads() -> None:
    async with Origin("one") as one:
        base = f'listen: "127.0.0.1:0"\nupstreams: {{app: {{servers: ["{one.address}", {{address: "127.0.0.1:1", weight: 1}}]}}}}\n'
        both = base + "routes: [{name: a, match: /a, to: app}, {name: b, match: /b, to: app}]\n"
        other = base + "routes: [{name: a, match: /a, to: app}]\n"
        async with running(both) as daemon:
            exposition = Exposition(daemon, "test")
            for text in (both, other, both):
                await daemon.reload(whole_config(text))
                for path in ("/a", "/b", "/a?x", "/none"):
                    await get(port_of(daemon), path)
                found = whole_report(daemon)
                assert found["total"]["requests"] == await samples(exposition, "proxyd_http_requests_total")
                assert found["total"]["proxy_errors"] == await samples(exposition, "proxyd_http_errors_total")
                assert sum(found["total"]["codes"].values()) == found["total"]["requests"]
                upstream, = found["upstreams"]
                answers = await samples(exposition, "proxyd_upstream_requests_total")
                failures = await samples(exposition, "proxyd_upstream_errors_total")
                assert (upstream["requests"], upstream["proxy_errors"]) == (answers + failures, failures)
            rows = {entry["route"]: entry for entry in found["routes"]}
            assert [rows[name]["requests"] for name in ("a", "b", "-")] == [6, 2, 4]
            assert rows["-"]["codes"] == {"404": 4}
            assert rows["-"]["failures"] == {"no_route": 4}
            json.dumps(found)


async def test_what_goes_and_returns_between_two_scrapes_is_told_to_the_request_by_both() -> None:
    """A route, its upstream and servers, and a listener; asked before, between and after, and with more requests than before."""
    async with Origin("one") as one, Origin("two") as two:
        base = 'listeners: {web: {bind: "127.0.0.1:0"}'
        upstreams = f'}}\nupstreams: {{app: {{servers: ["{one.address}"]}}, rest: {{servers: ["{two.address}"]}}}}\n'
        without = base + upstreams + "routes: [{name: rest, to: rest}]\n"
        whole = base + ', side: {bind: "127.0.0.1:0"}' + upstreams + "routes: [{name: a, match: /a, to: app}, {name: rest, to: rest}]\n"
        async with running(whole) as daemon:
            exposition = Exposition(daemon, "test")
            asked = 0
            await daemon.metrics.render("")
            for round_ in range(1, 4):
                for _ in range(2):                   # goes and returns twice: nobody looks meanwhile
                    asked += round_
                    for _ in range(round_):
                        await get(port_of(daemon, "side"), "/a")
                    assert (await daemon.reload(whole_config(without))).ok
                    assert (await get(port_of(daemon, "web"), "/a")).body == b"two"
                    assert (await daemon.reload(whole_config(whole))).ok
                page, _ = await exposition.render("")
                found = whole_report(daemon)
                row, = (row for row in found["routes"] if (row["listener"], row["route"]) == ("side", "a"))
                listeners = [row["accepted"] for row in found["listeners"] if row["name"] == "side"]
                app, = (row for row in found["upstreams"] if row["name"] == "app")
                told = [row["requests"], row["codes"]["200"], sum(listeners), app["requests"], app["servers"][0]["requests"]]
                names = (
                    'http_requests_total{code="200",listener="side",method="GET",route="a"}',
                    'http_request_duration_seconds_count{listener="side",route="a"}',
                    'connections_accepted_total{listener="side"}',
                    f'upstream_requests_total{{code="200",server="{one.address}",upstream="app"}}',
                    'upstream_response_duration_seconds_count{upstream="app"}',
                )
                assert [value_of(page, f"proxyd_{name}") for name in names] == told == [asked] * 5
                assert found["total"]["requests"] == await samples(exposition, "proxyd_http_requests_total")
            daemon.history.look()
            assert daemon.history.totals(route="side/a").requests == asked
            assert (daemon.history.totals().requests, daemon.history.totals(upstream="app").requests) == (asked + 6, asked)
            assert sum(view.requests for view in daemon.routes() if view.route == "a") == asked
            assert daemon.upstreams()[0].servers[0].requests == asked


def value_of(page: bytes, series: str) -> float:
    value, = (line.removeprefix(series) for line in page.decode().splitlines() if line.startswith(series))
    return float(value)


def bytes_of(daemon: Daemon) -> int:
    """From the first server."""
    found: int = report(daemon)["upstreams"][0]["servers"][0]["bytes_in"]
    return found


async def test_a_server_that_a_flow_still_holds_counts_on() -> None:
    """Its upstream has left and returned meanwhile, with another handle of the same name."""
    async with Origin("one") as one, Origin("two") as two:
        def config(origin: Origin) -> str:
            return (f'listeners: {{pg: {{bind: "127.0.0.1:0", mode: tcp, to: {origin.name}}}}}\n'
                    f'upstreams: {{{origin.name}: {{servers: ["{origin.address}"]}}}}\n')

        async with running(config(one)) as daemon, connect(port_of(daemon, "pg")) as flow:
            await flow.get()
            before = bytes_of(daemon)
            for text in (config(two), config(one)):
                assert (await daemon.reload(whole_config(text))).ok
            await until(lambda: daemon.tallies.servers.past(("one", one.address)) is not None, "the handle is let go")
            await flow.get()
            page, _ = await Exposition(daemon, "test").render("")
            moved = value_of(page, f'proxyd_upstream_bytes_total{{direction="in",server="{one.address}",upstream="one"}}')
            assert bytes_of(daemon) == moved == 2 * before > 0
            assert value_of(page, f'proxyd_upstream_flows_total{{server="{one.address}",upstream="one"}}') == 1


async def test_the_last_seconds_stand_beside_the_sums() -> None:
    async with Origin("one") as one, running(f'listen: "127.0.0.1:0"\nto: ["{one.address}"]\n') as daemon:
        await get(port_of(daemon))
        daemon.history.look()
        await get(port_of(daemon))
        before = report(daemon)
        assert (before["total"]["requests"], before["total"]["recent"]["requests"]) == (2, 1), "one second is not over yet"
        for _ in range(RECENT):
            daemon.history.look()
        found = report(daemon)
        assert [found["total"]["recent"]["requests"], found["routes"][0]["recent"]["requests"]] == [1, 1]
        assert found["upstreams"][0]["servers"][0]["requests"] == 2
        assert found["total"]["p99"] > 0
        assert (found["routes"][1]["p50"], found["listeners"][0]["accepted"], found["cache"]) == (None, 2, None)


async def test_the_busiest_routes_in_the_order_of_the_config() -> None:
    routes = ", ".join(f'{{name: r{number}, match: "/{number}", respond: 204}}' for number in range(5))
    async with running(f'listen: "127.0.0.1:0"\nroutes: [{routes}]\n') as daemon:
        for path in ("/1", "/3", "/3"):
            await get(port_of(daemon), path)
        found = report(daemon, routes=2)
        assert [entry["route"] for entry in found["routes"]] == ["r1", "r3"]
        assert (found["routes_left_out"], found["total"]["requests"]) == (4, 3)


def test_columns_of_a_chart() -> None:
    world = World()
    world.routes, world.upstreams = [Route()], [Upstream("app", Server("app", "10.0.0.1:80"))]
    world.look()
    world.routes[0].answer(503, times=4)
    world.upstreams[0].servers[0].errors = {"connect_refused": 2}
    world.listener["in_flight"] = 9
    world.second()
    points = world.history.points(900)
    found = columns(points, named(points, "", ""))
    assert (found["at"], found["seconds"]) == ([1_000.0, 1_001.0], [1.0, 1.0])
    assert (found["requests"], found["errors"], found["in_flight"]) == ([0, 4], [0, 4], [0, 9])
    assert found["p50"] == [None, pytest.approx(0.00375)]
    of_app = columns(points, named(points, "", "app"), tries=True)
    assert (of_app["requests"], of_app["errors"]) == ([0, 2], [0, 2])
    points[0].parts = None
    assert columns(points, named(points, "api", ""))["requests"] == [None, 4]
