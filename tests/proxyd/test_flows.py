"""Listeners that pass on what comes, carried out by the daemon with its real engines."""
from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxyd.daemon import Daemon
from proxyd.metrics.exposition import Exposition
from proxyd.snapshot.explain_flow import FlowQuestion
from proxyd.state import FlowView
from tests.support.client import Client, connect, get
from tests.support.clock import FakeClock
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin
from tests.support.wait import until

UNJUDGED = "health: {passive: none}"


def config(*origins: Origin, bind: str = "127.0.0.1:0", mode: str = "tcp", more: str = "", upstream: str = UNJUDGED) -> str:
    servers = ", ".join(f'"{origin.address}"' for origin in origins)
    return (f'listeners: {{pg: {{bind: "{bind}", mode: {mode}, to: app{more}}}}}\n'
            f"upstreams: {{app: {{servers: [{servers}], {upstream}}}}}\n")


def flow_of(daemon: Daemon, listener: str = "pg") -> FlowView:
    view = next(view.flow for view in daemon.status().listeners if view.name == listener)
    assert view is not None
    return view


async def closed(client: Client) -> bool:
    """Whether the connection has ended within reason."""
    try:
        async with asyncio.timeout(5):
            return await client.reader.read() == b""
    except ConnectionResetError:
        return True


async def page_of(daemon: Daemon) -> dict[tuple[str, ...], float]:
    """Samples by name and label values, which stand in the order of their labels' names."""
    body, _ = await Exposition(daemon, "1").render("")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode()) for sample in family.samples
    }


@pytest.mark.parametrize("threads", [0, 2])
async def test_what_is_told_of_flows(threads: int) -> None:
    async with Origin("one") as one, running(config(one), threads=threads) as daemon, connect(port_of(daemon, "pg")) as client:
        assert (await client.get()).body == b"one"
        await until(lambda: flow_of(daemon).bytes_out > 0)
        view, = daemon.status().listeners
        flow = flow_of(daemon)
        assert (view.mode, view.accepted, view.open, flow.open) == ("tcp", 1, 1, 1)
        assert flow.bytes_in > len("GET / HTTP/1.1")
        assert flow.routes == (("pg", "*", "to app"),)
        assert daemon.routes() == ()
        server, = daemon.upstreams()[0].servers
        assert (server.flows, server.in_flight, server.requests) == (1, 1, 0)
        assert sum(engine.flows for engine in daemon.status().engines) == 1
        decision, = daemon.explain_flow(FlowQuestion("tcp", port=port_of(daemon, "pg")))
        assert (decision.route, decision.targets[0].servers[0].in_flight) == ("pg", 1)
        client.writer.close()
        await until(lambda: flow_of(daemon).ended == {"client": 1})
        page = await page_of(daemon)
        assert page[("proxyd_tcp_connections_total", "pg")] == 1
        assert page[("proxyd_l4_flows", "pg")] == 0
        assert page[("proxyd_l4_flow_ends_total", "pg", "client")] == 1
        assert page[("proxyd_l4_bytes_total", "out", "pg")] == flow_of(daemon).bytes_out
        assert page[("proxyd_upstream_flows_total", one.address, "app")] == 1


async def test_flows_of_a_server_in_maintenance_are_closed_where_that_is_wanted() -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(Origin(name)) for name in ("one", "two")]
        daemon = await stack.enter_async_context(running(config(one, two, upstream="health: {passive: none}, on_down: close")))
        clients = [await stack.enter_async_context(connect(port_of(daemon, "pg"))) for _ in range(2)]
        names = {(await client.get()).body.decode(): client for client in clients}
        assert set(names) == {"one", "two"}
        await daemon.set_server("app", one.address, {"state": "maint"}, by="test")
        assert await closed(names["one"])
        assert flow_of(daemon).ended == {"down": 1}
        assert (await names["two"].get()).status == 200


async def test_flows_of_a_server_that_fails_its_check_are_closed_too() -> None:
    health = "health: {passive: none, active: {tcp: {}, interval: 100ms, timeout: 100ms, fall: 1, rise: 1}}, on_down: close"
    async with Origin("one") as one, Origin("two") as two, running(config(one, two, upstream=health)) as daemon:
        await until(lambda: all(server.checks[0].passed for server in daemon.upstreams()[0].servers))
        async with connect(port_of(daemon, "pg")) as first, connect(port_of(daemon, "pg")) as second:
            names = {(await client.get()).body: client for client in (first, second)}
            server = one._server            # it accepts nobody any more, and goes on with whom it has
            assert server is not None
            server.close()
            assert await closed(names[b"one"])
            assert (await names[b"two"].get()).status == 200


async def test_flows_of_a_drained_server_have_their_time() -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(Origin(name)) for name in ("one", "two")]
        daemon = await stack.enter_async_context(running(config(one, two, more=", flow: {drain_timeout: 100ms}")))
        clients = [await stack.enter_async_context(connect(port_of(daemon, "pg"))) for _ in range(2)]
        names = {(await client.get()).body: client for client in clients}
        await daemon.set_server("app", one.address, {"state": "drain"}, by="test")
        assert (await names[b"one"].get()).status == 200
        assert await closed(names[b"one"])
        assert flow_of(daemon).ended == {"drain": 1}


