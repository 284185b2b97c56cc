"""What the config asks of health checks and outlier tests, carried out by the daemon with its real engines."""
from __future__ import annotations

import asyncio

from proxyd.daemon import Daemon
from proxyd.state import GovernorView
from tests.support.client import get
from tests.support.clock import FakeClock
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin, Talk, answer
from tests.support.wait import until


def config(*origins: Origin, health: str = "{passive: none}", extra: str = "") -> str:
    servers = ", ".join(f'"{origin.address}"' for origin in origins)
    return f'listen: "127.0.0.1:0"\nto: app\nupstreams: {{app: {{servers: [{servers}], health: {health}, retry: none{extra}}}}}\n'


def by_path(**answers: Talk) -> Talk:
    """`z=answer(...)` for /z, `other` for every other path."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        path = head.split(b" ", 2)[1].decode().lstrip("/")
        return await answers.get(path, answers["other"])(reader, writer, head)

    return talk


def in_turn(*answers: Talk) -> Talk:
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        nonlocal count
        count += 1
        return await answers[count % len(answers)](reader, writer, head)

    return talk


RHYTHM = "interval: 100ms, timeout: 100ms"
BOTH = f"{{active: [{{path: /live, {RHYTHM}}}, {{path: /ready, body: yes-it-is, {RHYTHM}}}]}}"


async def test_every_check_of_a_server_must_pass_and_each_is_shown() -> None:
    async with Origin("one") as one, Origin("two") as two:
        one.answer = two.answer = by_path(ready=answer(200, b"yes-it-is"), live=answer(200), other=answer(200, b"x"))
        async with running(config(one, two, health=BOTH)) as daemon:
            await until(lambda: all(check.passed for server in daemon.upstreams()[0].servers for check in server.checks))
            two.answer = by_path(ready=answer(200, b"not yet"), live=answer(200), other=answer(200, b"x"))
            await until(lambda: daemon.upstreams()[0].servers[1].state == "down")
            view = daemon.upstreams()[0].servers[1]
            assert [(check.title, check.verdict) for check in view.checks] == [("GET /live", "up"), ("GET /ready", "down")]
            assert view.reason == 'check GET /ready failed: body is "not yet", expected containing "yes-it-is"'
            (entry,) = daemon.upstream_entries()
            assert entry.servers[1].check_results["failed"] >= 3
            two.answer = one.answer
            await until(lambda: daemon.upstreams()[0].usable == 2)


async def served(port: int, times: int) -> set[int]:
    """The statuses of so many requests, one after another."""
    return {(await get(port)).status for _ in range(times)}


def weights(daemon: Daemon) -> dict[str, float]:
    """What the balancer draws from."""
    (entry,) = daemon.upstream_entries()
    assert entry.state.pool is not None
    return dict(entry.state.pool.describe()["active"])


SLOW = ", slow_start: 1h"


async def test_tables_follow_the_checks_and_a_server_that_returns_starts_slowly() -> None:
    health = f"{{active: {{path: /live, {RHYTHM}, rise: 1, fall: 1}}}}"
    async with Origin("one") as one, Origin("two") as two, running(config(one, two, health=health, extra=SLOW)) as daemon:
        await until(lambda: all(server.checks[0].passed for server in daemon.upstreams()[0].servers))
        assert weights(daemon) == {one.address: 1.0, two.address: 1.0}, "no slow start at process start"
        two.answer = answer(500)
        await until(lambda: set(weights(daemon)) == {one.address})
        two.answer = answer(200)
        await until(lambda: set(weights(daemon)) == {one.address, two.address})
        assert weights(daemon)[two.address] < 0.1 < weights(daemon)[one.address]


async def test_a_server_that_joins_starts_slowly() -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one, extra=SLOW)) as daemon:
        assert (await daemon.reload(whole_config(config(one, two, extra=SLOW)))).ok
        await until(lambda: weights(daemon)[two.address] < 0.1)
        assert weights(daemon)[one.address] == 1.0


async def test_a_server_that_fails_half_of_its_requests_is_ejected_and_returns() -> None:
    clock, health = FakeClock(), "{passive: {error_rate: 50%, window: 10s, eject: 200ms, consecutive_5xx: 1000}}"
    async with Origin("one") as one, Origin("two") as two, running(config(one, two, health=health), clock=clock) as daemon:
        two.answer = in_turn(answer(500), answer(200))
        await served(port_of(daemon), 100)
        await clock.advance(10)
        good, bad = daemon.upstreams()[0].servers
        assert (good.state, bad.state, bad.ejections) == ("up", "ejected", 1)
        assert bad.reason.startswith("error rate 50 % of 50 requests; back in ")
        (entry,) = daemon.upstream_entries()
        assert [server.ejections for server in entry.servers] == [{}, {"error_rate": 1}]
        await until(lambda: daemon.upstreams()[0].usable == 2)


async def test_a_reload_that_takes_the_test_away_stops_it() -> None:
    clock, health = FakeClock(), "{passive: {error_rate: 50%, window: 10s, eject: 60s, consecutive_5xx: 1000}}"
    async with Origin("one") as one, Origin("two") as two, running(config(one, two, health=health), clock=clock) as daemon:
        two.answer = answer(500)
        assert (await daemon.reload(whole_config(config(one, two, health="{passive: {consecutive_5xx: 1000}}")))).ok
        await served(port_of(daemon), 100)
        await clock.advance(20)
        assert daemon.upstreams()[0].usable == 2


# ---------------------------------------------------------------------- governors
BREAKER = ", circuit: {error_ratio: 50%, window: 10s, min_requests: 20, open_for: 10s, probes: 2}"


async def test_a_circuit_opens_tries_and_closes() -> None:
    clock = FakeClock()
    async with Origin("one") as one, running(config(one, extra=BREAKER), clock=clock) as daemon:
        port = port_of(daemon)
        one.answer = answer(500)
        assert await served(port, 20) == {500}
        await clock.advance(0.3)
        view = daemon.upstreams()[0]
        assert view.governor.circuit is not None
        assert (view.governor.circuit.state, round(view.governor.circuit.since, 3)) == ("open", 1000.2)
        assert view.warning == "circuit open: 100 % of 20 requests failed within 10 s"
        seen = len(one.heads)
        assert await served(port, 3) == {503}
        assert len(one.heads) == seen, "the origin is left alone"

        await clock.advance(10)
        assert daemon.upstreams()[0].warning == "circuit half open: trying 2 requests"
        assert await served(port, 1) == {500}
        await clock.advance(0.3)
        assert daemon.upstreams()[0].warning == "circuit open: a trial request failed"

        one.answer = answer(200)
        await clock.advance(20)
        assert await served(port, 3) == {200, 503}, "two probes, and no more than that before they are judged"
        await clock.advance(0.3)
        assert daemon.upstreams()[0].warning == ""
        assert await served(port, 20) == {200}


async def test_a_reload_without_the_breaker_closes_the_circuit() -> None:
    clock = FakeClock()
    async with Origin("one") as one, running(config(one, extra=BREAKER), clock=clock) as daemon:
        one.answer = answer(500)
        await served(port_of(daemon), 20)
        await clock.advance(0.3)
        one.answer = answer(200)
        assert await served(port_of(daemon), 1) == {503}
        assert (await daemon.reload(whole_config(config(one)))).ok
        assert await served(port_of(daemon), 1) == {200}
        assert daemon.upstreams()[0].governor == GovernorView()


async def test_the_limit_reaches_the_engines() -> None:
    clock, adaptive = FakeClock(), ", circuit: {adaptive: {min: 4, max: 8}}"
    async with Origin("one") as one, running(config(one, extra=adaptive), clock=clock) as daemon:
        (entry,) = daemon.upstream_entries()
        assert (daemon.upstreams()[0].governor.limit, entry.state.stats()["limit"]) == (8, 8)
        assert (await daemon.reload(whole_config(config(one)))).ok
        assert entry.state.stats()["limit"] == 0


async def test_the_hedge_delay_reaches_the_engines() -> None:
    clock = FakeClock()
    async with Origin("one") as one:
        text = config(one).replace("to: app", "routes: [{to: app, hedge: p95}]")
        async with running(text, clock=clock) as daemon:
            await clock.advance(1)
            await served(port_of(daemon), 100)
            await clock.advance(1)
            (entry,) = daemon.upstream_entries()
            assert daemon.upstreams()[0].governor.hedge_ms == entry.state.stats()["hedge_ms"] > 0
