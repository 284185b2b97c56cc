"""Issue 4, acceptance 4: a stampede is one fetch, what cannot be stored is not serialised, a leader's death leaves nobody hanging.

At the end: what is stored outlives a restart, and each client still gets a form that it reads.

The daemon runs through its command line; clients and origin live in the test's own loop, so that the origin can wait for what clients see.
"""
from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import socket
import struct
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.acceptance.stage import Proxyd, allow_descriptors, ending, free_port
from tests.support.client import connect
from tests.support.crowd import Download, crowd, download
from tests.support.origin import Origin, answer
from tests.support.wait import until

CLIENTS = 1_000
ORIGIN_S = 0.3
LOAD_S = 2.5        # what a thousand clients and an origin in one Python process take of a busy machine, beside the origin's own time
HANG_S = 15.0
TRIES = 3           # of a request that nobody answers: the default is two retries
FRESH = "Cache-Control: max-age=3600"


def config(port: int, origin: Origin, threads: int, cache: str = "{}") -> str:
    return (
        f"runtime: {{threads: {threads}}}\nlog: {{access: none}}\n"
        f"listeners: {{web: {{bind: ['127.0.0.1:{port}'], limits: {{per_client: 20000}}}}}}\n"
        "cache: {memory: 256MiB, purge: {allow: [127.0.0.1]}}\n"
        f"upstreams: {{app: {{servers: ['{origin.address}'], pool: {{max: 2000}}, health: {{active: none, passive: none}}}}}}\n"
        f"routes: [{{match: /direct/*, to: app}}, {{to: app, cache: {cache}}}]\n"
    )


