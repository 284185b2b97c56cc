"""Regular expressions in the config: `{regex: TEXT}` where otherwise plain text stands. The engine's own language, in linear time."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from proxyd.config.base import STRING
from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail, shown

LONGEST = 4096
REGEX_FORM: dict[str, Any] = {"type": "object", "properties": {"regex": STRING}, "required": ["regex"], "additionalProperties": False}


class Regex:
    """A pattern that the engine takes. Canonical form: `{regex: pattern}`."""

    __slots__ = ("pattern",)

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regex) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash(("regex", self.pattern))

    def __str__(self) -> str:
        return f"~{self.pattern}"

    def __repr__(self) -> str:
        return f"Regex({self.pattern!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())


def check_regex(text: str) -> str:
    """The pattern, if the engine compiles it. Unanchored but for `^` and `$`."""
    # Here, because the compiler is a part of the engine that only configs with patterns need.
    from proxyd_ext.route.regex import Regex as Compiled
    from proxyd_ext.route.regex import RegexError

    if not text:
        raise fail("PXD-038", "an empty regular expression, which is found in everything", "leave it out")
    if len(text) > LONGEST:
        raise fail("PXD-033", f"the regular expression has {len(text)} characters", f"allowed: up to {LONGEST}")
    try:
        Compiled(text)
    except RegexError as error:
        raise fail("PXD-038", f"{shown(text)} is not a regular expression: {error.what}", _help(text, error.position)) from None
    return text


def _help(text: str, position: int) -> str:
    if "(?=" in text or "(?!" in text or "(?<" in text or any(f"\\{digit}" in text for digit in "123456789"):
        return "look-around and back-references are no part of this language: they have no bound on their time"
    if 0 < position < len(text):
        return f"at character {position + 1}, before {shown(text[position:])}"
    return "make the numbers in `{…}` smaller, or split it into several routes" if "{" in text else "see `proxyd explain PXD-038`"


def parse_regex(value: dict[str, object]) -> Regex:
    """From `{regex: TEXT}`."""
    for name in value:
        if name != "regex":
            raise fail("PXD-021", f"unknown option {shown(name)}", "allowed: regex", at=(name,), key=True)
    if "regex" not in value:
        raise fail("PXD-022", "the mapping is empty", "write text, or `{regex: …}`")
    try:
        return Regex(check_regex(as_text(value["regex"])))
    except Exception as error:
        raise _within(error) from None


def _within(error: Exception) -> Exception:
    """The same error, pointing at the pattern inside the mapping."""
    context = getattr(error, "context", None)
    if context is None or "message" not in context:
        return error
    return fail(getattr(error, "type", "PXD-038"), context["message"], context["help"], at=("regex",))
