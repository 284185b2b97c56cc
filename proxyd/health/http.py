"""An HTTP check: one request over a connection of its own.

What comes before the request (a PROXY header) is written by the connector: `BaseConnector.connect` is the one documented place of aiohttp
where the connection is there and the request is not.
"""
from __future__ import annotations

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from multidict import CIMultiDict
from yarl import URL

from proxyd.health.check import Address, CheckFailed, HttpCheck
from proxyd.health.reason import excerpt
from proxyd.health.script import LIMIT


async def probe_http(check: HttpCheck, address: Address, preface: bytes) -> None:
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
    try:
        async with (
            aiohttp.ClientSession(
                connector=_connector(address, preface), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.request(check.method, url, headers=fields, allow_redirects=False) as response,
        ):
            await _judge(check, response)
    except aiohttp.ClientConnectorError as error:
        raise error.os_error from error
    except aiohttp.ServerDisconnectedError as error:
        raise CheckFailed("closed the connection without an answer") from error
    except aiohttp.ClientResponseError as error:
        raise CheckFailed(f"not an HTTP answer: {error.message or error}".splitlines()[0]) from error
    except aiohttp.ClientError as error:
        if isinstance(error, OSError):
            raise
        raise CheckFailed(str(error) or type(error).__name__) from error


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


class _Prefaced(aiohttp.BaseConnector):
    preface = b""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout  # noqa: ASYNC109 (aiohttp's own name)
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        # None: the server has left already, which the request will find out.
        if self.preface and connection.transport is not None:
            connection.transport.write(self.preface)
        return connection


class _Tcp(_Prefaced, aiohttp.TCPConnector):
    pass


class _Unix(_Prefaced, aiohttp.UnixConnector):
    pass


def _connector(address: Address, preface: bytes) -> aiohttp.BaseConnector:
    """For one request: a kept connection would pass while the server accepts nobody new, and its second request would have no preface."""
    connector: _Prefaced = _Unix(address, force_close=True) if isinstance(address, str) else _Tcp(force_close=True)
    connector.preface = preface
    return connector
