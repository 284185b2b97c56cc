"""The audit trail as the daemon writes it: who changed what, from where, and what came of it; one record each, on disk when `note` returns.
`tell` is for changes that nobody waits for (a signal, a PURGE): their records are on disk soon, and when `close` returns at the latest.

A change that cannot be recorded happens all the same (a full disk must not keep operators from draining a broken server), as auditd and
Kubernetes do by default. It is counted (`proxyd_audit_failed_total`), `status` warns of it, the daemon's log has it, and it is written with
the next record that can be.
"""
from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import Any

from proxyd.audit.file import AuditFile, Head, Timed, last_records
from proxyd.audit.record import Note, link
from proxyd.audit.rotation import Bounds
from proxyd.clock import Clock
from proxyd.state import AuditView
from proxyd.tasks import Tasks

PENDING_MAX = 1_000      # records that wait for a disk that takes them
MEMORY_MAX = 1_000       # records that are remembered where there is no file

log = logging.getLogger("proxyd.audit")


class Audit:
    def __init__(self, folder: Path | None, clock: Clock, bounds: Bounds | None = None) -> None:
        """`folder` None: in memory, where records are chained, too."""
        self._file = AuditFile(folder, bounds) if folder is not None else None
        self._clock, self._tasks = clock, Tasks(clock)
        self._lock = asyncio.Lock()
        self._pending: deque[Timed] = deque()
        self._lost = 0                           # that did not even find room to wait
        self._recent: deque[dict[str, Any]] = deque(maxlen=MEMORY_MAX)
        self._head = Head()
        self._reason = ""                        # why the last one could not be written
        self.failed = 0
        """Records that could not be written when they were due."""
        if self._file is not None:
            try:
                self._file.open()
            except OSError as error:
                self._reason = _reason(error)

    async def note(self, note: Note) -> None:
        """Record a change. Never raises; a caller that goes away does not stop it."""
        self._put(note)
        await self._tasks.shielded("audit", self._flush())

    def tell(self, note: Note) -> None:
        """Record a change. Never raises; what is told after `close` is in the log alone."""
        self._put(note)
        if not self._tasks.closed:
            self._tasks.spawn("audit", self._flush())

    def follow(self, bounds: Bounds) -> None:
        """A config with these bounds serves."""
        if self._file is not None:
            self._file.bounds = bounds

    def _put(self, note: Note) -> None:
        log.info("%s", note.words())
        self._pending.append((note, self._clock.wall()))

    async def _flush(self) -> None:
        async with self._lock:
            if self._pending:                    # else somebody before us has written it along with theirs
                await self._write()

    async def _write(self) -> None:
        notes = list(self._pending)
        if self._file is None:
            self._remember(notes)
            self._pending.clear()
            return
        if self._lost:
            notes.append((Note("proxyd", "self", "audit.lost", detail={"records": self._lost}), self._clock.wall()))
        try:
            await asyncio.to_thread(self._file.append, notes)
        except OSError as error:
            self.failed += 1
            self._reason = _reason(error)
            log.error("an audit record cannot be written, the change was made: %s: %s", self._file.path, self._reason)
            while len(self._pending) > PENDING_MAX:
                self._pending.popleft()
                self._lost += 1
            return
        for _ in range(len(notes) - bool(self._lost)):
            self._pending.popleft()
        self._lost, self._reason = 0, ""

    def _remember(self, notes: list[Timed]) -> None:
        for note, at in notes:
            record = link(note, seq=self._head.seq + 1, at=at, prev=self._head.hash)
            self._recent.append(record)
            self._head = Head(record["seq"], record["hash"])

    async def close(self) -> None:
        """Write what was told. When nobody notes anything any more."""
        async with self._lock:
            if self._pending:
                await self._write()
            await self._tasks.close()

    async def last(self, count: int) -> list[dict[str, Any]]:
        """The newest records, oldest of them first. OSError."""
        if self._file is None:
            return list(self._recent)[-count:]
        return await asyncio.to_thread(last_records, self._file.path, count)

    def view(self) -> AuditView:
        head = self._file.head if self._file is not None else self._head
        return AuditView(str(self._file.path) if self._file is not None else "", head.seq, head.hash, self.failed, len(self._pending))

    def warnings(self) -> list[str]:
        if not self._reason:
            stuck = self._file.stuck if self._file is not None else ""
            return [f"the audit trail cannot be put aside, and grows: {stuck}"] if stuck else []
        waiting = f"; {len(self._pending)} wait in memory" if self._pending else ""
        return [f"audit records cannot be written: {self._reason}{waiting} [PXD-256]"]


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
