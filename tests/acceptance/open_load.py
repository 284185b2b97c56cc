"""Open-loop load: open_load.py PORT PATH RATE SECONDS. Requests leave when the schedule says, whether or not earlier ones are answered,
and their time is counted from then (no coordinated omission). Prints one JSON object: sent, statuses, seconds at p50, p99 and most, and by
how much the schedule itself was late (this machine's doing)."""
from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter

PATIENCE_S = 10.0


class Client(asyncio.Protocol):
    """A connection; one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.due = 0.0
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, due: float) -> None:
        self.due = due
        self.head = b""
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.head += data
        head, end, body = self.head.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if end and len(body) >= size:
            self.load.answered(self, head[9:12].decode())

    def connection_lost(self, _error: Exception | None) -> None:
        self.load.lost(self)


class Load:
    def __init__(self, port: int, path: str) -> None:
        self.port = port
        self.request = f"GET {path} HTTP/1.1\r\nHost: tenants.example\r\n\r\n".encode()
        self.idle: list[Client] = []
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.late: list[float] = []
        self.left = 0              # of the schedule, not answered yet
        self.all_answered = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def answered(self, client: Client, status: str) -> None:
        self.seconds.append(self.loop.time() - client.due)
        client.due = 0.0
        self.idle.append(client)
        self._end(status)

    def lost(self, client: Client) -> None:
        if client in self.idle:
            self.idle.remove(client)
        if client.due:
            self._end("lost")

    def _end(self, status: str) -> None:
        self.statuses[status] += 1
        self.left -= 1
        if self.left == 0:
            self.all_answered.set()

    async def _ask(self, due: float) -> None:
        self.late.append(self.loop.time() - due)
        if self.idle:
            self.idle.pop().ask(due)
            return
        try:
            _, client = await self.loop.create_connection(lambda: Client(self), "127.0.0.1", self.port)
        except OSError:
            self._end("unconnected")
            return
        client.ask(due)

    async def run(self, rate: float, seconds: float) -> None:
        self.left = round(rate * seconds)
        begin = self.loop.time() + 0.1
        asked: set[asyncio.Task[None]] = set()
        for i in range(self.left):
            due = begin + i / rate
            if (wait := due - self.loop.time()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self._ask(due))
            asked.add(task)
            task.add_done_callback(asked.discard)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.all_answered.wait(), PATIENCE_S)
        self.statuses["unanswered"] += self.left

    def report(self) -> dict[str, object]:
        def at(values: list[float], part: float) -> float:
            return sorted(values)[min(int(part * len(values)), len(values) - 1)] if values else 0.0

        statuses = {status: count for status, count in self.statuses.items() if count}
        return {
            "sent": len(self.late), "statuses": statuses, "p50": at(self.seconds, 0.5), "p99": at(self.seconds, 0.99),
            "most": at(self.seconds, 1.0), "late_p99": at(self.late, 0.99),
        }


async def main() -> None:
    port, path, rate, seconds = sys.argv[1:]
    load = Load(int(port), path)
    await load.run(float(rate), float(seconds))
    print(json.dumps(load.report()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
