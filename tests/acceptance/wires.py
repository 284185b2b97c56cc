"""TCP flows with both ends in a script's own hands, so that a test reads as a dialogue; and servers that send back what they get.

`python -m tests.acceptance.wires NAME HOST PORT` is such a server: it sends back what it gets, and its name to a client that says `who?`.
With a further argument, `greets`, it waits for a PROXY header of version 2, greets as a mail server does, and goes on so.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, cast

import uvloop

from tests.acceptance.stage import Process, Proxyd, free_port, until

WHO = b"who?\n"


def most_descriptors(wanted: int) -> int:
    """Raise the bound of descriptors for this process and those that it starts to `wanted`, or as far as the machine allows; the bound."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, hard), max(wanted, hard)))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def dial(port: int, source: str = "127.0.0.1", timeout: float = 10.0) -> socket.socket:
    """A client's connection from this address of the loopback."""
    return socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0))


def until_end(connection: socket.socket) -> bytes:
    """All that comes until the peer closes its half; a reset is an error."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer if the peer closes its half before."""
    got = bytearray()
    while len(got) < size and (piece := connection.recv(size - len(got))):
        got += piece
    return bytes(got)


def ask(connection: socket.socket, text: bytes) -> bytes:
    """Say it, and what comes back until its newline."""
    connection.sendall(text)
    got = b""
    while not got.endswith(b"\n") and (piece := connection.recv(65536)):
        got += piece
    return got.removesuffix(b"\n")


def is_closed(connection: socket.socket) -> bool:
    """Whether the peer ends the connection, in whatever way, without a byte before."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def records(log: Path, count: int) -> list[dict[str, Any]]:
    """The first `count` access records (json) of a file, as soon as they are there."""
    until(lambda: log.exists() and log.read_bytes().count(b"\n") >= count, f"{count} access records")
    return [json.loads(line) for line in log.read_text().splitlines()[:count]]


def record_of(log: Path, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first access record (json) of a file that is the wanted one, as soon as it is there."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        whole = log.read_text().rpartition("\n")[0] if log.exists() else ""
        found[:] = [record for record in map(json.loads, whole.splitlines()) if wanted(record)]
        return bool(found)

    until(look, "the access record")
    return found[0]


def until_checked(proxyd: Proxyd, passed: int) -> None:
    """Wait until so many servers have passed a check, and no others are up: at first, those that were not asked yet may count as up."""
    def known() -> bool:
        checks = {name: value for name, value in proxyd.metrics().items() if name.startswith("proxyd_upstream_health_checks_total{")}
        good = sum(value > 0 for name, value in checks.items() if 'result="passed"' in name)
        return good == passed == proxyd.total("proxyd_upstream_server_up")

    until(known, f"{passed} servers pass their checks, and no others are up")


class Line:
    """A server whose every connection the script takes by hand."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, free_port()
        self._listening = socket.create_server((host, self.port))
        self._listening.settimeout(10)
        self.address = f"{host}:{self.port}"

    def take(self) -> socket.socket:
        connection, _ = self._listening.accept()
        connection.settimeout(10)
        return connection

    @contextlib.contextmanager
    def flow(self, port: int, source: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
        """A new flow through `port`: the client's end and the server's end, between which a word has gone each way."""
        with dial(port, source) as client:
            client.sendall(b"!")
            with self.take() as server:
                assert exactly(server, 1) == b"!"
                server.sendall(b"?")
                assert exactly(client, 1) == b"?"
                yield client, server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()


class Echo(Process):
    """The server of this file's `main`, in a process of its own."""

    def __init__(self, folder: Path, name: str, host: str = "127.0.0.1", port: int | None = None, *, greets: bool = False) -> None:
        self.name, self.host, self.port = name, host, port or free_port()
        command = [sys.executable, "-m", "tests.acceptance.wires", name, host, str(self.port), *["greets"] * greets]
        super().__init__(command, folder / f"{name}.log")
        self.ready(lambda: "serves" in self.output(), f"{name} serves")

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class _Talk(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, name: bytes) -> None:
        self._answer = name + b"\n"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self._answer if data == WHO else data)


class _Greeting(_Talk):
    _head: bytes | None = b""       # what has come of the header; None: it is whole

    def data_received(self, data: bytes) -> None:
        if self._head is None:
            super().data_received(data)
            return
        self._head += data
        size = 16 + int.from_bytes(self._head[14:16], "big")
        if len(self._head) < 16 or len(self._head) < size:
            return
        header, rest = self._head[:size], self._head[size:]
        if not header.startswith(b"\r\n\r\n\0\r\nQUIT\n"):
            self.transport.abort()
            return
        # 0x20 is LOCAL: the client is the peer itself.
        client = "local" if header[12] == 0x20 else f"{socket.inet_ntoa(header[16:20])}:{int.from_bytes(header[24:26], 'big')}"
        self.transport.write(b"220 %s greets %s\r\n" % (self._answer.strip(), client.encode()))
        self._head = None
        if rest:
            super().data_received(rest)


async def _serve(name: str, host: str, port: int, kind: type[_Talk]) -> None:
    most_descriptors(1)
    server = await asyncio.get_running_loop().create_server(lambda: kind(name.encode()), host, port, backlog=4096)
    print(f"{name} serves", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), _Greeting if sys.argv[4:] == ["greets"] else _Talk))
