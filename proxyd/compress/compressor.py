"""The service that makes compressed forms: from an engine's `stored` event to `Cache.put_encoded`.

One task for each worker thread takes answers from a bounded queue; the loop does nothing that takes long. An answer's forms are made one
after the other.

Worker threads see bytes and nothing else. They are niced, so that a busy engine is not kept from its CPU, and a niced thread must never
hold what an engine spins for: copying a body out of the store, putting a form into it and letting go of an answer all happen on the loop or
on asyncio's own threads, which are not niced. The GIL is theirs only for microseconds between two pieces.
"""
from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, ParamSpec, TypeVar

from proxyd.compress.codec import SAMPLE_FROM, encode, is_worth, looks_compressible
from proxyd.compress.eligible import ORDER, REFUSALS, Encoding, Refusal, Stored, eligible
from proxyd.tasks import Tasks
from proxyd_ext.snapshot.spec import CompressSpec, ProxyAction, SnapshotSpec

StoredT = TypeVar("StoredT", bound=Stored)
P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("proxyd.compress")


@dataclass(frozen=True, slots=True)
class Limits:
    """What compressing may take. An answer that waits is pinned in the store, evicted or not: `queue_bytes` must be a small part of it."""

    threads: int = 1
    queue_objects: int = 512
    queue_bytes: int = 32 << 20    # of the bodies that wait
    size_max: int = 8 << 20        # bytes of a body
    budget_s: float = 1.0          # CPU seconds for all forms of one answer
    nice: int = 10                 # a tenth of a busy CPU, all of an idle one


@dataclass(slots=True)
class Counters:
    """Written on the loop, read on any thread: no dict ever gets another key. An answer that was offered ends in exactly one of refused,
    superseded, dropped, incompressible, over_budget, gone, failed or finished, once it neither waits nor is worked on (and the service
    is not closed)."""

    offered: int = 0
    refused: dict[Refusal, int] = field(default_factory=lambda: dict.fromkeys(REFUSALS, 0))
    superseded: int = 0            # a newer answer to the same request came while it waited
    dropped: int = 0               # the queue was full
    incompressible: int = 0        # a form would not have been smaller
    over_budget: int = 0
    gone: int = 0                  # the store no longer had it
    failed: int = 0                # a library raised; the log says what
    finished: int = 0
    made: dict[Encoding, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))             # forms that were stored
    bytes_in: dict[Encoding, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))         # bodies of those
    bytes_out: dict[Encoding, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))        # the forms
    cpu_seconds: dict[Encoding, float] = field(default_factory=lambda: dict.fromkeys(ORDER, 0.0))  # stored or not


@dataclass(frozen=True, slots=True)
class _Job(Generic[StoredT]):
    stored: StoredT
    encodings: tuple[Encoding, ...]
    size: int


def routes_of(snapshot: SnapshotSpec) -> dict[str, CompressSpec]:
    """The routes whose stored answers are compressed."""
    found: dict[str, CompressSpec] = {}
    for route in (route for table in snapshot.tables for route in table):
        if isinstance(route.action, ProxyAction) and route.action.cache is not None and route.action.cache.compress is not None:
            found[route.name] = route.action.cache.compress
    return found


