from __future__ import annotations

import pytest

from proxyd_ext.limit.overload import Overload


def test_what_engines_are_told() -> None:
    word = Overload()
    assert (word.shed_below, word.retry_s) == (0, 1)
    word.shed_below, word.retry_s = 3, 0
    assert (word.shed_below, word.retry_s) == (3, 1)
    word.retry_s = 1 << 20
    assert word.retry_s == 86_400


@pytest.mark.parametrize("level", [-1, 4])
def test_critical_requests_are_never_shed(level: int) -> None:
    word = Overload()
    with pytest.raises(ValueError, match="critical requests are never shed"):
        word.shed_below = level
    assert word.shed_below == 0
