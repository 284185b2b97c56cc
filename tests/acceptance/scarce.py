"""An origin whose concurrency is what is scarce: scarce.py PORT WORKERS HOLD_MS. Each request holds one of its workers for a fixed time,
others wait for one in the order in which they came, so WORKERS / HOLD requests a second saturate it."""
from __future__ import annotations

import asyncio
import sys
from collections import deque

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Workers:
    def __init__(self, count: int, hold_s: float) -> None:
        self.free = count
        self.hold_s = hold_s
        self.waiting: deque[asyncio.Transport] = deque()

    def take(self, client: asyncio.Transport) -> None:
        if self.free:
            self.free -= 1
            asyncio.get_running_loop().call_later(self.hold_s, self._done, client)
        else:
            self.waiting.append(client)

    def _done(self, client: asyncio.Transport) -> None:
        self.free += 1
        if not client.is_closing():
            client.write(ANSWER)
        while self.free and self.waiting:
            self.take(self.waiting.popleft())


class Connection(asyncio.Protocol):
    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Heads without bodies."""
        self.held += data
        while b"\r\n\r\n" in self.held:
            _, _, self.held = self.held.partition(b"\r\n\r\n")
            self.workers.take(self.transport)


async def main() -> None:
    port, workers, hold_ms = map(int, sys.argv[1:])
    shared = Workers(workers, hold_ms / 1000)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(shared), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
