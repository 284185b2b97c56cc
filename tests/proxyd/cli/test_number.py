from __future__ import annotations

import click
import pytest

from proxyd.cli.number import Number


@pytest.mark.parametrize(("text", "says"), [("two", "'two' is not a valid whole number"), ("0", "0 is not in the range 1<=x<=9")])
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(click.BadParameter, match=says):
        Number(1, 9)(text)


def test_a_number() -> None:
    assert Number(1, 9)("4") == 4
