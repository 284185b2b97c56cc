"""`--watch`: tells when the config's files have changed.

The folders are watched, not the files: an editor replaces a file by renaming another over it, and a mounted config map swaps a symlink.
An event is only a reason to look: what counts is whether a file's identity, size or time differs from what it was.
"""
from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from watchfiles import awatch

DEBOUNCE_MS = 300    # an editor's several steps are one change

Print = dict[str, tuple[str, int, int, int] | None]
"""Path -> what its content hangs on (None: there is no such file)."""


async def watch(files: Callable[[], Sequence[Path]], before: Print) -> AsyncIterator[None]:
    """Yields after each change. `files()`: the main file and those that it includes now; `before`: their fingerprint when read."""
    while True:
        folders = folders_of(files())
        # A config that includes from another folder than before ends the inner loop, so that the new folder is watched.
        async for _ in awatch(*folders, recursive=False, debounce=DEBOUNCE_MS, step=50, rust_timeout=1_000, yield_on_timeout=True):
            now = fingerprint(files())
            if now != before:
                yield
                before = read_since(now, files())
            if folders_of(files()) != folders:
                break


def folders_of(files: Sequence[Path]) -> list[Path]:
    """The existing folders in which a change can give one of the files another content: its own, and those of every link on its way."""
    found: set[Path] = set()
    for file in files:
        path = Path(os.path.abspath(file))
        for _ in range(40):                # as many links as the kernel follows
            found.add(path.parent)
            if not path.is_symlink():
                break
            path = Path(os.path.normpath(path.parent / os.readlink(path)))
        found.add(Path(os.path.realpath(file)).parent)
    return sorted(folder for folder in found if folder.is_dir())


def fingerprint(files: Sequence[Path]) -> Print:
    """What is known of each file, and of each YAML file beside it (an include may be a pattern)."""
    paths = {os.path.abspath(file) for file in files}
    for folder in {os.path.dirname(path) for path in paths}:
        try:
            paths.update(entry.path for entry in os.scandir(folder) if entry.name.endswith((".yaml", ".yml")))
        except OSError:
            continue
    return {path: _print(path) for path in sorted(paths)}


def read_since(before: Print, files: Sequence[Path]) -> Print:
    """The fingerprint of files that have just been read. There may be others than before; of those that were known, what was seen before
    counts: who writes meanwhile was perhaps not read."""
    after = fingerprint(files)
    return after | {path: seen for path, seen in before.items() if path in after}


def _print(path: str) -> tuple[str, int, int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return os.path.realpath(path), facts.st_ino, facts.st_size, facts.st_mtime_ns
