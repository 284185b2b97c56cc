"""Reading an audit trail over all its files while a daemon writes it, without a lock: who reads may not be allowed to write there.

The newest file is opened before those put aside are listed. If it is put aside itself after that, it is either behind all of them or one of
them: then it is read there.
"""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from proxyd.audit.rotation import files_before


def open_files(path: Path, *, newest_first: bool = False) -> Iterator[tuple[Path, BinaryIO]]:
    """The files of a trail, each closed when the next one is asked for. FileNotFoundError: one was removed meanwhile, as expired."""
    with contextlib.ExitStack() as stack:
        newest = None
        with contextlib.suppress(FileNotFoundError):
            newest = stack.enter_context(path.open("rb"))
        names = files_before(path)
        if newest is not None and not any(os.path.samestat(os.fstat(newest.fileno()), name.stat()) for name in names):
            names.append(path)
        for name in reversed(names) if newest_first else names:
            if name == path and newest is not None:
                yield name, newest
                continue
            with name.open("rb") as file:
                yield name, file


class Trail:
    """The lines of a trail, oldest first; once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[Path, int] = {}     # lines that were read of each file

    def __iter__(self) -> Iterator[bytes]:
        for path, file in open_files(self._path):
            for number, line in enumerate(file, 1):
                self._counts[path] = number
                yield line

    def place(self, line: int) -> tuple[Path, int]:
        """The file of a line that was read, and its number there."""
        for path, count in self._counts.items():
            if line <= count:
                return path, line
            line -= count
        return self._path, line
