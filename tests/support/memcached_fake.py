"""A server that speaks as much of Memcached's text protocol as the shared tier says, over a real socket, and misbehaves when told."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.support.redis_fake import Mood

ITEM_MAX = 1 << 20


class FakeMemcached:
    """Data outlives `stop()` unless `wipe()` is called. Items expire only when stored with a negative time, which is at once."""

    def __init__(self) -> None:
        self.items: dict[bytes, tuple[bytes, int]] = {}        # value, number for compare-and-swap
        self.expiries: dict[bytes, int] = {}
        self.commands: list[bytes] = []
        self.mood: Mood = "well"
        self.connections = 0
        self.port = 0
        self.before_swap: Callable[[bytes], None] | None = None        # called with the key: another node may be faster
        self._serial = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 22)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        for writer in list(self._writers):
            writer.close()

    def wipe(self) -> None:
        self.items.clear()

    def put(self, key: bytes, value: bytes) -> None:
        self._serial += 1
        self.items[key] = (value, self._serial)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            writer.close()                     # accepted just before the end
            return
        self.connections += 1
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                name, *args = line.split()
                self.commands.append(name)
                value = (await reader.readexactly(int(args[3]) + 2))[:-2] if name in (b"set", b"add", b"cas") else b""
                match self.mood:
                    case "well":
                        writer.write(self._execute(name, args, value))
                    case "garbage":
                        writer.write(b"*3\r\n$3\r\nfoo\r\n")
                    case "errors":
                        writer.write(b"SERVER_ERROR out of memory storing object\r\n")
                    case "hangs up":
                        writer.close()
                    case "silent":
                        pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _execute(self, name: bytes, args: list[bytes], value: bytes) -> bytes:
        if name in (b"get", b"gets"):
            found = [(key, *self.items[key]) for key in args if key in self.items]
            swap = name == b"gets"
            return b"".join(
                b"VALUE %b 0 %d%b\r\n%b\r\n" % (key, len(each), b" %d" % serial if swap else b"", each) for key, each, serial in found
            ) + b"END\r\n"
        key = args[0]
        if name == b"delete":
            return b"DELETED\r\n" if self.items.pop(key, None) else b"NOT_FOUND\r\n"
        if len(value) > ITEM_MAX - 512:
            return b"SERVER_ERROR object too large for cache\r\n"
        if name == b"add" and key in self.items:
            return b"NOT_STORED\r\n"
        if name == b"cas":
            if self.before_swap is not None:
                self.before_swap(key)
            if key not in self.items:
                return b"NOT_FOUND\r\n"
            if self.items[key][1] != int(args[4]):
                return b"EXISTS\r\n"
        self.expiries[key] = int(args[2])
        if int(args[2]) < 0:
            self.items.pop(key, None)
        else:
            self.put(key, value)
        return b"STORED\r\n"


@asynccontextmanager
async def fake_memcached() -> AsyncIterator[FakeMemcached]:
    server = FakeMemcached()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
