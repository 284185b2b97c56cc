"""An origin whose answers a test decides, over asyncio streams.

    async with Origin("one") as one:          # answers 200 with its name
        one.answer = answer(503)              # from now on
        one.refuse()                          # nobody listens any more
        await one.return_()
        assert one.heads[-1].startswith(b"GET /x HTTP/1.1")
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

BACKLOG = 4096      # connections that may come at one moment

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[bool]]
"""Gets the head of one request (its body unread) and answers it; False ends the connection."""


def answer(status: int, body: bytes = b"", *fields: str) -> Talk:
    """The same whole answer to every request; a body of the request is read away if it has a length."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        await reader.readexactly(content_length(head))
        lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *fields]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head.startswith(b"HEAD ") else body))
        await writer.drain()
        return True

    return talk


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


class Origin:
    def __init__(self, name: str = "origin", *, host: str = "127.0.0.1", port: int = 0, path: str | None = None) -> None:
        self.name, self.host, self.port = name, host, port
        self.answer: Talk = answer(200, name.encode())
        self.heads: list[bytes] = []
        self.connections = 0           # opened so far
        self._path = path
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """As a config spells it."""
        return f"unix:{self._path}" if self._path else f"{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.return_()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.refuse()

    async def return_(self) -> None:
        """Listen (again), at the same address."""
        if self._path:
            self._server = await asyncio.start_unix_server(self._on_connection, self._path, backlog=BACKLOG)
        else:
            self._server = await asyncio.start_server(self._on_connection, self.host, self.port, backlog=BACKLOG)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """As if the process had been killed: connections are cut, new ones refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.heads.append(head)
                    if not await self.answer(reader, writer, head):
                        break
        finally:
            self._open.discard(task)
            writer.transport.abort()
