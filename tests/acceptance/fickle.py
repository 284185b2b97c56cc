"""An origin that does as a script tells it, and counts: `python -m tests.acceptance.fickle NAME PORT`, and the script's handle of it.

    /_/mood?status=503&delay_ms=20   how everything else is answered from now on
    /_/count                         how many requests have come, by the status they got
    /_/release                       lets the downloads go on
    /download                        1 MB, of which half waits for the release
    any other                        its name, with the status of its mood

It is written on bare protocols, so that five of them under load leave room for proxyd on the same machine.
"""
from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import uvloop

from tests.acceptance.stage import Process, exchange, free_port, listens

DOWNLOAD_BYTES = 1_000_000
_REASONS = {200: b"OK", 500: b"Internal Server Error", 503: b"Service Unavailable"}


class Mood:
    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.status, self.delay = 200, 0.0
        self.count: Counter[int] = Counter()
        self.released = asyncio.Event()

    def told(self, order: str, settings: dict[str, list[str]]) -> bytes:
        if order == "mood":
            self.status = int(settings["status"][0])
            self.delay = int(settings.get("delay_ms", ["0"])[0]) / 1000
        elif order == "release":
            self.released.set()
        return whole(200, json.dumps(self.count).encode())


def whole(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s" % (status, _REASONS[status], len(body), body)


class Talk(asyncio.Protocol):
    """One connection: requests without bodies, one after the other."""

    transport: asyncio.Transport

    def __init__(self, mood: Mood) -> None:
        self.mood, self.received = mood, b""
        self.downloading: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)     # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        *heads, self.received = (self.received + data).split(b"\r\n\r\n")
        for head in heads:
            self.on_request(head.split(b" ", 2)[1].decode())

    def on_request(self, target: str) -> None:
        mood = self.mood
        if target.startswith("/_/"):
            parts = urlsplit(target)
            self.transport.write(mood.told(parts.path.removeprefix("/_/"), parse_qs(parts.query)))
            self.transport.close()
            return
        mood.count[mood.status] += 1
        if target == "/download":
            self.downloading = asyncio.create_task(self.download())
        elif mood.delay:
            asyncio.get_running_loop().call_later(mood.delay, self.transport.write, whole(mood.status, mood.name))
        else:
            self.transport.write(whole(mood.status, mood.name))

    async def download(self) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % DOWNLOAD_BYTES + b"." * (DOWNLOAD_BYTES // 2))
        await self.mood.released.wait()
        self.transport.write(b"." * (DOWNLOAD_BYTES // 2))


class Fickle(Process):
    """Such an origin in a process of its own."""

    def __init__(self, folder: Path, name: str, port: int | None = None) -> None:
        self.name, self.port = name, port or free_port()
        super().__init__([sys.executable, "-m", "tests.acceptance.fickle", name, str(self.port)], folder / f"{name}.log")
        self.ready(lambda: listens(self.port), f"origin {name} listens")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _tell(self, order: str) -> dict[int, int]:
        answer = exchange(self.port, f"GET /_/{order} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return {int(status): count for status, count in json.loads(answer.partition(b"\r\n\r\n")[2]).items()}

    def mood(self, status: int, *, delay_ms: int = 0) -> None:
        self._tell(f"mood?status={status}&delay_ms={delay_ms}")

    def release(self) -> None:
        self._tell("release")

    def requests(self) -> dict[int, int]:
        """How many have come so far, by the status of the answer."""
        return self._tell("count")


async def serve(name: str, port: int) -> None:
    mood = Mood(name)
    server = await asyncio.get_running_loop().create_server(lambda: Talk(mood), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
