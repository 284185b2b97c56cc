"""The checks themselves: one request or one connect to one server, within a time limit, told as an `Outcome`."""
from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from yarl import URL

from proxyd.clock import Clock
from proxyd.health.state import Outcome

Address = tuple[str, int] | str
"""(IP literal, port), or the path of a unix socket."""


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """GET `path`; passes when the status lies in one of `expect` (inclusive ranges)."""

    path: str
    interval: float = 5.0                                    # seconds, from the start of one check to the next
    timeout: float = 1.0
    rise: int = 2
    fall: int = 3
    expect: tuple[tuple[int, int], ...] = ((200, 299),)
    host: str = ""                                           # Host field; "" = the server's own address
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """Passes when a connection is made."""

    interval: float = 5.0
    timeout: float = 1.0
    rise: int = 2
    fall: int = 3


Check = HttpCheck | TcpCheck
Probe = Callable[[Check, Address], Awaitable[None]]
"""Returns when the check passes; raises `CheckFailed`, OSError or aiohttp.ClientError when it does not."""


class CheckFailed(Exception):
    """The server answered, and the answer is not the expected one."""


async def run_check(check: Check, address: Address, clock: Clock, probe: Probe) -> Outcome:
    """One result, never an exception (but for cancellation)."""
    began = clock.monotonic()
    reason = ""
    try:
        async with asyncio.timeout(check.timeout):
            await probe(check, address)
    except TimeoutError:
        reason = f"no answer within {check.timeout:g} s"
    except (CheckFailed, OSError, aiohttp.ClientError) as error:
        reason = plain_reason(error)
    return Outcome(not reason, reason, clock.monotonic() - began)


async def probe(check: Check, address: Address) -> None:
    """The real probe (type `Probe`)."""
    if isinstance(check, TcpCheck):
        _, writer = await _open(address)
        writer.close()
        return
    await _probe_http(check, address)


async def _open(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*address)


async def _probe_http(check: HttpCheck, address: Address) -> None:
    # A connection of its own for each check: a kept one would pass while the server accepts nobody new.
    connector: aiohttp.BaseConnector
    if isinstance(address, str):
        connector, authority = aiohttp.UnixConnector(address, force_close=True), "localhost"
    else:
        host, port = address
        connector, authority = aiohttp.TCPConnector(force_close=True), f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # encoded=True: the path goes out as the config spells it.
    url = URL(f"http://{authority}{check.path}", encoded=True)
    headers = {"User-Agent": "proxyd health check"} | ({"Host": check.host} if check.host else {})
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(check.method, url, headers=headers, allow_redirects=False) as response,
    ):
        if not any(low <= response.status <= high for low, high in check.expect):
            raise CheckFailed(f"status {response.status}, expected {format_expect(check.expect)}")


def format_expect(expect: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in expect)


def plain_reason(error: BaseException) -> str:
    """A failure in words that people use: "connection refused", not a class name and a tuple."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return f"name not found: {error.strerror}"
    if isinstance(error, OSError) and error.errno:
        # uvloop's errors carry the number, asyncio's text repeats the address: the number tells it best.
        return os.strerror(error.errno).lower() if error.errno in errno.errorcode else str(error)
    if isinstance(error, aiohttp.ClientResponseError):
        return f"not an HTTP answer: {error.message or error}".splitlines()[0]
    return str(error) or type(error).__name__
