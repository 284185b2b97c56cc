"""Servers that follow a written dialogue: what they hear must be what stands there."""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

CLOSE = object()


@dataclass(frozen=True, slots=True)
class Hears:
    """Exactly these bytes."""

    data: bytes


Line = Hears | bytes | object
"""What is heard, what is said, or CLOSE; at the end the connection stays open until the client leaves."""


@contextlib.asynccontextmanager
async def tcp_server(*lines: Line) -> AsyncIterator[tuple[str, int]]:
    """Follows the lines on each connection; afterwards, fails when a client did not say what it should."""
    wrong: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for line in lines:
                if isinstance(line, Hears):
                    heard = await reader.readexactly(len(line.data))
                    if heard != line.data:
                        wrong.append(f"heard {heard!r}, not {line.data!r}")
                        return
                elif isinstance(line, bytes):
                    writer.write(line)
                    await writer.drain()
                else:
                    return
            await reader.read()
        except asyncio.IncompleteReadError as error:
            wrong.append(f"heard only {error.partial!r}")
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]
    assert not wrong, wrong


class UdpServer(asyncio.DatagramProtocol):
    """Answers each datagram with those that `answers` gives for it; keeps what it heard."""

    def __init__(self, answers: Callable[[int, bytes], list[bytes]]) -> None:
        self._answers = answers
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: asyncio's own datagram transport is none of its DatagramTransport.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        for answer in self._answers(len(self.heard), data):
            self._transport.sendto(answer, addr)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._transport.get_extra_info("sockname")[:2]
        return host, port


@contextlib.asynccontextmanager
async def udp_server(answers: Callable[[int, bytes], list[bytes]]) -> AsyncIterator[UdpServer]:
    """answers(number from 1, datagram) -> what comes back."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(lambda: UdpServer(answers), ("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
