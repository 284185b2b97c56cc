"""What the config asks of health checks and outlier tests, carried out by the daemon with its real engines."""
from __future__ import annotations

import asyncio

from tests.support.client import get
from tests.support.clock import FakeClock
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin, Talk, answer
from tests.support.wait import until


def config(*origins: Origin, health: str) -> str:
    servers = ", ".join(f'"{origin.address}"' for origin in origins)
    return f'listen: "127.0.0.1:0"\nto: app\nupstreams: {{app: {{servers: [{servers}], health: {health}, retry: none}}}}\n'


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


async def served(port: int, times: int) -> None:
    for _ in range(times):
        await get(port)


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
        assert [server.outliers for server in entry.servers] == [{}, {"error_rate": 1}]
        await until(lambda: daemon.upstreams()[0].usable == 2)


async def test_a_reload_that_takes_the_test_away_stops_it() -> None:
    clock, health = FakeClock(), "{passive: {error_rate: 50%, window: 10s, eject: 60s, consecutive_5xx: 1000}}"
    async with Origin("one") as one, Origin("two") as two, running(config(one, two, health=health), clock=clock) as daemon:
        two.answer = answer(500)
        assert (await daemon.reload(whole_config(config(one, two, health="{passive: {consecutive_5xx: 1000}}")))).ok
        await served(port_of(daemon), 100)
        await clock.advance(20)
        assert daemon.upstreams()[0].usable == 2
