"""A client that says bytes and reads answers, over asyncio streams.

    async with connect(port) as client:
        response = await client.get("/x", "Host: example.com")
        assert (response.status, response.body) == (200, b"one")
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> str | None:
        """The first value of a field; its name in any case."""
        return next((value for known, value in self.fields if known.lower() == name.lower()), None)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def get(self, path: str = "/", *fields: str) -> Response:
        lines = [f"GET {path} HTTP/1.1", *([] if any(line.lower().startswith("host:") for line in fields) else ["Host: test"]), *fields]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        return await self.response()

    async def response(self, *, head_only: bool = False) -> Response:
        """Read one whole answer (Content-Length, chunked, or to the end of the connection)."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.split("\r\n")[:-2]
        fields = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        response = Response(int(start.split()[1]), fields, b"")
        if head_only or response.status in (204, 304) or response.status < 200:
            return response
        if (response.field("transfer-encoding") or "").lower() == "chunked":
            body = await self._chunks()
        elif (length := response.field("content-length")) is not None:
            body = await self.reader.readexactly(int(length))
        else:
            body = await self.reader.read()
        return Response(response.status, fields, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        while await self.reader.readuntil(b"\r\n") != b"\r\n":
            continue
        return body

    async def ended(self) -> bool:
        """Whether the peer closes now, with nothing more to say."""
        return await self.reader.read(1) == b""


@contextlib.asynccontextmanager
async def connect(port: int = 0, *, host: str = "127.0.0.1", path: str | None = None) -> AsyncIterator[Client]:
    """A connection to `host:port`, or to a unix socket."""
    reader, writer = await (asyncio.open_unix_connection(path) if path else asyncio.open_connection(host, port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def get(port: int, path: str = "/", *fields: str) -> Response:
    """One request on a connection of its own."""
    async with connect(port) as client:
        return await client.get(path, *fields)
