"""Purges that the snapshot on disk does not know of: a purge holds, even if proxyd ends without notice before it writes the snapshot again.

A file beside the snapshot with a line for each order: JSON of kind and text. Orders are written when they have been carried out, before
they are answered for; those that a snapshot was begun after are dropped when it is whole. Soft orders count as others do: what is not
loaded is fetched again. It outlives the process, and not a loss of power in the same moment: deletes by applications do not wait for disks.
"""
from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from proxyd.caching.purge import KINDS, PurgeKind
from proxyd.statedir import replace_file

if TYPE_CHECKING:
    from proxyd.cachetier.purges import PurgeIndex

MOST = 20_000                  # orders; beyond, they become one purge of everything
_ALL = b'["all", ""]\n'


class Journal:
    """Of one snapshot. Thread-safe; what touches the file blocks."""

    def __init__(self, snapshot: Path) -> None:
        self._path = snapshot.with_name(f"{snapshot.name}.purges")
        self._lock = threading.Lock()
        self._lines: dict[bytes, int] | None = None     # line -> number of the order; None: the file has not been read
        self._count = 0                                 # orders so far

    def add(self, orders: Iterable[tuple[PurgeKind, str]]) -> None:
        """OSError: it cannot be written."""
        with self._lock:
            lines, fresh = self._held(), b""
            for order in orders:
                line = json.dumps(order).encode() + b"\n"
                self._count += 1
                if line not in lines and _ALL not in lines:
                    fresh += line
                lines[line] = self._count
            if len(lines) > MOST:
                lines.clear()
                lines[_ALL] = self._count
                replace_file(self._path, _ALL)
            elif fresh:
                with self._path.open("ab") as out:
                    out.write(fresh)

    def read(self) -> PurgeIndex:
        """What was purged since the snapshot was begun."""
        from proxyd.cachetier.purges import PurgeIndex  # here: a proxy without a snapshot does not load what the shared tier needs

        found = PurgeIndex(MOST)
        with self._lock:
            for line in self._held():
                kind, text = json.loads(line)
                found.add(1, kind, text)
        return found

    @property
    def count(self) -> int:
        """Orders so far, for `drop`: a snapshot that is begun now knows them."""
        return self._count

    def drop(self, count: int) -> None:
        """A whole snapshot was written, which was begun after that many orders. OSError: it cannot be written."""
        with self._lock:
            lines = {line: number for line, number in self._held().items() if number > count}
            if lines:
                replace_file(self._path, b"".join(lines))
            else:
                self._path.unlink(missing_ok=True)
            self._lines = lines

    def _held(self) -> dict[bytes, int]:
        if self._lines is None:
            content = b""
            with suppress(FileNotFoundError):
                content = self._path.read_bytes()
            # A last line without its end was not answered for.
            lines = content[:content.rfind(b"\n") + 1].splitlines(keepends=True)
            self._lines = dict.fromkeys(lines, 0) if all(map(_is_order, lines)) else {_ALL: 0}
        return self._lines


def _is_order(line: bytes) -> bool:
    try:
        kind, text = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return False
    return kind in KINDS and isinstance(text, str)
