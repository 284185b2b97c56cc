from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.text import as_flag, as_integer, as_text, check_name, is_name
from proxyd.diagnostics.nodes import SecretText
from proxyd.diagnostics.scalars import resolve

NOT_TEXT: tuple[object, ...] = (None, {}, [])


def test_text_is_as_it_was_written() -> None:
    assert [as_text(resolve(text)) for text in ("1.10", "010", "true", "plain")] == ["1.10", "010", "true", "plain"]
    assert isinstance(as_text(SecretText("x")), SecretText)
    for wrong in NOT_TEXT:
        with pytest.raises(PydanticCustomError):
            as_text(wrong)


def test_whole_numbers_may_be_text() -> None:
    assert as_integer("12") == "12"  # pydantic goes on from there
    assert as_integer(resolve("12")) == 12
    for wrong in (True, 1.5, "1.5", "yes", "", "9" * 30, *NOT_TEXT):
        with pytest.raises(PydanticCustomError):
            as_integer(wrong)


def test_switches_are_true_and_false_only() -> None:
    assert (as_flag(True), as_flag("true"), as_flag("false")) == (True, True, False)
    for wrong in ("on", "yes", "no", 1, 0, None, "TRUE "):
        with pytest.raises(PydanticCustomError):
            as_flag(wrong)


@pytest.mark.parametrize("name", ["a", "shop-api", "api_v1.2", "A" * 100])
def test_names(name: str) -> None:
    assert check_name(name) == name
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "a" * 101, "a\n", "a:1"])
def test_what_cannot_be_a_name(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(PydanticCustomError) as caught:
        check_name(name)
    assert caught.value.type == "PXD-036"
