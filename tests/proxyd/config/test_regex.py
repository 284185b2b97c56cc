from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.regex import LONGEST, Regex, check_regex, parse_regex


@pytest.mark.parametrize("text", ["a", "^/v[0-9]+/", "a|b", "(?:ab)+$", r"\d{3}"])
def test_what_the_engine_takes(text: str) -> None:
    assert check_regex(text) == text
    assert parse_regex({"regex": text}) == Regex(text)


@pytest.mark.parametrize("text", ["(", "a)", "[", "*a", r"(a)\1", "(?=a)", "", "a" * (LONGEST + 1)])
def test_what_it_does_not(text: str) -> None:
    with pytest.raises(PydanticCustomError) as error:
        parse_regex({"regex": text})
    assert error.value.context is not None
    assert error.value.context["at"] == ["regex"]


def test_what_backtracking_needs_is_explained() -> None:
    with pytest.raises(PydanticCustomError) as error:
        check_regex("(?=a)b")
    assert "no bound on their time" in str(error.value.context)
