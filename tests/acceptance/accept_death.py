"""Acceptance 4: an origin dies under load. Nothing that had not begun fails, what had begun ends visibly cut off, nothing is done twice."""
from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.stage import OriginProcess, Proxyd, Wrk, ending, exchange, free_port, until

STREAMS = 30
POSTS = 60
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def config(port: int, origins: list[OriginProcess], log: Path, *, health: str = "") -> str:
    servers = ", ".join(f"'{origin.address}'" for origin in origins)
    return (
        f"listen: '127.0.0.1:{port}'\nlog: {{access: {{to: '{log}', format: json}}}}\n"
        f"upstreams: {{app: {{servers: [{servers}]{health}}}}}\nroutes: [{{to: app}}]\n"
    )


def errors(proxyd: Proxyd) -> float:
    return proxyd.total("proxyd_upstream_errors_total")


async def read_stream(session: aiohttp.ClientSession, port: int, begun: list[str]) -> tuple[str, bool]:
    """The origin that answered, and whether the answer came whole."""
    async with session.get(f"http://127.0.0.1:{port}/stream") as response:
        origin = response.headers["X-Origin"]
        begun.append(origin)
        try:
            await response.read()
        except aiohttp.ClientPayloadError:
            return origin, False
        return origin, True


async def post(session: aiohttp.ClientSession, port: int, number: int) -> tuple[int, str]:
    async with session.post(f"http://127.0.0.1:{port}/count", data=str(number)) as response:
        return response.status, response.headers.get("Proxy-Status", "")


def test_gets_that_had_not_begun_do_not_fail(tmp_path: Path) -> None:
    port = free_port()
    origins = [OriginProcess(tmp_path, f"app{i}") for i in range(3)]
    with ending(*origins):
        proxyd = Proxyd(tmp_path, config(port, origins, tmp_path / "access.log"))
        with ending(proxyd):
            wrk = Wrk(tmp_path, f"http://127.0.0.1:{port}/")
            with ending(wrk):
                until(lambda: proxyd.total("proxyd_upstream_requests_total", f'server="{origins[1].address}"') > 1000, "it is under load")
                origins[1].kill()
                served = proxyd.total("proxyd_upstream_requests_total")
                until(lambda: proxyd.total("proxyd_upstream_requests_total") > served + 5000, "the others serve on")
                load = wrk.stop()
            assert load.failed == 0, load
            assert errors(proxyd) > 0
            assert proxyd.total("proxyd_http_retries_total") > 0
            print(f"\n{load.requests} requests, {load.failed} failed")


async def test_what_had_begun_is_cut_off_counted_and_logged(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "access.log"
    origins = [OriginProcess(tmp_path, f"app{i}") for i in range(3)]
    with ending(*origins):
        proxyd = Proxyd(tmp_path, config(port, origins, log))
        with ending(proxyd):
            begun: list[str] = []
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                streams = [asyncio.create_task(read_stream(session, port, begun)) for _ in range(STREAMS)]
                await asyncio.to_thread(until, lambda: len(begun) == STREAMS, "all have begun")
                origins[1].kill()
                cut, whole = 0, 0
                for task in asyncio.as_completed(streams):
                    origin, complete = await task
                    # The dead one's are cut off at once; the others' go on, and need not be waited for.
                    assert complete != (origin == "app1")
                    cut, whole = cut + (not complete), whole + complete
                    if cut == begun.count("app1"):
                        break
                for task in streams:
                    task.cancel()
                await asyncio.gather(*streams, return_exceptions=True)
            assert cut == begun.count("app1") > 0
            assert errors(proxyd) >= cut
            until(lambda: log.read_text().count('"error"') >= cut, "each is in the log")
            lines = [line for line in log.read_text().splitlines() if "/stream" in line and origins[1].address in line]
            assert len(lines) == cut
            print(f"\n{cut} answers cut off; one of their lines: {lines[0]}")


async def test_nothing_is_executed_twice(tmp_path: Path) -> None:
    port = free_port()
    origins = [OriginProcess(tmp_path, f"app{i}") for i in range(3)]
    with ending(*origins):
        proxyd = Proxyd(tmp_path, config(port, origins, tmp_path / "access.log"))
        with ending(proxyd):
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                posts = [asyncio.create_task(post(session, port, number)) for number in range(POSTS)]

                def executed() -> list[str]:
                    return [line for origin in origins if origin.executed.exists() for line in origin.executed.read_text().split()]

                await asyncio.to_thread(until, lambda: len(executed()) == POSTS, "all have come")
                lost = len(origins[1].executed.read_text().split())
                origins[1].kill()
                answers = [await task for task in await first(posts, lost)]
                assert {status for status, _ in answers} == {502}
                assert all("error=" in reason for _, reason in answers), answers
                assert Counter(executed()).most_common(1)[0][1] == 1
                assert sorted(executed(), key=int) == [str(number) for number in range(POSTS)]
                for task in posts:
                    task.cancel()
                await asyncio.gather(*posts, return_exceptions=True)
            print(f"\n{lost} of {POSTS} requests lost with their origin: {answers[0]}")


async def first(tasks: list[asyncio.Task[tuple[int, str]]], count: int) -> list[asyncio.Task[tuple[int, str]]]:
    """The first `count` that end."""
    await asyncio.to_thread(until, lambda: sum(task.done() for task in tasks) >= count, f"{count} of them have ended")
    return [task for task in tasks if task.done()]


@pytest.mark.parametrize(
    ("health", "left"),
    [
        (", health: {active: {path: /healthz, interval: 200ms, timeout: 150ms, rise: 1, fall: 1}}", b"503"),
        (", health: {active: none, passive: {eject: 1s}}", b"502"),     # at most half are ejected, so that a try is always made
    ],
    ids=["active", "passive"],
)
def test_all_dead_and_back(tmp_path: Path, health: str, left: bytes) -> None:
    port = free_port()
    origins = [OriginProcess(tmp_path, f"app{i}") for i in range(3)]
    with ending(*origins):
        proxyd = Proxyd(tmp_path, config(port, origins, tmp_path / "access.log", health=health))
        with ending(proxyd):
            until(lambda: exchange(port, GET).startswith(b"HTTP/1.1 200"), "it serves")
            for origin in origins:
                origin.kill()
            statuses = set()
            for _ in range(50):
                before = time.monotonic()
                answer = exchange(port, GET)
                assert time.monotonic() - before < 1, "at once"
                statuses.add(answer[9:12])
                assert b"proxy-status:" in answer.lower()
            assert statuses <= {b"502", b"503"}
            until(lambda: exchange(port, GET).startswith(b"HTTP/1.1 " + left), "the last word on it")
            origins[0] = OriginProcess(tmp_path, "app0", origins[0].port)
            with ending(origins[0]):
                until(lambda: exchange(port, GET).startswith(b"HTTP/1.1 200"), "service returns by itself")
            assert proxyd.end() == 0
