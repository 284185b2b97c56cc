"""What a check of a server that wants a PROXY header says first: the header of a connection that proxyd makes for itself, with no client
behind it. HAProxy does the same for checks that have no port of their own.

Before a request of aiohttp it is written by the connector: `BaseConnector.connect` is the one documented place where the connection is
there and the request is not.
"""
from __future__ import annotations

from typing import Literal

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from proxyd.health.check import Address

_V1 = b"PROXY UNKNOWN\r\n"
# Signature, version 2 with the command LOCAL, family and transport unspecified, nothing behind it.
_V2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x20\0" + b"\0\0"


def own_header(version: Literal["v1", "v2"], *, datagram: bool) -> bytes:
    """The PROXY header without a client (§2.1: UNKNOWN, §2.2: LOCAL); b"" where there is none: version 1 is not for datagrams."""
    if version == "v2":
        return _V2
    return b"" if datagram else _V1


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


def build_connector(address: Address, preface: bytes) -> aiohttp.BaseConnector:
    """For one request: a kept connection would pass while the server accepts nobody new, and its second request would have no preface."""
    connector: _Prefaced = _Unix(address, force_close=True) if isinstance(address, str) else _Tcp(force_close=True)
    connector.preface = preface
    return connector
