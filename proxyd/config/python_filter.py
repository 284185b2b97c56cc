"""The policy `python`: a filter of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema

from proxyd.config.base import STRING, Model, Short
from proxyd.config.text import Count, Integer, as_text
from proxyd.config.units import Duration, Within
from proxyd.diagnostics.fail import fail


class FilterFile(str):
    """The path as the config writes it, with the one that it means."""

    __slots__ = ("path",)
    path: Path

    @classmethod
    def of(cls, text: str, path: Path) -> Self:
        file = cls(text)
        file.path = path
        return file

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FilterFile) and str.__eq__(self, other) and other.path == self.path

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((str.__hash__(self), self.path))


def check_filter_file(value: object) -> FilterFile:
    """Files have been looked at before (filter_files.py), where the folder that their paths start at was known."""
    if isinstance(value, FilterFile):
        return value
    raise fail("PXD-030", "expected the path of a Python file", f"like `filters/{as_text(value)[:40]}`" if isinstance(value, str) else "")


def expand_python(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


class PythonFilter(Model):
    """It runs in worker processes beside the daemon."""

    file: Annotated[FilterFile, PlainValidator(check_filter_file), WithJsonSchema(STRING)] = Field(
        description=(
            "Python file, relative to this one, with `async def on_request(request)` or `async def on_response(request, response)`, or "
            "both. When it, or a module beside it that it imports, changes, the new version takes over if it loads."
        ),
        examples=["filters/tenant.py"],
    )
    timeout: Annotated[Duration, Within("1ms", "1m")] = Field(
        Duration("1s"), description="The longest that a request waits for each of the two; then the call has failed."
    )
    on_failure: Literal["closed", "open"] = Field(
        "closed", description="When a call fails, or the filter is disabled: the request gets 503, or passes as if there were no filter."
    )
    workers: Annotated[Integer, Field(ge=1, le=64)] = Field(
        1, description="Processes. One works on many requests at a time, as far as the filter waits and does not compute."
    )
    max_pending: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        1_000, description="Requests that the filter works on, or that wait for it. Those beyond have failed at once."
    )
    disable_after: Count = Field(
        20,
        description=(
            "After so many failed calls in a row nobody is asked any more for a while, and `on_failure` decides; `none`: never. Where "
            "clients can make calls fail at will, they can do that, too."
        ),
    )
    disable_for: Annotated[Duration, Within("100ms", "10m")] = Field(
        Duration("30s"), description="For how long; twice as long each time that the call behind it fails again, ten minutes at most."
    )


PythonField = Annotated[PythonFilter, Short(expand_python, (STRING,))]
