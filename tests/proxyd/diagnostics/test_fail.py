from __future__ import annotations

import pytest

from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.nodes import SecretText
from proxyd.diagnostics.scalars import resolve


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "`x`"),
        ("", "empty text"),
        (None, "nothing"),
        ({}, "a mapping"),
        ([], "a list"),
        (True, "`true`"),
        (resolve("1.10"), "`1.10`"),
        ("a\nb", "`a\N{REPLACEMENT CHARACTER}b`"),
        ("x" * 100, "`" + "x" * 60 + "…`"),
        (SecretText("hunter2"), "`***`"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


def test_fail_carries_what_the_finding_needs() -> None:
    error = fail("PXD-039", "{weird} message", "help", at=("a", 0), key=True)
    assert error.type == "PXD-039"
    assert error.message() == "{weird} message"
    assert error.context == {"message": "{weird} message", "help": "help", "at": ["a", 0], "key": True}