async def test_a_drain_waits_for_flows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "proxyd")
    async with Origin("one") as one, running(config(one)) as daemon, connect(port_of(daemon, "pg")) as client:
        await client.get()
        daemon.stop()
        left = asyncio.create_task(daemon.wait())
        await until(lambda: daemon.phase == "draining")
        assert (await client.get()).status == 200
        client.writer.close()
        assert await left == 0
    assert "draining: 0 requests and 1 flow under way, for 30 s at most" in caplog.text
    assert "cut off" not in caplog.text


async def test_a_drain_that_is_cut_short_tells_of_flows(caplog: pytest.LogCaptureFixture) -> None:
    async with Origin("one") as one, running(config(one)) as daemon, connect(port_of(daemon, "pg")) as client:
        await client.get()
        daemon.stop()
        left = asyncio.create_task(daemon.wait())
        await until(lambda: daemon.phase == "draining")
        daemon.stop(now=True)
        assert await left == 0
        assert await closed(client)
    assert "leaving at once: 0 requests and 1 flow cut off" in caplog.text


async def test_a_reload_cuts_no_flow_and_one_more_listener_has_the_same_port() -> None:
    async with Origin("one") as one, running(config(one)) as daemon, connect(port_of(daemon, "pg")) as client:
        await client.get()
        port = port_of(daemon, "pg")
        both = (f'listeners:\n  pg: {{bind: "127.0.0.1:0", mode: tcp, to: app}}\n  dns: {{bind: "127.0.0.1:{port}", mode: udp, to: app}}\n'
                f'upstreams: {{app: {{servers: ["{one.address}"], health: {{passive: none}}}}}}\n')
        result = await daemon.reload(whole_config(both))
        assert result.ok, result.diagnostics
        assert {(view.name, view.mode): view.address for view in daemon.status().listeners} == {
            ("pg", "tcp"): f"127.0.0.1:{port}", ("dns", "udp"): f"127.0.0.1:{port}"}
        assert (await client.get()).status == 200


async def test_a_listener_that_changes_its_mode_is_another_one() -> None:
    async with Origin("one") as one, running(config(one, bind="127.0.0.1:0")) as daemon, connect(port_of(daemon, "pg")) as client:
        await client.get()
        port = port_of(daemon, "pg")
        assert (await daemon.reload(whole_config(config(one, bind=f"127.0.0.1:{port}")))).ok
        result = await daemon.reload(whole_config(config(one, bind=f"127.0.0.1:{port}", mode="http")))
        assert result.ok, result.diagnostics
        assert (await get(port)).status == 200
        view, = (view for view in daemon.status().listeners if not view.leaving)
        assert (view.mode, view.flow) == ("http", None)
        assert daemon.routes()[0].requests == 1, "requests are counted, where flows were before"
        assert (await client.get()).status == 200, "flows outlive the listener that they came through"


async def test_a_server_that_takes_no_connections_is_ejected() -> None:
    clock = FakeClock()
    upstream = "health: {passive: {error_rate: 40%, window: 10s, eject: 60s, consecutive_5xx: none}}"
    with socket.create_server(("127.0.0.1", 0)) as gone:
        dead = Origin("dead", port=gone.getsockname()[1])
    async with Origin("one") as one, running(config(one, dead, upstream=upstream), clock=clock) as daemon:
        for _ in range(60):
            async with connect(port_of(daemon, "pg")) as client:
                assert (await client.get()).body == b"one"
        await clock.advance(10)
        good, bad = daemon.upstreams()[0].servers
        assert (good.state, bad.state) == ("up", "ejected")
        assert bad.reason.startswith("error rate 100 % of ")


async def test_flows_of_a_listener_that_left_are_told_until_they_end() -> None:
    async with Origin("one") as one, running(config(one)) as daemon, connect(port_of(daemon, "pg")) as client:
        assert (await client.get()).body == b"one"
        assert (await daemon.reload(whole_config('listen: "127.0.0.1:0"\nroutes: [{respond: 200}]\n'))).ok
        left = next(view for view in daemon.status().listeners if view.leaving)
        assert (left.name, left.mode, left.open) == ("pg", "tcp", 1)
        assert (await client.get()).body == b"one", "its flow is served out"
        page = await page_of(daemon)
        assert (page["proxyd_l4_flows", "pg"], page["proxyd_tcp_connections_total", "pg"]) == (1, 1)
        assert page["proxyd_l4_bytes_total", "out", "pg"] > 0
        client.writer.close()
        await until(lambda: not any(view.leaving for view in daemon.status().listeners), "the flow ends, and the listener goes")
        assert ("proxyd_l4_flows", "pg") not in await page_of(daemon)
