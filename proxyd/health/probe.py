"""The real probes (type `Probe`): one request, connection or datagram to one server."""
from __future__ import annotations

from functools import partial

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from proxyd.health.check import (
    Address,
    Check,
    CheckFailed,
    DnsCheck,
    HttpCheck,
    PostgresCheck,
    RedisCheck,
    TcpCheck,
    UdpCheck,
)
from proxyd.health.datagram import ask
from proxyd.health.dns import question
from proxyd.health.postgres import probe_postgres
from proxyd.health.preface import build_connector
from proxyd.health.reason import excerpt
from proxyd.health.redis import probe_redis
from proxyd.health.script import LIMIT, holds, in_words
from proxyd.health.stream import run_script


async def probe(check: Check, address: Address) -> None:
    where = address if isinstance(address, str) or not check.port else (address[0], check.port)
    preface = check.preface if where == address else b""
    match check:
        case HttpCheck():
            await _probe_http(check, where, preface)
        case TcpCheck():
            await run_script(where, check.script, preface)
        case UdpCheck():
            await ask(where, preface + check.send, check.timeout, partial(_judge_datagram, check))
        case DnsCheck():
            query, judge = question(check.name)
            await ask(where, preface + query, check.timeout, judge)
        case RedisCheck():
            await probe_redis(check, where, preface)
        case PostgresCheck():
            await probe_postgres(check, where, preface)


def _judge_datagram(check: UdpCheck, answer: bytes) -> str:
    if check.expect is None or holds(check.expect, answer):
        return ""
    return f"got {excerpt(answer)}, expected {in_words(check.expect)}"


async def _probe_http(check: HttpCheck, address: Address, preface: bytes) -> None:
    if isinstance(address, str):
        authority = "localhost"
    else:
        host, port = address
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # encoded=True: the path goes out as the config spells it.
    url = URL(f"http://{authority}{check.path}", encoded=True)
    # identity: the body is looked at as it comes.
    headers = {"User-Agent": "proxyd health check", "Accept-Encoding": "identity"} | ({"Host": check.host} if check.host else {})
    given = CIMultiDict(check.headers)
    fields = CIMultiDict([*((name, value) for name, value in headers.items() if name not in given), *check.headers])
    async with (
        aiohttp.ClientSession(
            connector=build_connector(address, preface), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as session,
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
        while len(body) < LIMIT and (more := await response.content.read(LIMIT - len(body))):
            body += more
        if not check.body.passes([bytes(body)]):
            raise CheckFailed(f"body is {excerpt(bytes(body))}, expected {check.body}")


def format_expect(expect: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in expect)
