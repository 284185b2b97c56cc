"""The real probes (type `Probe`): one request, or one connection, to one server."""
from __future__ import annotations

import asyncio

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from proxyd.health.check import Address, Check, CheckFailed, HttpCheck, TcpCheck
from proxyd.health.reason import excerpt

BODY_LIMIT = 256 * 1024
"""So much of a body is read and looked at, as with nginx; what comes after it plays no part."""


async def probe(check: Check, address: Address) -> None:
    where = address if isinstance(address, str) or not check.port else (address[0], check.port)
    if isinstance(check, TcpCheck):
        await _probe_tcp(check, where)
    else:
        await _probe_http(check, where)


async def _probe_tcp(check: TcpCheck, address: Address) -> None:
    reader, writer = await _open(address)
    try:
        if check.send:
            writer.write(check.send)
            await writer.drain()
        if check.expect:
            await _await_bytes(reader, check.expect)
    finally:
        writer.close()


async def _open(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*address)


async def _await_bytes(reader: asyncio.StreamReader, expected: bytes) -> None:
    seen = b""
    while expected not in seen:
        wanted = f"got {excerpt(seen)}, expected {excerpt(expected)}"
        if len(seen) >= BODY_LIMIT:
            raise CheckFailed(wanted)
        try:
            more = await reader.read(BODY_LIMIT - len(seen))
        except asyncio.CancelledError as cancelled:
            if seen:
                cancelled.add_note(wanted)
            raise
        if not more:
            raise CheckFailed(wanted if seen else "closed the connection without an answer")
        seen += more


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
    # identity: the body is looked at as it comes.
    headers = {"User-Agent": "proxyd health check", "Accept-Encoding": "identity"} | ({"Host": check.host} if check.host else {})
    given = CIMultiDict(check.headers)
    fields = CIMultiDict([*((name, value) for name, value in headers.items() if name not in given), *check.headers])
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(check.method, url, headers=fields, allow_redirects=False) as response,
    ):
        await _judge(check, response)


async def _judge(check: HttpCheck, response: aiohttp.ClientResponse) -> None:
    if not any(low <= response.status <= high for low, high in check.expect):
        raise CheckFailed(f"status {response.status}, expected {format_expect(check.expect)}")
    for name, test in check.header:
        values = [value.encode("utf-8", "surrogateescape") for value in response.headers.getall(name, ())]
        if not test.passes(values):
            got = excerpt(values[0]) if values else "absent"
            raise CheckFailed(f"field {name} is {got}, expected {test}")
    if check.body is not None:
        body = bytearray()
        while len(body) < BODY_LIMIT and (more := await response.content.read(BODY_LIMIT - len(body))):
            body += more
        if not check.body.passes([bytes(body)]):
            raise CheckFailed(f"body is {excerpt(bytes(body))}, expected {check.body}")


def format_expect(expect: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in expect)
