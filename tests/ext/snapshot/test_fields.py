"""The sum of a route's `headers` steps."""
from __future__ import annotations

import pytest

from proxyd_ext.http1.lines import OWNED
from proxyd_ext.snapshot.fields import FieldEdits

Step = tuple[list[str], bytes, bytes]


@pytest.mark.parametrize(
    ("steps", "lines", "drop"),
    [
        ([], b"", b""),
        ([([], b"X: 1\r\n", b"")], b"X: 1\r\n", b"x\n"),
        ([([], b"", b"X: 1\r\n")], b"X: 1\r\n", b""),
        ([(["X"], b"", b"")], b"", b"x\n"),
        ([(["X"], b"", b"x: 1\r\n")], b"x: 1\r\n", b"x\n"),
        ([([], b"X: 1\r\nx: 2\r\n", b"X: 3\r\n")], b"X: 1\r\nx: 2\r\nX: 3\r\n", b"x\n"),
        ([([], b"X: 1\r\n", b"Y: 1\r\n"), (["x", "Y"], b"", b"")], b"", b"x\ny\n"),
        ([([], b"X: 1\r\n", b""), ([], b"X: 2\r\n", b"")], b"X: 2\r\n", b"x\n"),
        ([([], b"", b"X: 1\r\n"), ([], b"", b"X: 2\r\n")], b"X: 1\r\nX: 2\r\n", b""),
        ([(["X"], b"", b""), ([], b"", b"X: 2\r\n")], b"X: 2\r\n", b"x\n"),
        ([([], b"XX: 1\r\n", b""), (["X"], b"", b"")], b"XX: 1\r\n", b"xx\nx\n"),
        ([([], b"X: a:b\r\n", b"")], b"X: a:b\r\n", b"x\n"),
    ],
)
def test_sum(steps: list[Step], lines: bytes, drop: bytes) -> None:
    edits = FieldEdits()
    for remove, replacing, beside in steps:
        edits.step(remove, replacing, beside)
    assert (edits.lines, edits.drop) == (lines, drop)


@pytest.mark.parametrize("name", sorted(OWNED))
def test_framing_is_not_touched(name: bytes) -> None:
    line = name.title() + b": 1\r\n"
    for step in (([name.decode().upper()], b"", b""), ([], line, b""), ([], b"", line)):
        with pytest.raises(ValueError, match="the proxy itself"):
            FieldEdits().step(*step)


def test_no_name() -> None:
    with pytest.raises(ValueError, match="no name"):
        FieldEdits().step([""], b"", b"")
