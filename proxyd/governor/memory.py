"""How much memory the process has, and how much it may have: what Linux tells in files.

What it may have is the least of the machine's memory and the bounds of its control group and of the groups around it, version 2
(`memory.max`) or 1 (`memory.limit_in_bytes`). In a container the path of the group may be one of the machine outside, which is not there;
then the bound at the root of the mount is the container's own.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Memory:
    used: int                  # bytes: the resident set
    limit: int                 # bytes

    @property
    def share(self) -> float:
        return self.used / self.limit


@dataclass(frozen=True, slots=True)
class MemoryReader:
    root: Path = Path("/")
    page: int = field(default_factory=lambda: os.sysconf("SC_PAGE_SIZE"))

    def read(self) -> Memory | None:
        """None: this system does not tell."""
        try:
            used = int((self.root / "proc/self/statm").read_text().split()[1]) * self.page
        except (OSError, ValueError, IndexError):
            return None
        limit = min((bound for bound in self._bounds() if bound > 0), default=0)
        return Memory(used, limit) if limit else None

    def _bounds(self) -> Iterator[int]:
        for line in _text(self.root / "proc/meminfo").splitlines():
            if line.startswith("MemTotal:"):
                yield int(line.split()[1]) * 1024
        groups = self.root / "sys/fs/cgroup"
        for line in _text(self.root / "proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                yield from _upwards(groups, path, "memory.max")
            elif "memory" in controllers.split(","):
                yield from _upwards(groups / "memory", path, "memory.limit_in_bytes")


def _upwards(mount: Path, path: str, name: str) -> Iterator[int]:
    """The bounds of a group and of those around it."""
    group = PurePosixPath(path)
    for each in (group, *group.parents):
        text = _text(mount / str(each).lstrip("/") / name).strip()
        if text.isdecimal():           # else "max", or the file is not there
            yield int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
