"""What the linter finds."""

from __future__ import annotations

from typing import NamedTuple

from proxyd.diagnostics.marked import Step


class Doubt(NamedTuple):
    code: str
    message: str
    path: tuple[Step, ...]
    help: str
