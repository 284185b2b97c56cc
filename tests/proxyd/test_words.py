from __future__ import annotations

import pytest

from proxyd.diagnostics import Diagnostic, Source, Span
from proxyd.state import Change, ReloadResult
from proxyd.words import not_live, one_line, summary

AT = Span(Source("proxyd.yaml", "listen: 1"), 4, 34, 4, 40)
ERROR = Diagnostic("PXD-021", "unknown option `wieght`", AT)
WARNING = Diagnostic("PXD-101", "never matches", severity="warning")
LIVE = Change("changed", "server", "app/a", "server app/a: weight: 1 -> 2")
LATER = Change("changed", "runtime", "runtime.threads", "runtime.threads: 1 -> 2", live=False)


def test_a_finding_in_one_line() -> None:
    assert one_line(ERROR) == "proxyd.yaml:5:35: unknown option `wieght` [PXD-021]"
    assert one_line(WARNING) == "never matches [PXD-101]"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (ReloadResult(True, True, False, 2, "x", plan=(LIVE,)), "1 change"),
        (ReloadResult(True, True, False, 2, "x", plan=(LIVE, LATER)), "2 changes"),
        (ReloadResult(True, False, False, 1, "x"), "nothing has changed"),
        (ReloadResult(False, False, False, 1, "x", (WARNING, ERROR)), one_line(ERROR)),
        (ReloadResult(False, False, False, 1, "x", (ERROR, ERROR, ERROR)), one_line(ERROR) + " (and 2 more)"),
        (ReloadResult(False, False, False, 1, "x"), "refused"),
    ],
)
def test_a_result_in_one_line(result: ReloadResult, text: str) -> None:
    assert summary(result) == text


def test_only_what_cannot_change_live_is_warned_of() -> None:
    found, = not_live([LIVE, LATER])
    assert (found.code, found.severity, found.message) == ("PXD-210", "warning", "runtime.threads: 1 -> 2: takes effect at the next start")
