from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.factor import Factor, Share


@pytest.mark.parametrize(("text", "hundredths", "number"), [("2", 200, 2), ("1.25", 125, 1.25), ("0.5", 50, 0.5), ("1.10", 110, 1.1)])
def test_factors(text: str, hundredths: int, number: float) -> None:
    factor = Factor(text)
    assert (factor, factor.number) == (hundredths, number)
    assert Factor(str(factor)) == Factor.validate(number) == factor


@pytest.mark.parametrize("value", ["", "1.255", "-1", "2x", "1e3", ".5", True, [1], None])
def test_what_is_no_factor(value: object) -> None:
    with pytest.raises(PydanticCustomError):
        Factor.validate(value)


@pytest.mark.parametrize(("text", "millionths"), [("100%", 1_000_000), ("1%", 10_000), ("0.1%", 1_000), ("0.0001%", 1), ("12.5%", 125_000)])
def test_shares(text: str, millionths: int) -> None:
    assert Share(text) == millionths
    assert str(Share(text)) == text


@pytest.mark.parametrize("text", ["0.00001%", "1", "50 percent", "-1%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        Share(text)
