from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxyd.clock import SystemClock
from proxyd.health.check import Address, Check, HttpCheck, PostgresCheck, RedisCheck, TcpCheck, run_check
from proxyd.health.expect import Test
from proxyd.health.probe import probe
from proxyd.health.script import LIMIT, Expect, Send
from proxyd.health.state import Outcome


@contextlib.asynccontextmanager
async def origin(answer: bytes | None, path: Path | None = None) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """Reads a head, sends `answer`, closes; with None it never answers. Gives its address and the heads that it saw."""
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    if path is None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        address: Address = server.sockets[0].getsockname()[:2]
    else:
        server, address = await asyncio.start_unix_server(talk, path), str(path)
    async with server:
        yield address, heads


async def ask(check: Check, address: Address) -> Outcome:
    return await run_check(check, address, SystemClock(), probe)


def answer(status: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.asynccontextmanager
async def talker(*says: bytes, close: bool = True) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """A server of some other protocol: says the first of `says`, then one for each thing it hears."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for index, text in enumerate(says):
                if index:
                    heard.append(await reader.read(1000))
                writer.write(text)
                await writer.drain()
            if not close:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2], heard


async def test_the_request_that_an_origin_sees() -> None:
    async with origin(answer("200 OK")) as (address, heads):
        outcome = await ask(HttpCheck("/health%2Fz?full=1", host="app.example.com"), address)
    assert outcome.passed
    assert outcome.reason == ""
    assert heads[0].startswith(b"GET /health%2Fz?full=1 HTTP/1.1\r\n")
    assert b"\r\nHost: app.example.com\r\n" in heads[0]
    assert b"\r\nConnection: close\r\n" in heads[0]


async def test_a_status_outside_of_what_is_expected() -> None:
    async with origin(answer("302 Found\r\nLocation: /login")) as (address, heads):
        outcome = await ask(HttpCheck("/", expect=((200, 299), (401, 401))), address)
    assert not outcome.passed
    assert outcome.reason == "status 302, expected 200-299, 401"
    assert len(heads) == 1, "a redirect is not followed"


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    async with origin(answer("204 No Content"), tmp_path / "o.sock") as (address, heads):
        assert (await ask(HttpCheck("/z"), address)).passed
        assert (await ask(TcpCheck(), address)).passed
        assert (await ask(TcpCheck((Send(b"GET / HTTP/1.0\r\n\r\n"), Expect(b"204"))), address)).passed
    assert b"\r\nHost: localhost\r\n" in heads[0]


async def test_silence_ends_at_the_timeout() -> None:
    async with origin(None) as (address, _):
        outcome = await ask(HttpCheck("/", timeout=0.05), address)
        for check in (RedisCheck("any", timeout=0.05), PostgresCheck("any", "me", timeout=0.05)):
            assert (await ask(check, address)).reason == "no answer within 0.05 s"
    assert outcome.reason == "no answer within 0.05 s"
    assert outcome.duration_seconds < 1


@pytest.mark.parametrize("check", [HttpCheck("/"), TcpCheck(), RedisCheck("any"), PostgresCheck("any", "me")])
async def test_nobody_listens(check: Check, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    assert (await ask(check, address)).reason == "connection refused"
    assert (await ask(check, str(tmp_path / "none"))).reason == "no such file or directory"


async def test_what_is_not_http() -> None:
    async with origin(b"220 smtp ready\r\n") as (address, _):
        outcome = await ask(HttpCheck("/"), address)
    assert outcome.reason.startswith("not an HTTP answer")
    assert "\n" not in outcome.reason


async def test_a_connection_closed_without_a_word() -> None:
    async with origin(b"") as (address, _):
        outcome = await ask(HttpCheck("/"), address)
    assert outcome.reason == "closed the connection without an answer"


async def test_tcp_passes_on_a_connection() -> None:
    async with origin(None) as (address, _):
        assert (await ask(TcpCheck(), address)).passed


async def test_method_fields_and_port() -> None:
    async with origin(answer("200 OK")) as (address, heads):
        port = address[1]
        assert isinstance(port, int)
        headers = (("X-Key", "1"), ("user-agent", "mine"), ("X-Key", "2"))
        check = HttpCheck("/z", host="a.example", method="HEAD", headers=headers, port=port)
        assert (await ask(check, ("127.0.0.1", 1))).passed
    assert heads[0].startswith(b"HEAD /z HTTP/1.1\r\n")
    lines = heads[0].split(b"\r\n")
    assert [line for line in lines if line.lower().startswith((b"x-key", b"user-agent"))] == [b"X-Key: 1", b"user-agent: mine", b"X-Key: 2"]


@pytest.mark.parametrize(
    ("body", "test", "reason"),
    [
        (b"state: ok\n", Test("contains", "ok"), ""),
        (b"state: bad\n", Test("contains", "ok"), 'body is "state: bad\\n", expected containing "ok"'),
        (b"state: ok\n", Test("regex", "^state: [a-z]{2}\n"), ""),
        (b"state: ok\n", Test("contains", "ok", negate=True), 'body is "state: ok\\n", expected not containing "ok"'),
        (b"x" * (LIMIT - 2) + b"ok", Test("contains", "ok"), ""),
        (b"x" * (LIMIT - 1) + b"ok", Test("contains", "ok"), f'body is "{"x" * 40}…", expected containing "ok"'),
        (b"", Test("contains", "ok"), 'body is "", expected containing "ok"'),
    ],
)
async def test_the_body(body: bytes, test: Test, reason: str) -> None:
    async with origin(answer("200 OK", body)) as (address, heads):
        assert (await ask(HttpCheck("/", body=test), address)).reason == reason
    assert b"\r\nAccept-Encoding: identity\r\n" in heads[0]


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (("x-role", Test("exact", "primary")), ""),
        (("X-Role", Test("exact", "replica")), ""),
        (("X-Role", Test("exact", "none")), 'field X-Role is "primary", expected "none"'),
        (("X-Role", Test("exact", "primary", negate=True)), 'field X-Role is "primary", expected not "primary"'),
        (("X-Gone", Test("present")), "field X-Gone is absent, expected present"),
        (("X-Gone", Test("present", negate=True)), ""),
    ],
)
async def test_a_field(test: tuple[str, Test], reason: str) -> None:
    async with origin(b"HTTP/1.1 200 OK\r\nX-Role: primary\r\nX-Role: replica\r\nContent-Length: 0\r\n\r\n") as (address, _):
        assert (await ask(HttpCheck("/", header=(test,)), address)).reason == reason


async def test_a_body_that_stops_is_told_from_one_that_differs() -> None:
    async with origin(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok") as (address, _):
        assert not (await ask(HttpCheck("/", body=Test("contains", "never")), address)).passed
        assert (await ask(HttpCheck("/"), address)).passed, "without a test of the body, nobody reads it"


async def test_tcp_send_and_expect() -> None:
    async with talker(b"", b"+PO", close=False) as (address, heard):
        outcome = await ask(TcpCheck((Send(b"PING\r\n"), Expect(b"+PONG")), timeout=0.1), address)
        assert outcome.reason == 'no answer within 0.1 s: got "+PO", expected "+PONG"'
    assert heard == [b"PING\r\n"]
    async with talker(b"", b"+PONG\r\n", close=False) as (address, _):
        assert (await ask(TcpCheck((Send(b"PING\r\n"), Expect(b"+PONG"))), address)).passed
    async with talker(b"220 ready\r\n", close=False) as (address, _):
        assert (await ask(TcpCheck((Expect(b"220"),)), address)).passed


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"-ERR busy\r\n", 'got "-ERR busy\\r\\n", expected "+PONG"'),
        (b"", "closed the connection without an answer"),
        (b"x" * (LIMIT + 10), f'got "{"x" * 40}…", expected "+PONG"'),
    ],
)
async def test_tcp_that_answers_otherwise(says: bytes, reason: str) -> None:
    async with talker(says) as (address, _):
        assert (await ask(TcpCheck((Expect(b"+PONG"),)), address)).reason == reason


async def test_a_check_of_another_port() -> None:
    async with talker(b"hi") as (address, _):
        port = address[1]
        assert isinstance(port, int)
        assert (await ask(TcpCheck((Expect(b"hi"),), port=port), ("127.0.0.1", 1))).passed
