"""The inline engine in an event loop of Python: turned only when its descriptor is readable, under the real clock."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from proxyd_ext.snapshot.spec import RespondAction, RouteSpec
from tests.support.engine import Rig
from tests.support.wait import until

BIG = hashlib.shake_128(b"x").digest(3 << 20)


@asynccontextmanager
async def looped(rig: Rig) -> AsyncIterator[asyncio.AbstractEventLoop]:
    loop = asyncio.get_running_loop()
    engine = rig.engines[0]
    loop.add_reader(engine.fileno(), engine.poll)
    try:
        yield loop
    finally:
        loop.remove_reader(engine.fileno())


def registered(rig: Rig) -> int:
    """How many descriptors the engine's poller watches."""
    return Path(f"/proc/self/fdinfo/{rig.engines[0].fileno()}").read_text().count("tfd:")


def test_a_connection_that_is_closed_is_forgotten_even_if_another_process_has_it(clocked: Rig) -> None:
    """As one that is just being started has: closing alone would leave it in the poller, and its next event would find a freed object."""
    origin = clocked.origin().serve()
    clocked.serve(origin)
    before = registered(clocked)
    client = clocked.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.response().status == 200
    assert registered(clocked) == before + 2
    descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    copies = [os.dup(fd) for fd in descriptors if os.path.exists(f"/proc/self/fd/{fd}")]
    for engine in clocked.engines:
        engine.close()
    clocked.turn()
    assert registered(clocked) <= before
    client.send(b"late")
    clocked.turn()
    for fd in copies:
        os.close(fd)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An origin: something big for /big, what was posted otherwise."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
            body = await reader.readexactly(length)
            out = BIG if head.startswith(b"GET /big") else body
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(out), out))
            await writer.drain()
    writer.close()


async def exchange(port: int, request: bytes, size: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    body = await reader.readexactly(size)
    writer.close()
    return body


async def test_serves() -> None:
    """Small and large bodies both ways, forty connections at once: no wake-up is missed."""
    rig = Rig("inline", fake_clock=False)
    origin = rig.origin()
    server = await asyncio.start_server(answer, sock=origin.sock)
    rig.serve(origin)
    async with looped(rig), asyncio.timeout(20):
        posts = [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(BIG), BIG)] * 5
        answers = await asyncio.gather(
            *(exchange(rig.ports["web"], request, len(BIG)) for request in posts),
            *(exchange(rig.ports["web"], b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", len(BIG)) for _ in range(5)),
            *(exchange(rig.ports["web"], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0) for _ in range(30)),
        )
        assert answers == [BIG] * 10 + [b""] * 30
        server.close()
    rig.finish()
    await server.wait_closed()


async def test_timers() -> None:
    """The descriptor becomes readable when a timer is due, too."""
    rig = Rig("inline", fake_clock=False)
    rig.publish([RouteSpec("here", RespondAction(200, b"here"))], header_ms=100, idle_ms=100)
    async with looped(rig) as loop, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.ports["web"])
        began = loop.time()
        writer.write(b"GET / HT")
        assert b" 408 " in await reader.readuntil(b"\r\n")
        assert 0.09 < loop.time() - began < 5
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.ports["web"])
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"here" in await reader.readuntil(b"here")
        assert await reader.read() == b""  # idle_timeout
        writer.close()
        before = rig.engines[0].heartbeat
        await until(lambda: rig.engines[0].heartbeat >= before + 2, "two beats")
    rig.finish()


async def test_commands_and_snapshots() -> None:
    """Publish and drain wake it as well."""
    rig = Rig("inline", fake_clock=False)
    rig.publish([RouteSpec("here", RespondAction(200, b"here"))])
    async with looped(rig) as loop, asyncio.timeout(10):
        told: list[object] = []
        loop.add_reader(rig.engines[0].events_fileno(), lambda: told.extend(rig.engines[0].take_events()))
        assert rig.spec is not None
        rig.publish_spec(rig.spec, wait=False)
        await until(lambda: told == [("retired", 1), ("ack", 2)], "the snapshot is taken")
        rig.engines[0].drain()
        await until(lambda: told[2:] == [("drained",)], "it is drained")
        loop.remove_reader(rig.engines[0].events_fileno())
    rig.finish()
