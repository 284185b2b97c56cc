"""Configs of the command line: loaded, or the command ends with every error of the file."""
from __future__ import annotations

import sys
from pathlib import Path

from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import colored
from proxyd.config import Config, load
from proxyd.diagnostics import Diagnostic, render_all, summary


def load_or_fail(path: Path) -> Config:
    """The config of a file. Raises CliError with all its errors."""
    result = load(path)
    if result.config is None:
        raise invalid(path, result.diagnostics)
    return result.config


def invalid(path: Path | None, diagnostics: list[Diagnostic]) -> CliError:
    where = f"{path}: " if path else ""
    return CliError(
        f"{where}{summary(diagnostics)}",
        Exit.CONFIG_INVALID,
        shown=render_all(diagnostics, color=colored(sys.stderr)).removesuffix(f"\n\n{summary(diagnostics)}\n"),
        diagnostics=[entry.as_dict() for entry in diagnostics],
    )
