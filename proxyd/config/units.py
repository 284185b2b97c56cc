"""Quantities with units: durations, sizes, rates, percents. Each is an int in its base unit that prints itself as people write it.

A bare number is an error that shows the spelling: whether `10` means seconds, milliseconds or bytes is what such files get wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.scalars import PlainFloat, PlainInt, written

_LARGEST = 2**53  # every larger count of milliseconds or bytes is a slip of the pen


class Quantity(int):
    """The base of all; `Duration("30s")` and `Duration(30_000)` are equal. Zero means `none` where a field allows it."""

    noun: ClassVar[str]  # "a duration"
    base: ClassVar[str]  # what the int counts
    units: ClassVar[dict[str, int]]  # spelling → factor, smallest first
    shown_units: ClassVar[tuple[str, ...]]  # those that printing chooses from, largest first
    parts: ClassVar[bool] = False  # `1h30m` is allowed
    bare_unit: ClassVar[str]  # the unit that a bare number most likely means

    def __new__(cls, value: int | str) -> Self:
        return int.__new__(cls, cls.parse(value) if isinstance(value, str) else value)

    @classmethod
    def pattern(cls) -> str:
        one = r"[0-9]+(\.[0-9]+)?(" + "|".join(re.escape(unit) for unit in cls.units) + ")"
        return rf"^({one})+$" if cls.parts else f"^{one}$"

    @classmethod
    def spelling(cls) -> str:
        return ", ".join(cls.units)

    @classmethod
    def parse(cls, text: str) -> int:
        """The count of base units; raises a validation error with the fixed spelling."""
        stripped = text.strip()
        if len(stripped) > 60 or not re.match(cls.pattern(), stripped):
            raise cls._wrong(text)
        total = Fraction(0)
        for number, _, unit in re.findall(r"([0-9]+(\.[0-9]+)?)([^0-9.]+)", stripped):
            total += Fraction(number) * cls.units[unit]
        if total.denominator != 1:
            smallest = next(iter(cls.units))
            raise fail("PXD-032", f"{shown(text)} is not a whole number of {smallest}", f"the finest unit here is `{smallest}`")
        if total > _LARGEST:
            raise fail("PXD-033", f"{shown(text)} is too large for {cls.noun}")
        return int(total)

    @classmethod
    def _wrong(cls, text: str) -> Exception:
        bare = text.strip()
        if re.match(r"[0-9]+(\.[0-9]+)?\Z", bare):
            return fail("PXD-031", f"{cls.noun} needs a unit: write `{bare}{cls.bare_unit}`", f"units: {cls.spelling()}")
        spelled = {unit.lower(): unit for unit in cls.units} | cls._aliases()
        loose = re.match(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z/%]+)\Z", bare)
        hint = spelled.get(loose[2].lower()) if loose else None
        help = f"did you mean `{loose[1]}{hint}`? " if loose and hint else ""
        return fail(
            "PXD-032", f"{shown(text)} is not {cls.noun}", f"{help}write a number and a unit ({cls.spelling()}), like `{cls.example()}`"
        )

    @classmethod
    def _aliases(cls) -> dict[str, str]:
        return {}

    @classmethod
    def example(cls) -> str:
        raise NotImplementedError

    @classmethod
    def validate(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return int.__new__(cls, cls.parse(value))
        if isinstance(value, int | float | PlainInt | PlainFloat) and not isinstance(value, bool):
            raise cls._wrong(written(value))
        raise fail("PXD-030", f"expected {cls.noun} like `{cls.example()}`, got {shown(value)}")

    def __str__(self) -> str:
        for unit in self.shown_units:
            if self and self % self.units[unit] == 0:
                return f"{int(self) // self.units[unit]}{unit}"
        return "none" if not self else f"{int(self)}{self.shown_units[-1]}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"{cls.pattern()}|\\$\\{{", "examples": [cls.example()]}


class Duration(Quantity):
    """Milliseconds."""

    noun = "a duration"
    base = "ms"
    units: ClassVar[dict[str, int]] = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    shown_units: ClassVar[tuple[str, ...]] = ("d", "h", "m", "s", "ms")
    parts = True
    bare_unit = "s"

    @classmethod
    def example(cls) -> str:
        return "30s"

    @classmethod
    def _aliases(cls) -> dict[str, str]:
        return {
            "sec": "s",
            "secs": "s",
            "second": "s",
            "seconds": "s",
            "min": "m",
            "mins": "m",
            "minute": "m",
            "minutes": "m",
            "hour": "h",
            "hours": "h",
            "day": "d",
            "days": "d",
            "msec": "ms",
            "millis": "ms",
        }

    @property
    def seconds(self) -> float:
        return int(self) / 1000


class Lifetime(Duration):
    """Seconds: how long something is kept, which HTTP counts in whole ones (RFC 9111 §1.2.2)."""

    base = "s"
    units: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    shown_units = ("d", "h", "m", "s")

    @classmethod
    def example(cls) -> str:
        return "10m"

    @classmethod
    def _aliases(cls) -> dict[str, str]:
        return {word: unit for word, unit in super()._aliases().items() if unit in cls.units}

    @property
    def seconds(self) -> float:
        return int(self)


class Size(Quantity):
    """Bytes."""

    noun = "a size"
    base = "bytes"
    units: ClassVar[dict[str, int]] = {
        "B": 1,
        "kB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "TB": 10**12,
        "KiB": 2**10,
        "MiB": 2**20,
        "GiB": 2**30,
        "TiB": 2**40,
    }
    shown_units = ("TiB", "GiB", "MiB", "KiB", "B")
    bare_unit = "B"

    @classmethod
    def example(cls) -> str:
        return "16KiB"

    @classmethod
    def _aliases(cls) -> dict[str, str]:
        return {"k": "KiB", "m": "MiB", "g": "GiB", "ki": "KiB", "mi": "MiB", "gi": "GiB", "bytes": "B", "byte": "B"}


class Rate(Quantity):
    """Bytes a second."""

    noun = "a rate"
    base = "bytes a second"
    units: ClassVar[dict[str, int]] = {f"{unit}/s": factor for unit, factor in Size.units.items()}
    shown_units = ("GiB/s", "MiB/s", "KiB/s", "B/s")
    bare_unit = "B/s"

    @classmethod
    def example(cls) -> str:
        return "240B/s"

    @classmethod
    def _aliases(cls) -> dict[str, str]:
        return {unit.lower(): f"{unit}/s" for unit in Size.units} | {"bps": "B/s"}


class Percent(Quantity):
    """Hundredths."""

    noun = "a percentage"
    base = "percent"
    units: ClassVar[dict[str, int]] = {"%": 1}
    shown_units = ("%",)
    bare_unit = "%"

    @classmethod
    def example(cls) -> str:
        return "50%"

    def __str__(self) -> str:
        return f"{int(self)}%"


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds of a quantity, spelled with units. With `off`, `none` is allowed too and becomes zero."""

    low: str
    high: str
    off: bool = False

    def __get_pydantic_core_schema__(self, source: type[Quantity], handler: GetCoreSchemaHandler) -> CoreSchema:
        low, high = source(self.low), source(self.high)

        def check(value: object, inner: core_schema.ValidatorFunctionWrapHandler) -> Quantity:
            if self.off and value == "none":
                return source(0)
            quantity: Quantity = inner(value)
            if not low <= quantity <= high and not (self.off and quantity == 0):
                off = "; `none` switches it off" if self.off else ""
                raise fail("PXD-033", f"{shown(value)} is out of bounds", f"allowed: {self.low} to {self.high}{off}")
            return quantity

        return core_schema.no_info_wrap_validator_function(check, handler(source), serialization=core_schema.to_string_ser_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner = handler(schema)
        return {"anyOf": [inner, {"const": "none"}]} if self.off else inner


class RequestRate:
    """So many requests in so many seconds: `20/s`, `100/m`, `5/10s`. What is counted in which time is kept as written: nginx's arithmetic
    rounds `100/m` otherwise than the same rate in seconds."""

    __slots__ = ("per_s", "requests")

    fastest: ClassVar[int] = 1_000_000  # requests a second
    longest: ClassVar[int] = 86_400  # seconds
    units: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    _aliases: ClassVar[dict[str, str]] = {word: unit for word, unit in Lifetime._aliases().items() if unit != "ms"}

    def __init__(self, text: str) -> None:
        """Raises a validation error with the fixed spelling."""
        found = re.match(r"([0-9]{1,15})/([0-9]{0,9})([smhd])\Z", text.strip())
        if not found:
            raise self._wrong(text)
        self.requests = int(found[1])
        self.per_s = int(found[2] or 1) * self.units[found[3]]
        if not self.requests:
            raise fail("PXD-033", f"{shown(text)} lets nothing pass", "at least one request; to refuse everybody: `access: {deny: all}`")
        if not 1 <= self.per_s <= self.longest:
            help = "allowed: 1s to 1d; for longer ones there are quotas of `plans`"
            raise fail("PXD-033", f"the time in {shown(text)} is out of bounds", help)
        if self.requests > self.fastest * self.per_s:
            raise fail("PXD-033", f"{shown(text)} is out of bounds", f"allowed: up to {self.fastest}/s")

    @classmethod
    def _wrong(cls, text: str) -> Exception:
        bare = text.strip()[:60]
        if re.match(r"[0-9]+\Z", bare):
            return fail("PXD-031", f"a rate of requests needs a time: write `{bare}/s`", "times: s, m, h, d, or so many of them: `5/10s`")
        help = "write requests and a time (s, m, h, d), like `20/s`, `100/m` or `5/10s`"
        near = cls._near(bare)
        return fail("PXD-032", f"{shown(text)} is not a rate of requests", (f"did you mean `{near}`? " if near else "") + help)

    @classmethod
    def _near(cls, text: str) -> str:
        """What others write for it: `20r/s`, `20 rps`, `20 req/min`, `0.5/s`, `20 per minute`."""
        number, noun, time = r"([0-9]{1,9})(?:\.([0-9]{1,3}))?", r"(?:requests?|reqs?|r)?", r"([0-9]{0,9})\s*([A-Za-z]+)"
        loose = re.match(rf"{number}\s*{noun}\s*(?:/|per\s+|p)\s*{time}\Z", text, re.IGNORECASE)
        word = loose[4].lower() if loose else ""
        word = cls._aliases.get(word, word)
        if not loose or word not in cls.units:
            return ""
        rate = Fraction(int(loose[1])) + Fraction(int(loose[2] or 0), 10 ** len(loose[2] or ""))
        if not rate:
            return ""
        per = int(loose[3] or 1) * rate.denominator
        return f"{rate.numerator}/{'' if per == 1 else per}{word}"

    @classmethod
    def validate(cls, value: object) -> RequestRate:
        if isinstance(value, cls):
            return value
        if isinstance(value, str | int | float | PlainInt | PlainFloat) and not isinstance(value, bool):
            return cls(value if isinstance(value, str) else written(value))
        raise fail("PXD-030", f"expected a rate of requests like `20/s`, got {shown(value)}")

    @property
    def key(self) -> tuple[int, int]:
        return self.requests, self.per_s

    @property
    def per_us(self) -> int:
        return self.per_s * 1_000_000

    def seconds_for(self, requests: int) -> int:
        """The time in which so many flow, rounded up."""
        return -(-requests * self.per_s // self.requests)

    def __str__(self) -> str:
        unit, factor = next((unit, factor) for unit, factor in reversed(self.units.items()) if self.per_s % factor == 0)
        count = self.per_s // factor
        return f"{self.requests}/{'' if count == 1 else count}{unit}"

    def __repr__(self) -> str:
        return f"RequestRate({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequestRate) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^[0-9]+/[0-9]*[smhd]$|\$\{", "examples": ["20/s"]}
