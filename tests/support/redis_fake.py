"""A server that speaks as much of Redis' protocol (RESP2) as the shared tier says, over a real socket, and misbehaves when told."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

Reply = bytes | int | str | None | list["Reply"] | Exception
Mood = Literal["well", "silent", "garbage", "errors", "hangs up"]


class FakeRedis:
    """Data outlives `stop()` unless `wipe()` is called. Keys do not expire; `expiries` says what was asked for, in seconds."""

    def __init__(self) -> None:
        self.strings: dict[bytes, bytes] = {}
        self.hashes: dict[bytes, dict[bytes, bytes]] = {}
        self.streams: dict[bytes, list[tuple[tuple[int, int], list[bytes]]]] = {}
        self.expiries: dict[bytes, int] = {}
        self.commands: list[bytes] = []        # names, in order
        self.mood: Mood = "well"
        self.connections = 0                   # accepted so far
        self.port = 0
        self._sequence = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._listeners: set[asyncio.StreamWriter] = set()
        self._held: list[Callable[[], None]] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
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
        for each in (self.strings, self.hashes, self.streams, self.expiries):
            each.clear()

    def speak(self) -> None:
        """Be well again, and give the answers that were held back while silent."""
        self.mood = "well"
        held, self._held = self._held, []
        for send in held:
            send()

    # ------------------------------------------------------------------ the wire
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            writer.close()                     # accepted just before the end
            return
        self.connections += 1
        self._writers.add(writer)
        queued: list[list[bytes]] | None = None
        try:
            while command := await self._read(reader):
                name = command[0].upper()
                self.commands.append(name)
                reply: Reply = "OK"
                if name == b"MULTI":
                    queued = []
                elif name == b"EXEC" and queued is not None:
                    reply, queued = [self._execute(each, writer) for each in queued], None
                elif queued is not None:
                    queued.append(command)
                    reply = "QUEUED"
                else:
                    reply = self._execute(command, writer)
                self._send(writer, reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            self._listeners.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> list[bytes]:
        count = int((await reader.readuntil(b"\r\n"))[1:])
        command = []
        for _ in range(count):
            size = int((await reader.readuntil(b"\r\n"))[1:])
            command.append((await reader.readexactly(size + 2))[:-2])
        return command

    def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        match self.mood:
            case "well":
                writer.write(_encode(reply))
            case "silent":
                self._held.append(lambda: writer.write(_encode(reply)))
            case "garbage":
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            case "errors":
                writer.write(b"-LOADING Redis is loading the dataset in memory\r\n")
            case "hangs up":
                writer.close()

    # ------------------------------------------------------------------ commands
    def _execute(self, command: list[bytes], writer: asyncio.StreamWriter) -> Reply:
        name, *args = command
        match name.upper(), args:
            case (b"CLIENT" | b"SELECT" | b"PING"), _:
                return "OK"
            case b"GET", [key]:
                return self.strings.get(key)
            case b"SET", [key, value, *options]:
                if b"NX" in options and key in self.strings:
                    return None
                self.strings[key] = value
                return "OK"
            case b"EVAL", [_, b"1", key, owner]:       # the one script there is: delete if it is the owner's
                return int(self.strings.get(key) == owner and self.strings.pop(key, None) is not None)
            case b"HSET", [key, *pairs]:
                self.hashes.setdefault(key, {}).update(zip(pairs[::2], pairs[1::2], strict=True))
                return len(pairs) // 2
            case b"HMGET", [key, *fields]:
                return [self.hashes.get(key, {}).get(field) for field in fields]
            case b"HKEYS", [key]:
                return list(self.hashes.get(key, {}))
            case b"HLEN", [key]:
                return len(self.hashes.get(key, {}))
            case b"UNLINK", [key]:
                self.expiries.pop(key, None)
                return int(self.hashes.pop(key, None) is not None)
            case b"EXPIRE", [key, seconds, option]:
                before = self.expiries.get(key)
                if (option == b"NX" and before is None) or (option == b"GT" and before is not None and int(seconds) > before):
                    self.expiries[key] = int(seconds)
                    return 1
                return 0
            case b"XADD", [key, b"MAXLEN", most, b"*", *fields]:
                self._sequence += 1
                stream = self.streams.setdefault(key, [])
                stream.append(((1_700_000_000_000, self._sequence), fields))
                del stream[:-int(most)]
                return _stream_id(stream[-1][0])
            case b"XLEN", [key]:
                return len(self.streams.get(key, []))
            case (b"XRANGE" | b"XREVRANGE"), [key, first, last, *count]:
                backwards = name.upper() == b"XREVRANGE"
                low, high = (last, first) if backwards else (first, last)
                found: list[Reply] = [
                    [_stream_id(entry), list(fields)] for entry, fields in self.streams.get(key, []) if _bound(low) <= entry <= _bound(high)
                ]
                found = found[::-1] if backwards else found
                return found[:int(count[1])] if count else found
            case b"SUBSCRIBE", [channel]:
                self._listeners.add(writer)
                return [b"subscribe", channel, 1]
            case b"PUBLISH", [channel, text]:
                for each in self._listeners:
                    each.write(_encode([b"message", channel, text]))
                return len(self._listeners)
        return ValueError(f"ERR unknown command {name!r} {args!r}")


def _bound(text: bytes) -> tuple[int, int]:
    if text in (b"-", b"+"):
        return (0, 0) if text == b"-" else (1 << 63, 0)
    milliseconds, _, sequence = text.partition(b"-")
    return int(milliseconds), int(sequence)


def _stream_id(entry: tuple[int, int]) -> bytes:
    return b"%d-%d" % entry


def _encode(reply: Reply) -> bytes:
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case str():
            return f"+{reply}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(_encode(each) for each in reply)
        case _:
            return f"-{reply}\r\n".encode()


@asynccontextmanager
async def fake_redis() -> AsyncIterator[FakeRedis]:
    server = FakeRedis()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
