"""Builds the bench's own C programs, outside the source tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent


def build(out: Path) -> dict[str, Path]:
    """Compiles floor and origin into `out` (an up-to-date one is left alone). CalledProcessError carries the compiler's words."""
    out.mkdir(parents=True, exist_ok=True)
    programs = {}
    for name in ("floor", "origin"):
        subprocess.run(["make", "-s", "-C", str(BENCH / name), f"OUT={out}", "CC=gcc"], check=True)
        programs[name] = out / name
    return programs
