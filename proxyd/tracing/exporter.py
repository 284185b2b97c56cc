"""Brings spans of traced requests to a collector, and is never waited for: what it cannot bring in time it drops, and counts.

Records wait in a bounded queue. They leave it in batches of BATCH, or what there is after a second, one batch at a time; a collector that
is away or asks for patience is tried again, ever more slowly, while the queue fills.
"""
from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from proxyd.clock import Clock
from proxyd.records.tap import Record, Tap
from proxyd.state import TraceEntry
from proxyd.tasks import Tasks
from proxyd.tracing.body import encode
from proxyd.tracing.post import HttpPost, Outcome, Post
from proxyd.tracing.spans import count_spans

if TYPE_CHECKING:
    from proxyd.config.tracing import Tracing

BATCH = 512                # requests
BATCH_SECONDS = 1.0        # that the first of a batch waits for others
TRIES = 6                  # of a batch: with the waits between them half a minute, if the collector asks for no other
BACKOFF_SECONDS = 1.0      # before the second try; doubled before each further one
FLUSH_SECONDS = 3.0        # that are left for the queue when proxyd leaves

log = logging.getLogger("proxyd.tracing")


class Exporter:
    """One for the life of the daemon. `follow` at every config, `close` after the last record."""

    def __init__(self, tap: Tap, clock: Clock, post: Post | None = None) -> None:
        self._tap, self._clock = tap, clock
        self._post: Post = post or HttpPost()
        self._tasks = Tasks(clock)
        self._settings: Tracing | None = None          # the last that there were: what waits goes there
        self._unsubscribe: Callable[[], None] | None = None
        self._queue: deque[Record] = deque()
        self._some, self._full = asyncio.Event(), asyncio.Event()
        self._spans = {"sent": 0, "rejected": 0, "failed": 0, "dropped": 0}
        self._error = ""

    def follow(self, settings: Tracing | None) -> None:
        """Export as these say from now on; None: nothing more."""
        if settings is None and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if settings is None:
            return
        if self._settings is None:
            self._tasks.keep("export of spans", self._run)
        self._settings = settings
        if self._unsubscribe is None:
            self._unsubscribe = self._tap.subscribe(self._on_records)

    async def close(self) -> None:
        """Send what waits, as long as FLUSH_SECONDS allow."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        await self._tasks.close()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                while self._queue:
                    await self._send(tries=1)
        except TimeoutError:
            log.warning("%d traced requests were not exported in time", len(self._queue))
        except Exception:
            log.exception("the last traced requests were not exported")     # what else is to be closed must be
        self._count("dropped", self._queue)
        self._queue.clear()
        await self._post.close()

    def entry(self) -> TraceEntry | None:
        """None: nothing was ever to be exported."""
        if self._settings is None:
            return None
        return TraceEntry(dict(self._spans), len(self._queue), self._settings.queue, self._settings.url, self._error)

    def warnings(self) -> tuple[str, ...]:
        """For status: a sentence while the collector takes nothing."""
        if not self._error or self._settings is None:
            return ()
        lost = self._spans["failed"] + self._spans["dropped"]
        return (f"spans cannot be exported to {self._settings.url}: {self._error}; {lost} lost so far",)

    # ------------------------------------------------------------------ the queue
    def _on_records(self, records: list[Record]) -> None:
        traced = [record for record in records if record.get("sampled")]
        room = max(self._settings.queue - len(self._queue), 0) if self._settings is not None else 0
        self._queue.extend(traced[:room])
        self._count("dropped", traced[room:])
        if self._queue:
            self._some.set()
        if len(self._queue) >= BATCH:
            self._full.set()

    def _count(self, result: str, records: Sequence[Record] | deque[Record]) -> None:
        self._spans[result] += sum(map(count_spans, records))

    # ------------------------------------------------------------------ the way out
    async def _run(self) -> None:
        while True:
            if not self._queue:
                self._some.clear()
                await self._some.wait()
            if len(self._queue) < BATCH:
                self._full.clear()
                await self._gather()
            await self._send(TRIES)

    async def _gather(self) -> None:
        """Until a batch is full, or BATCH_SECONDS."""
        waiting = {asyncio.ensure_future(self._clock.sleep(BATCH_SECONDS)), asyncio.ensure_future(self._full.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()

    async def _send(self, tries: int) -> None:
        """The next batch. It leaves the queue when its fate is known, so that a flush that interrupts this takes it along."""
        if self._settings is None:
            return
        batch = list(islice(self._queue, BATCH))
        try:
            body = await asyncio.to_thread(encode, batch, self._settings.service)
            outcome = await self._post_patiently(self._settings, body, tries)
        except Exception:
            self._settle(batch, "failed")      # a batch that cannot be written must not stand in the way of all others
            raise
        if outcome.error:
            self._settle(batch, "failed")
        else:
            self._settle(batch, "sent")
            rejected = min(outcome.rejected, sum(map(count_spans, batch)))      # a counter must not fall, whatever the collector says
            self._spans["sent"] -= rejected
            self._spans["rejected"] += rejected

    def _settle(self, batch: Sequence[Record], result: str) -> None:
        for _ in batch:
            self._queue.popleft()
        self._count(result, batch)

    async def _post_patiently(self, settings: Tracing, body: bytes, tries: int) -> Outcome:
        number = 0
        while True:
            number += 1
            outcome = await self._post.send(settings.url, settings.headers, body, settings.timeout.seconds)
            self._tell(settings.url, outcome.error)
            if not outcome.retry or number == tries:
                return outcome
            await self._clock.sleep(outcome.wait or BACKOFF_SECONDS * 2 ** (number - 1))
            settings = self._settings or settings          # a reload may have named another collector

    def _tell(self, url: str, error: str) -> None:
        """A line in the log when it begins to fail, when it fails otherwise, and when it is well again."""
        if error and error != self._error:
            log.warning("spans cannot be exported to %s: %s", url, error)
        elif self._error and not error:
            log.info("spans are exported to %s again", url)
        self._error = error
