"""Builds the bench's own C programs, outside the source tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent


def build(out: Path) -> dict[str, Path]:
    """Compiles floors, origins and the load of L4 into `out` (what is up to date is left alone).

    CalledProcessError carries the compiler's words.
    """
    out.mkdir(parents=True, exist_ok=True)
    for folder in ("floor", "origin", "load"):
        subprocess.run(["make", "-s", "-C", str(BENCH / folder), f"OUT={out}", "CC=gcc"], check=True)
    return {name: out / name for name in ("floor", "udpfloor", "origin", "l4origin", "l4load")}
