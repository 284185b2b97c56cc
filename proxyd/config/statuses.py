"""Sets of statuses: `200-299`, `200,204,301-302`, `5xx`."""

from __future__ import annotations

import re
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail, shown

LOWEST_FAILURE = 400


class StatusSet:
    """Ranges of statuses, both ends included, as they were written; `5xx` is 500-599."""

    __slots__ = ("ranges",)

    def __init__(self, text: str) -> None:
        self.ranges: tuple[tuple[int, int], ...] = tuple(self._parse(part.strip(), text) for part in text.split(","))

    @staticmethod
    def _parse(part: str, text: str) -> tuple[int, int]:
        family = re.match(r"([1-5])[xX]{2}\Z", part)
        if family:
            return int(family[1]) * 100, int(family[1]) * 100 + 99
        found = re.match(r"([0-9]{3})(?:-([0-9]{3}))?\Z", part)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 100 <= low <= high <= 599:
            within = f", in {shown(text)}" if part != text else ""
            raise fail("PXD-038", f"{shown(part)} is not a status or a range of them{within}", "like `200`, `200-299` or `5xx`")
        return low, high

    def __contains__(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.ranges)

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)

    def __repr__(self) -> str:
        return f"StatusSet({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StatusSet) and other.ranges == self.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    @classmethod
    def validate(cls, value: object) -> StatusSet:
        return value if isinstance(value, cls) else cls(as_text(value))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": ["string", "integer"]}


class FailureStatuses(StatusSet):
    """Of answers that tell of a failure: 400 to 599."""

    __slots__ = ()

    @staticmethod
    def _parse(part: str, text: str) -> tuple[int, int]:
        low, high = StatusSet._parse(part, text)
        if low < LOWEST_FAILURE:
            raise fail("PXD-033", f"{shown(part)} is not the status of a failure", f"allowed: {LOWEST_FAILURE} to 599, like `503` or `5xx`")
        return low, high
