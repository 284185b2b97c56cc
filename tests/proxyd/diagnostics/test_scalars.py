"""The YAML 1.2 core schema, against its own table (§10.3.2) and against what YAML 1.1 would have made of the same text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.diagnostics.scalars import PlainFloat, PlainInt, resolve, written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("NULL", None),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("False", False),
        ("FALSE", False),
        ("0", 0),
        ("010", 10),
        ("-12", -12),
        ("+7", 7),
        ("0o17", 15),
        ("0xFf", 255),
        ("1.10", 1.1),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_core_schema(text: str, value: object) -> None:
    resolved = resolve(text)
    assert resolved == value
    assert isinstance(resolved, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    "text",
    ["on", "off", "yes", "No", "y", "n", "22:30", "1_000", "2024-01-01", "0b1", "0O7", "nULL", "tRue", "1.2.3", "e3", ".", "-", "+", "0x"],
)
def test_what_only_yaml_1_1_resolves_stays_text(text: str) -> None:
    assert resolve(text) == text


def test_not_a_number() -> None:
    value = resolve(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


def test_numbers_keep_their_spelling() -> None:
    assert isinstance(resolve("010"), PlainInt)
    assert isinstance(resolve("1.10"), PlainFloat)
    assert [written(resolve(text)) for text in ("010", "1.10", "0x1F", "true", "~", "text")] == [
        "010",
        "1.10",
        "0x1F",
        "true",
        "null",
        "text",
    ]


@given(st.text(max_size=500) | st.from_regex(r"[-+]?[0-9]{1,400}(\.[0-9]*)?(e[0-9]{1,4})?", fullmatch=True))
def test_never_raises(text: str) -> None:
    resolve(text)
