"""One finding about a text: what is wrong, where, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Source:
    """A text that findings point into. `name` is what the user calls it; paths in it are relative to `folder`."""

    name: str
    text: str
    folder: str = "."

    @cached_property
    def lines(self) -> list[str]:
        # the line ends that libyaml counts; str.splitlines() would also break at form feeds and the like
        return _LINE_END.split(self.text)


class Span(NamedTuple):
    """A range of a source; lines and columns count from 0, the end is exclusive. A tuple: every key and value has one."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A finding. `code` is stable (`PXD-021`); `help` says what to do; `path` is the setting's path where it has one; `hidden` are ranges
    with secrets in them, which stand there as `***` when a line is shown."""

    code: str
    message: str
    span: Span | None = None
    help: str = ""
    severity: Severity = "error"
    path: str = ""
    hidden: tuple[Span, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The same facts for machines; line and column count from 1, the end is exclusive."""
        facts: dict[str, object] = {"severity": self.severity, "code": self.code, "message": self.message}
        if self.span is not None:
            facts |= {
                "file": self.span.source.name,
                "line": self.span.line + 1,
                "column": self.span.column + 1,
                "end_line": self.span.end_line + 1,
                "end_column": self.span.end_column + 1,
            }
        if self.path:
            facts["path"] = self.path
        if self.help:
            facts["help"] = self.help
        return facts


def by_position(diagnostics: Iterable[Diagnostic], sources: Sequence[Source] = ()) -> list[Diagnostic]:
    """In reading order: file by file (as in `sources`), line by line; those without a place come first. Repeats are dropped."""
    order = {source.name: index for index, source in enumerate(sources)}

    def key(item: Diagnostic) -> tuple[int, str, int, int, str, str]:
        if item.span is None:
            return (-1, "", 0, 0, item.code, item.message)
        name = item.span.source.name
        return (order.get(name, len(order)), name, item.span.line, item.span.column, item.code, item.message)

    return [group for _, group in sorted({key(item): item for item in reversed(list(diagnostics))}.items())]
