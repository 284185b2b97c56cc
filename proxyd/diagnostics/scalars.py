"""Plain scalars by the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema).

PyYAML's own resolver is YAML 1.1: there `on` is true, `22:30` is 1350 and `010` is 8. Here they are text, text and ten.
Numbers keep the text they were written as, so that a field which wants text gets `1.10` and not `1.1`.
"""

from __future__ import annotations

import re
from typing import Self

Scalar = None | bool | int | float | str

_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# CPython refuses to convert longer digit strings; no setting needs a number near it, so such a scalar stays text.
_MAX_DIGITS = 300


class PlainInt(int):
    """A whole number with the text it was written as."""

    text: str

    @classmethod
    def of(cls, value: int, text: str) -> Self:
        number = cls(value)
        number.text = text
        return number


class PlainFloat(float):
    """A fraction with the text it was written as."""

    text: str

    @classmethod
    def of(cls, value: float, text: str) -> Self:
        number = cls(value)
        number.text = text
        return number


_BEGINNINGS = frozenset("+-.0123456789~nNtTfF")


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar."""
    if text and text[0] not in _BEGINNINGS:
        return text  # most are names and paths
    if text in _WORDS:
        word = _WORDS[text]
        return PlainFloat.of(word, text) if isinstance(word, float) else word
    if len(text) > _MAX_DIGITS:
        return text
    if _INT.match(text):
        return PlainInt.of(int(text), text)
    if _OCTAL.match(text):
        return PlainInt.of(int(text[2:], 8), text)
    if _HEX.match(text):
        return PlainInt.of(int(text[2:], 16), text)
    if _FLOAT.match(text):
        return PlainFloat.of(float(text), text)
    return text


def written(value: object) -> str:
    """A scalar as its author wrote it, for messages and for fields that want text."""
    if isinstance(value, PlainInt | PlainFloat):
        return value.text
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
