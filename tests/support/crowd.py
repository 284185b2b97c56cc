"""Many clients at once on one proxy, and a caching route with its origin for them.

    async with Origin() as origin:
        origin.answer = scripted
        async with crowd(port, 1_000) as clients:          # all connected, nothing asked yet
            answers = await gather(*(client.get("/cold") for client in clients))
"""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.support.client import Client, connect

CONNECTS_AT_ONCE = 200      # a listener's queue is not endless


@contextlib.asynccontextmanager
async def crowd(port: int, size: int) -> AsyncIterator[list[Client]]:
    """So many clients with a connection each, all accepted by the kernel."""
    async with contextlib.AsyncExitStack() as stack:
        clients: list[Client] = []
        while len(clients) < size:
            more = min(size - len(clients), CONNECTS_AT_ONCE)
            clients += await asyncio.gather(*(stack.enter_async_context(connect(port)) for _ in range(more)))
        yield clients


@dataclass(slots=True)
class Download:
    """One answer, read as it comes. `whole`: it ended where its framing said that it ends."""

    status: int = 0
    head: str = ""
    length: int = 0
    digest: str = ""
    whole: bool = False
    first_byte_s: float = 0.0       # of the body, on the loop's clock; 0.0: there was none


async def download(client: Client, path: str, began: asyncio.Event | None = None, *fields: str) -> Download:
    """GET, whose body is hashed and not kept; `began` is set with its first byte. A connection that ends early is no error here."""
    got, digest = Download(), hashlib.sha256()
    await client.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *fields]).encode() + b"\r\n\r\n")
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        got.head = (await client.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        got.status = int(got.head.split()[1])
        length = got.head.partition("content-length:")[2].partition("\r\n")[0].strip()
        chunked = "transfer-encoding: chunked" in got.head
        while True:
            size = int((await client.reader.readuntil(b"\r\n")).split(b";")[0], 16) if chunked else int(length)
            left = size
            while left:
                piece = await client.reader.read(min(left, 1 << 18))
                if not piece:
                    return got
                if not got.length:
                    got.first_byte_s = asyncio.get_running_loop().time()
                    if began is not None:
                        began.set()
                got.length += len(piece)
                left -= len(piece)
                digest.update(piece)
            if chunked:
                await client.reader.readexactly(2)
            if not chunked or not size:
                break
        got.whole, got.digest = True, digest.hexdigest()
    return got