class Compressor(Generic[StoredT]):
    """Not usable after `close()`. All methods belong to the loop."""

    __slots__ = ("_busy", "_cpu", "_limits", "_pool", "_put", "_routes", "_stopping", "_tasks", "_waiting", "_waiting_bytes", "_wake",
                 "_workers", "counters")  # fmt: skip

    def __init__(
        self,
        tasks: Tasks,
        put: Callable[[StoredT, Encoding, bytes], bool],
        limits: Limits | None = None,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        """`put`: `Cache.put_encoded`. `cpu`: seconds that the calling thread has used."""
        self._tasks, self._put, self._cpu = tasks, put, cpu
        self._limits = limits or Limits()
        self._routes: Mapping[str, CompressSpec] = {}
        self._waiting: OrderedDict[tuple[bytes, bytes], _Job[StoredT]] = OrderedDict()
        self._waiting_bytes = self._busy = 0
        self._wake = asyncio.Event()
        self._stopping = threading.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._pool = ThreadPoolExecutor(self._limits.threads, "compress", _be_nice, (self._limits.nice,))
        self.counters = Counters()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    @property
    def busy(self) -> int:
        """Answers that are being worked on."""
        return self._busy

    def apply(self, routes: Mapping[str, CompressSpec]) -> None:
        """Compress for exactly these routes from now on. What waits is made as it was wanted when it was stored."""
        self._routes = dict(routes)
        if self._routes and not self._workers:
            self._workers = [self._tasks.keep(f"compress {number}", self._work) for number in range(self._limits.threads)]

    def on_stored(self, stored: StoredT) -> None:
        """An engine's `stored` event. Microseconds; never waits."""
        spec = self._routes.get(stored.route) if stored.compress else None
        if spec is None or self._stopping.is_set():
            return
        self.counters.offered += 1
        encodings = eligible(stored, spec, self._limits.size_max)
        if isinstance(encodings, str):
            self.counters.refused[encodings] += 1
            return
        request = (stored.key, stored.variant)
        before = self._waiting.pop(request, None)
        if before is not None:
            self.counters.superseded += 1
            self._waiting_bytes -= before.size
        job = _Job(stored, encodings, stored.size)
        if len(self._waiting) >= self._limits.queue_objects or self._waiting_bytes + job.size > self._limits.queue_bytes:
            self.counters.dropped += 1
            return
        self._waiting[request] = job
        self._waiting_bytes += job.size
        self._wake.set()

    async def close(self) -> None:
        """Stop: within one piece of work, whatever waits."""
        self._stopping.set()
        for worker in self._workers:
            await self._tasks.cancel(worker)
        self._waiting.clear()
        self._waiting_bytes = 0
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    async def _work(self) -> None:
        """The life of one task."""
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            _, job = self._waiting.popitem(last=False)
            self._waiting_bytes -= job.size
            self._busy += 1
            try:
                await self._make(job)
            except Exception as error:
                self.counters.failed += 1
                log.warning("%s was not compressed: %r", job.stored.url, error)
            finally:
                self._busy -= 1
            del job   # it pins its answer

    async def _make(self, job: _Job[StoredT]) -> None:
        counters, left = self.counters, self._limits.budget_s
        body = await asyncio.to_thread(_body_of, job.stored)
        if len(body) >= SAMPLE_FROM and not await self._on_worker(looks_compressible, body):
            counters.incompressible += 1
            return
        for encoding in job.encodings:
            form, spent = await self._on_worker(self._encode, encoding, body, left)
            counters.cpu_seconds[encoding] += spent
            left -= spent
            if form is None:
                if not self._stopping.is_set():
                    counters.over_budget += 1
                return
            if not is_worth(len(form), len(body)):
                counters.incompressible += 1    # and so it will be for the others
                return
            if not await asyncio.to_thread(self._put, job.stored, encoding, form):
                counters.gone += 1
                return
            counters.made[encoding] += 1
            counters.bytes_in[encoding] += len(body)
            counters.bytes_out[encoding] += len(form)
        counters.finished += 1

    async def _on_worker(self, work: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **named))

    def _encode(self, encoding: Encoding, body: bytes, budget_s: float) -> tuple[bytes | None, float]:
        """On a worker thread: the form, or None when the budget was used up or the service stops, and the CPU seconds that it took."""
        began = self._cpu()
        form = encode(encoding, body, lambda: not self._stopping.is_set() and self._cpu() - began < budget_s)
        return form, self._cpu() - began


def _be_nice(by: int) -> None:
    # On Linux a thread's own affair, whatever POSIX says of the process (sched(7)). Where it is forbidden, work goes on without.
    with suppress(OSError):
        os.nice(by)


def _body_of(stored: Stored) -> bytes:
    return stored.body
