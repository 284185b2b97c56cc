"""Whether the files of a filter have changed: the file itself, and the modules beside it that it had imported when it was loaded.

Looked at, not waited for: a folder on a network or a config map that is swapped by a link tells nobody. The identity, size and time of a
file say that it may have changed, its content whether it has. A change counts once nothing has moved for one look, so that a file that is
just being written is not loaded by halves.
"""
from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxyd.filters.source import digest

Print = tuple[int, int, int] | None


@dataclass(slots=True)
class FileWatch:
    """`digests`: path -> digest of what was loaded. Reads files: not for the loop's thread."""

    digests: Mapping[str, str]
    _seen: dict[str, Print] = field(default_factory=dict)
    _moved: bool = False

    def changed(self) -> bool:
        """Whether the files are others than those that were loaded, and have come to rest. True once for each change."""
        now = {path: _print(path) for path in self.digests}
        if now != self._seen:
            first, self._seen, self._moved = not self._seen, now, True
            if not first:
                return False
        if not self._moved or None in now.values():
            return False           # a file that is not there is one that is being replaced
        self._moved = False
        digests = {path: digest(path) for path in self.digests}
        if digests == self.digests:
            return False
        self.digests = digests
        return True


def _print(path: str) -> Print:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
