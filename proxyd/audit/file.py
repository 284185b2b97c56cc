"""The audit trail on disk: lines are appended, forced to the disk, and never changed. `rotation.py` says in which files.

Two daemons may write to it in turn (the old and the new one of an upgrade): every append takes the folder's lock and looks again at how the
file ends. What is not as this daemon left it is written down as a record of its own: `audit.gap` (the file is another one, or shorter),
`audit.repaired` (the last line was cut off by a crash; nobody was told that it was written, and it is taken away).

On a full disk nothing is written, wherever it is met: a file that could not be put aside is written on, and one that was put aside is
followed by an empty one, which the next append finds.
"""
from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proxyd.audit.reading import open_files
from proxyd.audit.record import NOTHING_BEFORE, Note, line_of, link
from proxyd.audit.rotation import EXPIRED, Bounds, files_before, put_aside
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

    def __init__(self, folder: Path, bounds: Bounds | None = None) -> None:
        self.path = folder / NAME
        self.bounds = bounds or Bounds()
        self.head = Head()
        self.stuck = ""                                # why the file could not be put aside
        self._seen: tuple[int, int] | None = None      # inode and size, as this daemon left the file

    def open(self) -> None:
        """Learn where the chain ends. OSError."""
        try:
            with _opened(self.path) as descriptor:
                self.head = self._ending(descriptor).head
        except FileNotFoundError:
            self.head = self._ending_before().head

    def append(self, notes: Sequence[Timed]) -> list[dict[str, Any]]:
        """Write the records of these notes. OSError: nothing was written."""
        with locked(self.path.parent):
            expired = self._expired() if self._turn_over() or self._seen is None else {}
            with _opened(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW) as descriptor:
                records = self._append(descriptor, [*((note, notes[0][1]) for note in expired.values()), *notes])
            for path in expired:
                with contextlib.suppress(OSError):
                    path.unlink()
            return records

    def _turn_over(self) -> bool:
        """Put the file aside if it has grown large enough. One that cannot be (a name that is taken, a flag of the file system) is written
        on: a record is worth more than a bound."""
        try:
            if os.stat(self.path).st_size < self.bounds.size:
                self.stuck = ""
                return False
            with _opened(self.path) as descriptor:
                ending = _ending(descriptor)
            if ending.torn or ending.head.seq < 1:        # that is told of first
                return False
            put_aside(self.path, ending.head.seq)
        except FileNotFoundError:
            return False
        except OSError as error:
            self.stuck = error.strerror or str(error)
            return False
        self.stuck = ""
        return True

    def _expired(self) -> dict[Path, Note]:
        """The files that are to be removed, and what is told before; none where that cannot be found out."""
        try:
            return {path: _expiry(path) for path in files_before(self.path)[: -self.bounds.keep]}
        except OSError:
            return {}

    def _append(self, descriptor: int, notes: Sequence[Timed]) -> list[dict[str, Any]]:
        facts = os.fstat(descriptor)
        if self._seen == (facts.st_ino, facts.st_size):
            ending = _Ending(self.head, True, facts.st_size, 0)
        else:
            ending = self._ending(descriptor)
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
        if self._seen is not None and not self._goes_on(facts):
            found.append(Note("proxyd", "self", "audit.gap", str(self.path), detail={"expected": self.head.hash, "seq": self.head.seq}))
        elif not ending.whole:
            found.append(Note("proxyd", "self", "audit.gap", str(self.path), detail={"reason": "the last line is no record"}))
        if ending.torn:
            found.append(Note("proxyd", "self", "audit.repaired", str(self.path), detail={"bytes_cut": ending.torn}))
        return found

    def _goes_on(self, facts: os.stat_result) -> bool:
        """Whether the file has all that this daemon left, or was put aside with it by the other daemon of an upgrade."""
        left = (facts.st_ino, facts.st_size)
        files = [left, *((about.st_ino, about.st_size) for about in map(os.stat, files_before(self.path)))]
        return self._seen is not None and any(inode == self._seen[0] and size >= self._seen[1] for inode, size in files)

    def _ending(self, descriptor: int) -> _Ending:
        """How the trail ends whose newest file is open."""
        found = _ending(descriptor)
        if found.size:
            return found
        before = self._ending_before()
        return replace(found, head=before.head, whole=before.whole)

    def _ending_before(self) -> _Ending:
        before = files_before(self.path)
        if not before:
            return _Ending(Head(), True, 0, 0)
        with _opened(before[-1]) as descriptor:
            return _ending(descriptor)


def last_records(path: Path, count: int) -> list[dict[str, Any]]:
    """The newest records of a trail, oldest of them first; with a damaged line among them, fewer. OSError."""
    lines: list[bytes] = []
    for _, file in open_files(path, newest_first=True):
        lines = _tail(file.fileno())[0].splitlines()[len(lines) - count :] + lines
        if len(lines) >= count:
            break
    return [record for line in lines if (record := maybe_record(line)) is not None]


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


@contextlib.contextmanager
def _opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _expiry(path: Path) -> Note:
    """What is told before a file is removed."""
    with _opened(path) as descriptor:
        head = _ending(descriptor).head
    return Note("proxyd", "self", EXPIRED, path.name, detail={"seq": head.seq, "hash": head.hash})


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
