"""Findings and results as one line each, for the log and for `status`."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from proxyd import codes
from proxyd.diagnostics import Diagnostic
from proxyd.state import Change, ReloadResult


@functools.cache
def own_version() -> str:
    """The installed version; "unknown" in a tree that was built in place and never installed."""
    try:
        return version("proxyd")
    except PackageNotFoundError:
        return "unknown"


def not_live(changes: Sequence[Change]) -> list[Diagnostic]:
    """A warning for every change that a running daemon cannot make."""
    return [
        Diagnostic(codes.NOT_LIVE.code, f"{change.text}: takes effect at the next start", help=codes.NOT_LIVE.help, severity="warning")
        for change in changes
        if not change.live
    ]


def summary(result: ReloadResult) -> str:
    """`3 changes`, `nothing has changed`, or the first error and how many more there are."""
    if result.ok:
        number = len(result.plan)
        return "nothing has changed" if not result.changed else f"{number} change{'' if number == 1 else 's'}"
    errors = [diagnostic for diagnostic in result.diagnostics if diagnostic.severity == "error"]
    rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return (one_line(errors[0]) if errors else "refused") + rest


def one_line(diagnostic: Diagnostic) -> str:
    """`proxyd.yaml:5:35: unknown option ... [PXD-021]`."""
    span = diagnostic.span
    where = f"{span.source.name}:{span.line + 1}:{span.column + 1}: " if span is not None else ""
    return f"{where}{diagnostic.message} [{diagnostic.code}]"