class Stage:
    def __init__(self, folder: Path, origin: Origin, threads: int, cache: str) -> None:
        self.port = free_port()
        self.origin = origin
        self.proxyd = Proxyd(folder, config(self.port, origin, threads, cache))

    def asked(self, path: str) -> int:
        """Requests for it that the origin has had."""
        return sum(head.split()[1] == path.encode() for head in self.origin.heads)

    def results(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for name, value in self.proxyd.metrics().items():
            if name.startswith("proxyd_cache_requests_total{"):
                found[name.partition('result="')[2].partition('"')[0]] += int(value)
        return +found


Staged = Callable[..., Awaitable[Stage]]


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[Staged]:
    """Starts the daemon; it has to be there still when the script is over, and leave in good order."""
    allow_descriptors()
    async with contextlib.AsyncExitStack() as stack:
        async def start(threads: int = 2, cache: str = "{}") -> Stage:
            origin = await stack.enter_async_context(Origin())
            stage = Stage(tmp_path, origin, threads, cache)
            stack.enter_context(ending(stage.proxyd))
            stages.append(stage)
            return stage

        stages: list[Stage] = []
        yield start
        for stage in stages:
            assert stage.proxyd.alive, stage.proxyd.output()
            await stage.origin.refuse()
            assert await asyncio.to_thread(stage.proxyd.end) == 0, stage.proxyd.output()


async def at_once(stage: Stage, path: str, size: int = CLIENTS) -> tuple[list[Download], float]:
    """What so many clients get who ask at the same moment, and the seconds until the last has it."""
    async with crowd(stage.port, size) as clients:
        began = time.monotonic()
        got = await asyncio.wait_for(asyncio.gather(*(download(client, path) for client in clients)), HANG_S)
        return got, time.monotonic() - began


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# ---------------------------------------------------------------------- one fetch
@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_a_thousand_on_a_cold_key(staged: Staged, threads: int) -> None:
    stage = await staged(threads)
    whole = answer(200, b"the answer", FRESH)

    async def slow(reader: StreamReader, writer: StreamWriter, head: bytes) -> bool:
        await asyncio.sleep(ORIGIN_S)
        return await whole(reader, writer, head)

    stage.origin.answer = slow
    got, seconds = await at_once(stage, "/cold")
    assert Counter((each.status, each.whole, each.digest) for each in got) == {(200, True, digest(b"the answer")): CLIENTS}
    assert stage.asked("/cold") == 1
    assert ORIGIN_S <= seconds < ORIGIN_S + LOAD_S
    results = stage.results()
    assert results["miss"] == 1, results
    assert results.total() == CLIENTS, results
    assert results["coalesced"] > CLIENTS / 2, results
    print(f"\n{threads} threads: {CLIENTS} clients in {seconds:.3f} s, {dict(results)}")


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("size", "clients"), [(256 << 10, CLIENTS), (8 << 20, 50)])
async def test_followers_stream(staged: Staged, size: int, clients: int, chunked: bool, threads: int) -> None:
    """The origin sends the second half only when every client has bytes of the first."""
    stage = await staged(threads)
    body = bytes(range(251)) * (size // 251 + 1)
    half = size // 2
    events = [asyncio.Event() for _ in range(clients)]
    all_began = asyncio.Event()

    def framed(part: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(part), part) if chunked else part

    async def halves(_reader: StreamReader, writer: StreamWriter, _head: bytes) -> bool:
        await asyncio.sleep(ORIGIN_S)
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        writer.write(f"HTTP/1.1 200 OK\r\n{FRESH}\r\n{framing}\r\n\r\n".encode() + framed(body[:half]))
        await asyncio.gather(*(event.wait() for event in events))
        all_began.set()
        writer.write(framed(body[half:size]) + (b"0\r\n\r\n" if chunked else b""))
        await writer.drain()
        return True

    stage.origin.answer = halves
    async with crowd(stage.port, clients) as crowded:
        asking = [download(client, "/large", event) for client, event in zip(crowded, events, strict=True)]
        got = await asyncio.wait_for(asyncio.gather(*asking), HANG_S)
    assert all_began.is_set()
    assert Counter((each.status, each.whole, each.digest) for each in got) == {(200, True, digest(body[:size])): clients}
    assert stage.asked("/large") == 1


# ---------------------------------------------------------------------- what cannot be stored
@pytest.mark.parametrize(("why", "threads"), [("Cache-Control: no-store", 1), ("Cache-Control: private", 4), ("Set-Cookie: a=b", 4)])
async def test_uncacheable_is_not_serialised(staged: Staged, why: str, threads: int) -> None:
    """The leader's head tells that it is not for all; then everybody is at the origin at the same time, and from the start next time."""
    stage = await staged(threads)
    there = most = 0

    async def slow(_reader: StreamReader, writer: StreamWriter, _head: bytes) -> bool:
        nonlocal there, most
        there += 1
        most = max(most, there)
        await asyncio.sleep(ORIGIN_S)
        there -= 1
        writer.write(f"HTTP/1.1 200 OK\r\n{why}\r\nContent-Length: 4\r\n\r\nmine".encode())
        return True

    stage.origin.answer = slow
    times = {}
    for path in ("/direct/", "/mine", "/mine again"):
        most = 0
        got, times[path] = await at_once(stage, path.split()[0])
        assert Counter((each.status, each.whole, each.length) for each in got) == {(200, True, 4): CLIENTS}
        assert most > CLIENTS * 0.5, f"{path}: {most} at a time"
    print(f"\n{threads} threads, {why}: {times}")
    assert stage.asked("/mine") == 2 * CLIENTS
    assert times["/mine"] < times["/direct/"] + ORIGIN_S + LOAD_S / 2
    assert times["/mine again"] < times["/direct/"] + LOAD_S / 2


# ---------------------------------------------------------------------- the leader dies
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("deaths", [1, 2])
async def test_the_origin_dies_before_the_head(staged: Staged, deaths: int, threads: int) -> None:
    """It closes the connections of the first requests; the retries that the route has are enough, and one answer is for all."""
    stage = await staged(threads)
    whole = answer(200, b"at last", FRESH)

    async def dying(reader: StreamReader, writer: StreamWriter, head: bytes) -> bool:
        await asyncio.sleep(ORIGIN_S)
        if stage.asked("/cold") <= deaths:
            return False
        return await whole(reader, writer, head)

    stage.origin.answer = dying
    got, seconds = await at_once(stage, "/cold")
    assert Counter((each.status, each.digest) for each in got) == {(200, digest(b"at last")): CLIENTS}
    assert stage.asked("/cold") == deaths + 1
    assert seconds < (deaths + 2) * ORIGIN_S + LOAD_S


@pytest.mark.parametrize("threads", [1, 4])
async def test_the_origin_is_dead(staged: Staged, threads: int) -> None:
    """It closes every connection without a word. When the leader's tries are used up its failure is everybody's: nobody tries in turn."""
    stage = await staged(threads)

    async def dead(_reader: StreamReader, _writer: StreamWriter, _head: bytes) -> bool:
        await asyncio.sleep(ORIGIN_S)
        return False

    stage.origin.answer = dead
    got, seconds = await at_once(stage, "/cold")
    assert {each.status for each in got} == {502}
    assert stage.asked("/cold") <= 3 * TRIES, "late ones may lead once more"
    assert seconds < 3 * TRIES * ORIGIN_S + LOAD_S


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_the_origin_dies_in_the_body(staged: Staged, chunked: bool, threads: int) -> None:
    """Everybody's answer ends visibly unfinished; nothing of it is kept."""
    stage = await staged(threads)
    size, part, clients = 1 << 20, 300_000, 300
    body = b"b" * size
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"HTTP/1.1 200 OK\r\n{FRESH}\r\n{framing}\r\n\r\n".encode()

    async def breaking(_reader: StreamReader, writer: StreamWriter, _head: bytes) -> bool:
        await asyncio.sleep(ORIGIN_S)
        first = stage.asked("/cold") == 1
        sent = part if first else size
        writer.write(head + (b"%x\r\n" % sent if chunked else b"") + body[:sent] + (b"\r\n" if chunked else b""))
        await writer.drain()
        if first:
            await asyncio.sleep(ORIGIN_S)
            return False
        writer.write(b"0\r\n\r\n" if chunked else b"")
        return True

    stage.origin.answer = breaking
    got, seconds = await at_once(stage, "/cold", clients)
    assert Counter((each.status, each.whole) for each in got) == {(200, False): clients}
    assert {each.length for each in got} == {part}
    assert stage.asked("/cold") == 1
    assert seconds < 2 * ORIGIN_S + LOAD_S
    got, _ = await at_once(stage, "/cold", clients)
    assert Counter((each.status, each.digest) for each in got) == {(200, digest(body)): clients}
    assert stage.asked("/cold") == 2


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("when", ["before the head", "in the body"])
async def test_the_leaders_client_leaves(staged: Staged, when: str, threads: int) -> None:
    stage = await staged(threads)
    body = b"c" * (1 << 20)
    go, followed = asyncio.Event(), 500

    async def waiting(_reader: StreamReader, writer: StreamWriter, _head: bytes) -> bool:
        head = f"HTTP/1.1 200 OK\r\n{FRESH}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        if when == "in the body":
            writer.write(head + body[:200_000])
        await go.wait()
        writer.write((b"" if when == "in the body" else head + body[:200_000]) + body[200_000:])
        await writer.drain()
        return True

    stage.origin.answer = waiting
    async with crowd(stage.port, followed) as clients, connect(stage.port) as leader:
        leading = asyncio.create_task(download(leader, "/cold"))
        await until(lambda: stage.asked("/cold"), "the leader's request is there")
        following = [asyncio.create_task(download(client, "/cold")) for client in clients]
        await until(lambda: stage.proxyd.total("proxyd_http_requests_in_flight") > followed, "all wait")
        leading.cancel()
        leader.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leader.writer.transport.abort()        # a reset: an end of its bytes alone would not say that it does not read any more
        await until(lambda: stage.proxyd.total("proxyd_http_requests_in_flight") <= followed, "the leader has gone")
        go.set()
        got = await asyncio.wait_for(asyncio.gather(*following), HANG_S)
    assert Counter((each.status, each.whole, each.digest) for each in got) == {(200, True, digest(body)): followed}
    assert stage.asked("/cold") <= 2


# ---------------------------------------------------------------------- restart
async def test_warm_after_a_restart(tmp_path: Path) -> None:
    """The origin is down by then. Compressed forms stand beside the answers; who reads none of them gets the answer as it came."""
    port, text = free_port(), b"warm or cold? " * 400
    async with Origin() as origin:
        origin.answer = answer(200, text, FRESH, "Content-Type: text/plain", 'ETag: "t"')
        whole = (
            f"runtime: {{threads: 2}}\nlog: {{access: none}}\nlisten: '127.0.0.1:{port}'\n"
            f"cache: {{memory: {{size: 64MiB, snapshot: {tmp_path / 'cache.snapshot'}}}}}\n"
            f"upstreams: {{app: {{servers: ['{origin.address}'], health: {{active: none, passive: none}}}}}}\n"
            "routes: [{to: app, cache: {}, use: [small]}]\npolicies: {small: {compress: {encodings: [zstd, br, gzip]}}}\n"
        )
        first = Proxyd(tmp_path, whole)
        with ending(first):
            async with connect(port) as client:
                for number in range(20):
                    assert (await client.get(f"/{number}", "Host: test")).body == text
                await until(lambda: first.total("proxyd_cache_compressed_forms_total") == 60, "forms are made")
                assert (await client.get("/3", "Host: test", "Accept-Encoding: gzip")).field("content-encoding") == "gzip"
            assert await asyncio.to_thread(first.end) == 0, first.output()
    first.log.unlink()
    second = Proxyd(tmp_path, whole)
    with ending(second):
        async with connect(port) as client:
            for number in range(20):
                for accepts in ("identity", "gzip", "br;q=0"):
                    got = await client.get(f"/{number}", "Host: test", f"Accept-Encoding: {accepts}")
                    body = gzip.decompress(got.body) if got.field("content-encoding") == "gzip" else got.body
                    assert (got.status, body) == (200, text), (accepts, got.fields)
                    assert got.field("content-encoding") in (None, *(["gzip"] if accepts == "gzip" else []))
                    assert "hit" in (got.field("cache-status") or "")
        assert await asyncio.to_thread(second.end) == 0, second.output()
