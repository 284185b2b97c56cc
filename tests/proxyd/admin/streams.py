"""A reader of server-sent events over the admin socket, written after the WHATWG's rules rather than after ours."""
from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    event: str
    id: str
    data: Any


class Stream:
    def __init__(self, reader: asyncio.StreamReader, status: int, fields: dict[str, str]) -> None:
        self._reader, self.status, self.fields = reader, status, fields

    async def _line(self) -> bytes:
        return (await asyncio.wait_for(self._reader.readline(), 10)).rstrip(b"\r\n")

    async def body(self) -> AsyncIterator[bytes]:
        """Chunks of the body until its end (RFC 9112 §7.1)."""
        while size := int(await self._line(), 16):
            yield await self._reader.readexactly(size)
            await self._line()

    async def messages(self) -> AsyncIterator[Message | None]:
        """Events; None for a comment. Ends with the stream."""
        event, id, data, rest = "message", "", [], b""
        async for chunk in self.body():
            rest += chunk
            while b"\n" in rest:
                line, _, rest = rest.partition(b"\n")
                name, _, value = line.decode().partition(": ")
                match name:
                    case "event":
                        event = value
                    case "id":
                        id = value
                    case "data":
                        data.append(value)
                    case "" if line.startswith(b":"):
                        yield None
                    case "":
                        if data:
                            yield Message(event, id, json.loads("\n".join(data)))
                        event, data = "message", []


@contextlib.asynccontextmanager
async def stream(address: str, path: str, **fields: str) -> AsyncIterator[Stream]:
    """`address`: unix:PATH."""
    reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
    lines = [f"GET /api/v1{path} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        status = int((await reader.readline()).split()[1])
        head: dict[str, str] = {}
        while line := (await reader.readline()).strip().decode():
            name, _, value = line.partition(": ")
            head[name.lower()] = value
        yield Stream(reader, status, head)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
