"""Checks of servers that want a PROXY header: dialogues in which it comes first."""
from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import uvloop

from proxyd.clock import SystemClock
from proxyd.health.check import Address, Check, DnsCheck, HttpCheck, PostgresCheck, RedisCheck, TcpCheck, UdpCheck, run_check
from proxyd.health.preface import own_header
from proxyd.health.probe import probe
from proxyd.health.script import Expect, Send
from tests.reference.proxy_header import DGRAM, STREAM, header, parse
from tests.support.dialogue import CLOSE, Hears, tcp_server, udp_server

V1, V2 = own_header("v1", datagram=False), own_header("v2", datagram=False)
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"

# What each kind says first.
STREAMS: dict[str, tuple[Check, bytes]] = {
    "http": (HttpCheck("/z"), b"GET /z HTTP/1.1\r\n"),
    "tcp": (TcpCheck(), b""),
    "script": (TcpCheck((Send(b"PING\r\n"), Expect(b"+PONG"))), b"PING\r\n"),
    "redis": (RedisCheck("any"), b"*1\r\n$4\r\nPING\r\n"),
    "postgres": (PostgresCheck("any", "me"), b"\0\0\0\x5d\0\3\0\0user\0me\0"),
}


def after(check: Check, preface: bytes) -> Check:
    return dataclasses.replace(check, preface=preface)


async def reason(check: Check, address: Address) -> str:
    return (await run_check(check, address, SystemClock(), probe)).reason


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """The daemon runs on uvloop, whose transports write when the turn ends."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
        yield runner


@pytest.mark.parametrize(("version", "number"), [("v1", 1), ("v2", 2)])
def test_a_header_of_no_client(version: Literal["v1", "v2"], number: int) -> None:
    """Read by another parser."""
    text = own_header(version, datagram=False)
    assert parse(text + b"behind it", STREAM) == header(len(text), number, 0)


def test_datagrams_have_version_2_only() -> None:
    text = own_header("v2", datagram=True)
    assert parse(text, DGRAM) == header(16, 2, 0)
    assert own_header("v1", datagram=True) == b""


@pytest.mark.parametrize("preface", [b"", V1, V2], ids=["none", "v1", "v2"])
@pytest.mark.parametrize("kind", STREAMS)
def test_it_comes_first(runner: asyncio.Runner, kind: str, preface: bytes) -> None:
    """Each time: no connection is used twice."""
    check, words = STREAMS[kind]

    async def run() -> None:
        async with tcp_server(Hears(preface + words), CLOSE) as address:
            for _ in range(2):
                await reason(after(check, preface), address)

    runner.run(run())


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_http_behind_it(runner: asyncio.Runner, tmp_path: Path, over: str) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(len(V2)))
        heard.append((await reader.readuntil(b"\r\n\r\n"))[:16])
        writer.write(ANSWER)
        writer.close()

    async def run() -> None:
        path = str(tmp_path / "o.sock")
        server = await (asyncio.start_unix_server(talk, path) if over == "unix" else asyncio.start_server(talk, "127.0.0.1", 0))
        async with server:
            address: Address = path if over == "unix" else server.sockets[0].getsockname()[:2]
            # A unix socket has no other port: a check's `port` is for the servers beside it.
            check = HttpCheck("/z", timeout=5, preface=V2, port=81 if over == "unix" else 0)
            assert [await reason(check, address) for _ in range(2)] == ["", ""]

    runner.run(run())
    assert heard == [V2, b"GET /z HTTP/1.1\r"] * 2


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_whole_of_a_connection(runner: asyncio.Runner, elsewhere: bool) -> None:
    """A check that only connects says it all the same, and leaves."""
    async def run() -> bytes:
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.set_result(await reader.read())
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            assert await reason(TcpCheck(preface=V2, port=port), (host, 1 if elsewhere else port)) == ""
            return await heard

    assert runner.run(run()) == (b"" if elsewhere else V2)


@pytest.mark.parametrize("kind", STREAMS)
async def test_another_port_has_no_header(kind: str) -> None:
    check, words = STREAMS[kind]
    async with tcp_server(Hears(words), CLOSE) as address:
        await reason(dataclasses.replace(check, preface=V1, port=address[1]), ("127.0.0.1", 1))
    async with tcp_server(Hears(V1 + words), CLOSE) as address:
        await reason(dataclasses.replace(check, preface=V1, port=address[1]), address)  # the server's own, though it is told again


@pytest.mark.parametrize("check", [UdpCheck(b"ask", timeout=0.06), DnsCheck("a.example", timeout=0.06)])
def test_in_each_datagram(runner: asyncio.Runner, check: Check) -> None:
    async def run() -> list[bytes]:
        async with udp_server(lambda number, data: []) as server:
            assert (await reason(after(check, V2), server.address)).startswith("no answer")
            own = list(server.heard)
            await reason(dataclasses.replace(check, preface=V2, port=server.address[1]), ("127.0.0.1", 1))
            assert not any(heard.startswith(V2) for heard in server.heard[len(own):])
            return own

    heard = runner.run(run())
    assert 2 <= len(heard) <= 3      # a busy machine may leave no time for the third
    assert all(len(data) > len(V2) and data.startswith(V2) for data in heard)


async def test_an_answer_has_none() -> None:
    async with udp_server(lambda number, data: [data.removeprefix(V2)]) as server:
        assert await reason(UdpCheck(b"ask", b"ask", preface=V2), server.address) == ""


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    for check, _ in STREAMS.values():
        assert await reason(after(check, V1), address) == "connection refused"


async def test_a_server_that_hangs_up_at_once() -> None:
    async with tcp_server(CLOSE) as address:
        assert await reason(after(HttpCheck("/z"), V1), address) in ("closed the connection without an answer", "connection reset by peer")
