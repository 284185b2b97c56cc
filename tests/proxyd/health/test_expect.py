from __future__ import annotations

import pytest

from proxyd.health.expect import Test


@pytest.mark.parametrize(
    ("test", "holds", "fails"),
    [
        (Test("exact", "ok"), b"ok", b"ok "),
        (Test("prefix", "ok"), b"ok!", b"no ok"),
        (Test("suffix", "ok"), b"not ok", b"ok!"),
        (Test("contains", "ü"), "für".encode(), b"fur"),
        (Test("regex", "^a+$"), b"aaa", b"aab"),
    ],
)
def test_one_value(test: Test, holds: bytes, fails: bytes) -> None:
    assert test.passes([holds])
    assert not test.passes([fails])
    assert not test.passes([])
    assert test.passes([fails, holds]), "one of several is enough"


def test_negation_speaks_of_all_values() -> None:
    test = Test("exact", "bad", negate=True)
    assert test.passes([])
    assert test.passes([b"good"])
    assert not test.passes([b"good", b"bad"])


def test_in_words() -> None:
    assert str(Test("exact", "a\r")) == r'"a\r"'
    assert str(Test("prefix", "a")) == 'beginning with "a"'
    assert str(Test("suffix", "a", negate=True)) == 'not ending in "a"'
    assert str(Test("regex", "a+")) == "matching a+"
