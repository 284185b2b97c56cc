"""The audit trail on disk: lines are appended, forced to the disk, and never changed or rotated.

Two daemons may write to it in turn (the old and the new one of an upgrade): every append takes the folder's lock and looks again at how the
file ends. What is not as this daemon left it is written down as a record of its own: `audit.gap` (the file is another one, or shorter),
`audit.repaired` (the last line was cut off by a crash; nobody was told that it was written, and it is taken away).
"""
from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyd.audit.record import NOTHING_BEFORE, Note, line_of, link
from proxyd.statedir import locked, sync_folder

NAME = "audit.jsonl"
TAIL_BYTES = 4 << 20      # that are looked at for the last lines

Timed = tuple[Note, float]
"""A note and its wall time."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: the number and the hash of its last record."""

    seq: int = 0
    hash: str = NOTHING_BEFORE


@dataclass(frozen=True, slots=True)
class _Ending:
    """How the file ends: its last record, whether that could be read, and the bytes up to its newline and behind it."""

    head: Head
    whole: bool
    size: int
    torn: int


class AuditFile:
    """All of it blocks, and is called by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.head = Head()
        self._seen: tuple[int, int] | None = None      # inode and size, as this daemon left the file

    def open(self) -> None:
        """Learn where the chain ends. OSError."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.head = _ending(descriptor).head
            finally:
                os.close(descriptor)

    def append(self, notes: Sequence[Timed]) -> list[dict[str, Any]]:
        """Write the records of these notes. OSError: nothing was written."""
        with locked(self.path.parent):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                return self._append(descriptor, notes)
            finally:
                os.close(descriptor)

    def _append(self, descriptor: int, notes: Sequence[Timed]) -> list[dict[str, Any]]:
        facts = os.fstat(descriptor)
        if self._seen == (facts.st_ino, facts.st_size):
            ending = _Ending(self.head, True, facts.st_size, 0)
        else:
            ending = _ending(descriptor)
            notes = [*((note, notes[0][1]) for note in self._oddities(facts, ending)), *notes]
        if ending.torn:
            os.ftruncate(descriptor, ending.size)
        records = _chain(ending.head, notes)
        _write(descriptor, b"".join(map(line_of, records)), ending.size)
        if not facts.st_size:
            sync_folder(self.path.parent)
        after = os.fstat(descriptor)
        self.head, self._seen = Head(records[-1]["seq"], records[-1]["hash"]), (after.st_ino, after.st_size)
        return records

    def _oddities(self, facts: os.stat_result, ending: _Ending) -> list[Note]:
        found = []
        if self._seen is not None and (facts.st_ino != self._seen[0] or facts.st_size < self._seen[1]):
            found.append(Note("proxyd", "self", "audit.gap", str(self.path), detail={"expected": self.head.hash, "seq": self.head.seq}))
        elif not ending.whole:
            found.append(Note("proxyd", "self", "audit.gap", str(self.path), detail={"reason": "the last line is no record"}))
        if ending.torn:
            found.append(Note("proxyd", "self", "audit.repaired", str(self.path), detail={"bytes_cut": ending.torn}))
        return found

    def last(self, count: int) -> list[dict[str, Any]]:
        """The newest records, oldest of them first. OSError."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        try:
            lines = _tail(descriptor)[0].splitlines()
        finally:
            os.close(descriptor)
        return [record for line in lines[-count:] if (record := maybe_record(line)) is not None]


def maybe_record(line: bytes) -> dict[str, Any] | None:
    """The record of a line, whether its hash is right or not; None where it has not the shape of one."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    texts = ("time", "who", "origin", "action", "target", "result", "code", "prev", "hash")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in texts):
        return None
    return found if type(found.get("seq")) is int and isinstance(found.get("detail"), dict) else None


def _chain(head: Head, notes: Sequence[Timed]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for note, at in notes:
        record = link(note, seq=head.seq + 1, at=at, prev=head.hash)
        records.append(record)
        head = Head(record["seq"], record["hash"])
    return records


def _write(descriptor: int, data: bytes, before: int) -> None:
    """Append, to the disk; on OSError the file is as long as `before`."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def _tail(descriptor: int) -> tuple[bytes, int]:
    """The last whole lines, and how many bytes stand behind the last newline."""
    size = os.fstat(descriptor).st_size
    start = max(size - TAIL_BYTES, 0)
    data = os.pread(descriptor, size - start, start)
    whole = data[: data.rfind(b"\n") + 1]
    torn = len(data) - len(whole)
    return (whole if not start else whole.partition(b"\n")[2]), torn


def _ending(descriptor: int) -> _Ending:
    lines, torn = _tail(descriptor)
    size = os.fstat(descriptor).st_size - torn
    last = maybe_record(lines.splitlines()[-1]) if lines else None
    head = Head(last["seq"], last["hash"]) if last is not None else Head()
    return _Ending(head, last is not None or not size, size, torn)
