from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxyd.clock import SystemClock
from proxyd.health.check import Address, Check, HttpCheck, TcpCheck, probe, run_check
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


def answer(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()


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
    assert b"\r\nHost: localhost\r\n" in heads[0]


async def test_silence_ends_at_the_timeout() -> None:
    async with origin(None) as (address, _):
        outcome = await ask(HttpCheck("/", timeout=0.05), address)
    assert outcome.reason == "no answer within 0.05 s"
    assert outcome.duration_seconds < 1


@pytest.mark.parametrize("check", [HttpCheck("/"), TcpCheck()])
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
