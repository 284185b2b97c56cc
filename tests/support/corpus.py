"""The corpus of broken configs: `tests/proxyd/diagnostics/corpus/NAME.yaml`, and beside it what `proxyd check` must print, in NAME.txt.

`python -m tests.support.corpus` writes the expectations anew, for a review by `git diff`; it prints which ones changed.

A first line like `# without: redis` leaves out extras of the package. Environment: PORT is 8080, EMPTY is there and empty.
"""
from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from proxyd.config import extras, load
from proxyd.config.extras import is_installed
from proxyd.diagnostics import Diagnostic, by_position, render_all
from proxyd.snapshot.rehearsal import rehearse

FOLDER = Path(__file__).parents[1] / "proxyd" / "diagnostics" / "corpus"
ENV = {"PORT": "8080", "EMPTY": "", "TOKEN": "t0p-secret-of-the-environment"}


def cases() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@functools.cache
def found(name: str) -> list[Diagnostic]:
    """What `proxyd check` finds in a file of the corpus, its tests included."""
    with contextlib.chdir(FOLDER), _without(_left_out(name)):
        result = load(f"{name}.yaml", env=ENV)
        failed = result.places.put(rehearse(result.config)) if result.config is not None else ()
        return by_position([*result.diagnostics, *failed])


def shown(name: str) -> str:
    return render_all(found(name))


def expected(name: str) -> str:
    path = FOLDER / f"{name}.txt"
    return path.read_text() if path.exists() else ""


def _left_out(name: str) -> tuple[str, ...]:
    said = re.match(rb"# without: ([a-z, ]+)\n", (FOLDER / f"{name}.yaml").read_bytes())
    return tuple(said[1].decode().split(", ")) if said else ()


@contextlib.contextmanager
def _without(left_out: tuple[str, ...]) -> Iterator[None]:
    """As if the libraries of these extras were not installed."""
    def installed(extra: str) -> bool:
        return extra not in left_out and is_installed(extra)

    with mock.patch.object(extras, "is_installed", installed), mock.patch("proxyd.config.geo_files.is_installed", installed):
        yield


def main() -> None:
    for name in cases():
        now = shown(name)
        if now != expected(name):
            print(f"changed: {os.path.relpath(FOLDER)}/{name}.txt")
            (FOLDER / f"{name}.txt").write_text(now)


if __name__ == "__main__":
    main()
