"""Usage plans of API keys, and where usage is kept."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from proxyd.config.base import STRING, Model, Short
from proxyd.config.cache import check_snapshot_file
from proxyd.config.text import Integer, Text
from proxyd.config.units import Duration, RequestRate, Within
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.scalars import PlainFloat, PlainInt, written

Period = Literal["day", "week", "month"]
PERIODS: tuple[Period, ...] = get_args(Period)
QUOTA_MAX = 10**12
_PERIOD_WORDS = {"d": "day", "days": "day", "1d": "day", "w": "week", "weeks": "week", "mo": "month", "months": "month", "mon": "month"}
_SHORTER = re.compile(r"(s|sec|seconds?|m|min|minutes?|h|hours?)\Z")


class Quota:
    """So many requests in a calendar period (UTC): `10000/day`, `1000000/month`."""

    __slots__ = ("period", "requests")

    def __init__(self, requests: int, period: Period) -> None:
        self.requests, self.period = requests, period

    @classmethod
    def parse(cls, value: object) -> Quota:
        if isinstance(value, cls):
            return value
        if isinstance(value, bool) or not isinstance(value, str | int | float | PlainInt | PlainFloat):
            raise fail("PXD-030", f"expected a quota like `10000/day`, got {shown(value)}")
        text = written(value).strip()
        number, slash, word = text.partition("/")
        if re.match(r"[0-9]{1,18}\Z", text):
            raise fail("PXD-088", f"a quota needs a period: write `{text}/day`", f"periods: {', '.join(PERIODS)}")
        period = next((period for period in PERIODS if period == word.strip()), None)
        if not slash or period is None or not re.match(r"[0-9]{1,18}\Z", number):
            near = _PERIOD_WORDS.get(word.strip().lower())
            hint = f"did you mean `{number}/{near}`? " if near and number.isdigit() else ""
            hint += "for shorter times there is `rate`; " if _SHORTER.match(word.strip()) else ""
            help = f"{hint}write requests and a period ({', '.join(PERIODS)}), like `10000/day`"
            raise fail("PXD-088", f"{shown(value)} is not a quota", help)
        if not 1 <= int(number) <= QUOTA_MAX:
            raise fail("PXD-033", f"{shown(value)} is out of bounds", f"allowed: 1 to {QUOTA_MAX} requests")
        return cls(int(number), period)

    def __str__(self) -> str:
        return f"{self.requests}/{self.period}"

    def __repr__(self) -> str:
        return f"Quota({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quota) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^[0-9]+/(day|week|month)$|\$\{", "examples": ["10000/day"]}


class UsagePlan(Model):
    rate: RequestRate | None = Field(
        None, description="How often each key of the plan may come; unset: as often as it likes.", examples=["100/s"]
    )
    burst: Annotated[Integer, Field(ge=0, le=1_000_000)] = Field(0, description="So many requests beyond the rate pass at once.")
    quota: Quota | None = Field(
        None,
        description="Requests of each key in a calendar `day`, `week` (from Monday) or `month`, by UTC; what exceeds it gets 429.",
        examples=["10000/day"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rate is None and self.quota is None:
            raise fail("PXD-088", "the plan limits nothing", "add `rate: 100/s`, or `quota: 10000/day`")
        if self.rate is None and self.burst:
            raise fail("PXD-088", "`burst` has no `rate` that it could go beyond", "add `rate`", at=("burst",), key=True)
        return self


def expand_usage(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


class Usage(Model):
    file: Annotated[Text, AfterValidator(check_snapshot_file)] = Field(
        description="File that the usage of quotas is written to, and read from when proxyd starts.",
        examples=["/var/lib/proxyd/usage.json"],
    )
    every: Annotated[Duration, Within("1s", "1h")] = Field(
        Duration("10s"), description="How often. What keys used since then is forgotten if proxyd ends without notice."
    )


UsageField = Annotated[Usage, Short(expand_usage, (STRING,))]
