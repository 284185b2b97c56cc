"""Scalars of the model that are stricter or kinder than pydantic's: text, whole numbers, switches, names."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StringConstraints, WithJsonSchema

from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.scalars import PlainFloat, PlainInt, written

MAX_BODY = 1024 * 1024  # of an answer in the config
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")


def as_text(value: object) -> str:
    """Text as written, also where YAML saw a number: `X-Version: 1.10` keeps its zero. A secret stays marked as one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | PlainInt | PlainFloat):
        return written(value)
    raise fail("PXD-030", f"expected text, got {shown(value)}")


def as_integer(value: object) -> object:
    """Digits are taken from text too: `"${env:THREADS}"` has to be quoted in places, and is text from there on."""
    if isinstance(value, bool) or (isinstance(value, str) and not re.match(r"[-+]?[0-9]{1,18}\Z", value)) or value is None:
        raise fail("PXD-030", f"expected a whole number, got {shown(value)}")
    if isinstance(value, dict | list | float):
        help = "without a fraction" if isinstance(value, float) else ""
        raise fail("PXD-030", f"expected a whole number, got {shown(value)}", help)
    return value


def count_or_none(value: object) -> object:
    return 0 if value == "none" else as_integer(value)


def as_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    help = "write `true`" if value in ("on", "yes", "y") else "write `false`" if value in ("off", "no", "n") else ""
    raise fail("PXD-030", f"expected true or false, got {shown(value)}", help)


def check_name(value: str) -> str:
    if not _NAME.match(value):
        raise fail(
            "PXD-036", f"{shown(value)} cannot be a name", "names are made of letters, digits, `_`, `.` and `-`, at most 100 of them"
        )
    return value


def check_body(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise fail("PXD-038", "the body is not valid Unicode") from None
    if size > MAX_BODY:
        raise fail("PXD-033", f"the body is {size} bytes long", "allowed: up to 1 MiB")
    return text


def is_name(value: object) -> bool:
    return isinstance(value, str) and bool(_NAME.match(value))


Text = Annotated[str, PlainValidator(as_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Integer = Annotated[int, BeforeValidator(as_integer)]
Count = Annotated[  # `none` is 0: no bound, or none at all
    int,
    BeforeValidator(count_or_none),
    Field(ge=0, le=1_000_000),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 1_000_000}, {"const": "none"}]}),
]
Flag = Annotated[bool, PlainValidator(as_flag), WithJsonSchema({"type": "boolean"})]
Name = Annotated[
    str,
    BeforeValidator(as_text),
    AfterValidator(check_name),
    StringConstraints(),
    WithJsonSchema({"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,100}$"}),
]
