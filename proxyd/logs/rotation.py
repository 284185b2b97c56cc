"""Rotation of a log file by its own writer: FILE becomes FILE.1, that becomes FILE.2, and so on.

A file has another name while lines are still written into it, and the writer goes over to the new one between two lines: none is lost.
"""
from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyd.config.log import Rotate

EVERY = 1.0    # seconds between two looks at a file: it may outgrow its size by what is written meanwhile


class Rotation:
    """When, and how. `begin` follows what `put_aside` did, once the writer has another file."""

    def __init__(self, path: Path, config: Rotate, wall: float | None = None) -> None:
        """The file is there. Of one that is continued, the last line tells which period it belongs to."""
        self._path = path
        self._size, self._every, self._keep = int(config.size), config.every.seconds, config.keep
        about = path.stat()
        self._began = about.st_mtime if about.st_size else time.time() if wall is None else wall

    def is_due(self, wall: float) -> bool:
        """Whether the file is to be put aside; also where it has gone, so that another is begun."""
        try:
            about = self._path.stat()
        except FileNotFoundError:
            return True
        if not stat.S_ISREG(about.st_mode) or not about.st_size:
            return False
        grown = bool(self._size) and about.st_size >= self._size
        return grown or (bool(self._every) and self._period(wall) != self._period(self._began))

    def put_aside(self) -> None:
        """OSError: some may have moved on already; to do it again is right, for only those move on that are in the way."""
        if not self._path.exists():
            return
        free = next((number for number in range(1, self._keep) if not self._name(number).exists()), self._keep)
        for number in range(free - 1, 0, -1):
            os.replace(self._name(number), self._name(number + 1))
        os.replace(self._path, self._name(1))

    def begin(self, wall: float) -> None:
        self._began = wall

    def _name(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _period(self, wall: float) -> int:
        return int(wall // self._every)
