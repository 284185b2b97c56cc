"""What a translation has to tell: where the result differs from what it came from, and what is not in it at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["changed", "left out"]


@dataclass(frozen=True, slots=True)
class Origin:
    """A place in the file that is translated, and what stands there."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    origin: Origin
    reason: str
    instead: str = ""

    def __str__(self) -> str:
        """`nginx.conf:12 gzip on: reason`, and what to do on a line of its own."""
        return f"{self.origin} {self.origin.text}: {self.reason}" + (f"\n  = help: {self.instead}" if self.instead else "")

    def as_dict(self) -> dict[str, object]:
        where = {"file": self.origin.file, "line": self.origin.line, "directive": self.origin.text}
        return where | {"kind": self.kind, "reason": self.reason} | ({"help": self.instead} if self.instead else {})


@dataclass(slots=True)
class Report:
    """Findings, each once, as they were met."""

    _found: dict[Finding, None] = field(default_factory=dict)

    def changed(self, origin: Origin, reason: str, instead: str = "") -> None:
        self._found.setdefault(Finding("changed", origin, reason, instead))

    def left_out(self, origin: Origin, reason: str, instead: str = "") -> None:
        self._found.setdefault(Finding("left out", origin, reason, instead))

    def of(self, kind: Kind) -> list[Finding]:
        """In the order of files and lines."""
        return sorted((one for one in self._found if one.kind == kind), key=lambda one: (one.origin.file, one.origin.line))

    @property
    def findings(self) -> list[Finding]:
        return [*self.of("changed"), *self.of("left out")]
