"""Numbers that are no counts: factors, which carry no unit (`1.25`), and shares finer than a percent (`0.1%`)."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from proxyd.config.units import Quantity
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.scalars import PlainFloat, PlainInt, written


class Factor(Quantity):
    """Hundredths of a plain number."""

    noun = "a number"
    base = "hundredths"
    units: ClassVar[dict[str, int]] = {}

    @classmethod
    def parse(cls, text: str) -> int:
        found = re.match(r"([0-9]{1,6})(?:\.([0-9]{1,2}))?\Z", text.strip())
        if not found:
            raise fail("PXD-032", f"{shown(text)} is not {cls.noun}", "write it without a unit, with two decimals at most, like `1.25`")
        return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))

    @classmethod
    def validate(cls, value: object) -> Factor:
        if isinstance(value, cls):
            return value
        if isinstance(value, str | int | float | PlainInt | PlainFloat) and not isinstance(value, bool):
            return cls(cls.parse(written(value)))
        raise fail("PXD-030", f"expected {cls.noun} like `1.25`, got {shown(value)}")

    @property
    def number(self) -> int | float:
        """As it is written."""
        return int(self) // 100 if int(self) % 100 == 0 else int(self) / 100

    def __str__(self) -> str:
        return str(self.number)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": ["number", "string"]}


class Share(Quantity):
    """Millionths, written as a percentage with up to four decimals."""

    noun = "a percentage"
    base = "millionths"
    units: ClassVar[dict[str, int]] = {"%": 10_000}
    shown_units = ("%",)
    bare_unit = "%"

    @classmethod
    def example(cls) -> str:
        return "0.1%"

    def __str__(self) -> str:
        return f"{int(self) / 10_000:.4f}".rstrip("0").rstrip(".") + "%"
