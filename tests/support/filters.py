"""What tests of users' filters need: an engine that notes answers, worker processes that do what a test says, and filters on disk."""
from __future__ import annotations

import asyncio
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxyd.clock import Clock
from proxyd.filters.process import GoneWord, LoadFailed, Owner
from proxyd.filters.protocol import Answer, HookWord, Loaded
from proxyd.filters.source import digest

REQUEST = b"GET /a?x=1 http 192.0.2.7 req-1\nacme.example.com\nuser-1\nHost: acme.example.com\nX-A: 1\nx-a:  2\n"
ANSWER = REQUEST + b"\n200\nContent-Type: text/html\nX-Internal-Node: n7\n"
BOTH: frozenset[HookWord] = frozenset({"request", "response"})


class FakeEngine:
    """Notes (slot, what) of each answer. Like the real one it refuses a path that is none."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, Any]] = []

    def change(
        self, slot: int, generation: int, *, lines: bytes = b"", drop: bytes = b"", path: str = "", query: str | None = None,
        status: int = 0,
    ) -> None:
        if path.startswith("//"):
            raise ValueError("the path has an authority")
        said = {"lines": lines, "drop": drop, "path": path, "query": query, "status": status}
        self.heard.append((slot, {name: value for name, value in said.items() if value not in (b"", "", None, 0)}))

    def reply(self, slot: int, generation: int, status: int, head: bytes, body: bytes) -> None:
        self.heard.append((slot, (status, head, body)))

    def fail(self, slot: int, generation: int) -> None:
        self.heard.append((slot, "failed"))


@dataclass(eq=False)
class FakeWorker:
    """A worker whose answers the test gives."""

    owner: Owner
    loaded: Loaded
    last_heard: float
    asked: list[int] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    closed: bool = False
    killed: str = ""
    end: str = "SIGKILL"

    def ask(self, call: int, hook: HookWord, deadline: float, request: bytes) -> None:
        self.asked.append(call)
        self.deadlines.append(deadline)

    def answer(self, call: int, answer: Answer) -> None:
        self.owner.on_answer(call, answer)

    def kill(self, word: GoneWord, reason: str) -> None:
        self.killed = word
        self.owner.on_gone(word, reason)

    async def close(self) -> None:
        self.closed = True


class FakeWorkers:
    """Stands for `start_worker`. `broken`: the next ones do not load; neither does one beyond `most`."""

    def __init__(self) -> None:
        self.started: list[FakeWorker] = []
        self.hooks, self.broken, self.most = BOTH, False, 1_000
        self.raises: Exception | None = None        # by the next one: an error of our own
        self.gate: asyncio.Event | None = None      # while there is one, the next ones load until it opens
        self.loading = asyncio.Event()              # one waits for it

    async def __call__(self, name: str, file: Path, clock: Clock, owner: Owner) -> FakeWorker:
        if (gate := self.gate) is not None:
            self.loading.set()
            await gate.wait()
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        if self.broken or len(self.started) >= self.most:
            raise LoadFailed(f"{file}:3: NameError: name 'x' is not defined", "Traceback …")
        worker = FakeWorker(owner, Loaded(self.hooks, {str(file): digest(str(file))}), clock.monotonic())
        self.started.append(worker)
        return worker

    @property
    def living(self) -> list[FakeWorker]:
        return [worker for worker in self.started if not worker.killed and not worker.closed]


def write_filter(folder: Path, text: str, name: str = "own.py") -> Path:
    """A filter's file; the imports that every filter needs are put before the text."""
    path = folder / name
    path.write_text(f"import asyncio, os, sys\nfrom proxyd.filters import Changes, Request, Response\n{textwrap.dedent(text)}")
    return path
