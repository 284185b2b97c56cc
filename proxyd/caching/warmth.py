"""The cache's snapshot on disk: what was stored is written now and then and at the end, and loaded at the next start.

A file: MAGIC, then records, each four bytes of length (big-endian) and that many bytes; a length of zero ends it, and eight bytes of count
follow. The first record is a note of the caller's and may be empty, the others are blobs. Blobs bring their own version, wall times and
checksum (`CachedObject.blob`), so that one damaged object costs no other, and a program of another version loads what it understands.

All functions block and belong on a thread. A file is written beside its name and renamed, so that a crash leaves the one before it whole.
"""
from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from proxyd_ext.cache.store import blob_names

if TYPE_CHECKING:
    from proxyd.cachetier.purges import PurgeIndex
    from proxyd_ext.cache.store import Cache

MAGIC = b"proxyd cache 1\n"
NOTE_MAX = 1 << 16             # bytes
BATCH = 64                     # objects that are held at a time while the store is walked
BLOB_MAX = 1 << 30             # bytes; a length above it is damage
CHUNK = 1 << 20                # bytes of the file's buffer


@dataclass(frozen=True, slots=True)
class Saved:
    """A snapshot that was written. `whole` False: time was over before the walk had ended."""

    objects: int
    size: int                  # bytes of the file
    seconds: float
    whole: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file held. `skipped`: too old by now, purged since, no room, or a newer is there.

    `fault`: why reading ended early; "" when it did not."""

    objects: int
    skipped: int
    damaged: int
    size: int                  # bytes of the blobs that were loaded
    seconds: float
    fault: str = ""
    note: bytes = b""


def save(store: Cache, path: Path, go_on: Callable[[], bool], note: bytes = b"") -> Saved:
    """Write the note, and everything complete that the store holds, as long as `go_on()`.

    OSError: it cannot be written; the file is as it was.
    What is cut short by `go_on` does not replace a file that holds more.
    """
    began = time.monotonic()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    count, whole = 0, True
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb", CHUNK) as out:
            out.write(MAGIC + len(note).to_bytes(4, "big") + note)
            for blob in _blobs(store):
                if not go_on():
                    whole = False
                    break
                out.write(len(blob).to_bytes(4, "big"))
                out.write(blob)
                count += 1
            out.write(bytes(4) + count.to_bytes(8, "big"))
            out.flush()
            size = out.tell()
            os.fsync(out.fileno())
        if whole or count >= _count_of(path):
            os.replace(beside, path)
            _sync_folder(path.parent)
        else:
            beside.unlink()
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    return Saved(count, size, time.monotonic() - began, whole)


def _blobs(store: Cache) -> Iterator[bytes]:
    cursor = 0
    while True:
        cursor, objects = store.export(cursor, BATCH)
        for stored in objects:
            if stored.state != "complete" or stored.encoding or not stored.key:     # compressed forms are made anew
                continue
            try:
                blob = stored.blob()
            except ValueError:                                                      # it has gone meanwhile
                continue
            yield blob
        if cursor == 0:
            return


def _count_of(path: Path) -> int:
    """How many objects the file tells that it holds; 0 where there is none."""
    try:
        with path.open("rb") as source:
            size = source.seek(-8, os.SEEK_END)
            told = int.from_bytes(source.read(8), "big")
            return told if told <= size else 0      # more than it has bytes: it is damaged
    except OSError:
        return 0


def _sync_folder(folder: Path) -> None:
    """The rename itself must outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(store: Cache, path: Path, go_on: Callable[[], bool], purges: PurgeIndex | None = None) -> Loaded:
    """Load what the file holds, as long as `go_on()`, but for what is meant by purges that the file does not know of.

    FileNotFoundError where there is none; damage is told, never raised.
    """
    began = time.monotonic()
    loaded = skipped = damaged = size = 0
    fault, note = "", b""
    with path.open("rb", CHUNK) as source:
        try:
            note = _note(source)
            for blob in _records(source):
                if not go_on():
                    fault = "proxyd is leaving"
                    break
                try:
                    taken = not (purges and purges.latest(*blob_names(blob))) and store.load(blob, restored=True)
                except ValueError:
                    damaged += 1
                    continue
                loaded, skipped = loaded + taken, skipped + (not taken)
                size += len(blob) if taken else 0
        except _Damage as error:
            fault = str(error)
        except OSError as error:
            fault = error.strerror or str(error)
    return Loaded(loaded, skipped, damaged, size, time.monotonic() - began, fault, note)


class _Damage(Exception):
    pass


def _note(source: BinaryIO) -> bytes:
    if source.read(len(MAGIC)) != MAGIC:
        raise _Damage("it is no snapshot of a cache, or one of another version")
    size = int.from_bytes(_exactly(source, 4), "big")
    if size > NOTE_MAX:
        raise _Damage(f"a note of {size} bytes")
    return _exactly(source, size)


def _records(source: BinaryIO) -> Iterator[bytes]:
    count = 0
    while True:
        size = int.from_bytes(_exactly(source, 4), "big")
        if size == 0:
            if int.from_bytes(_exactly(source, 8), "big") != count:
                raise _Damage("its count does not agree with what it holds")
            return
        if size > BLOB_MAX:
            raise _Damage(f"a length of {size} bytes after {count} objects")
        yield _exactly(source, size)
        count += 1


def _exactly(source: BinaryIO, size: int) -> bytes:
    found = source.read(size)
    if len(found) != size:
        raise _Damage("it ends too early")
    return found
