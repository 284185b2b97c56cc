"""Tests of what a server answered: a text that the body must hold, a pattern, the value of a header field."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from proxyd.health.reason import excerpt
from proxyd_ext.route.regex import Regex


@dataclass(frozen=True, slots=True)
class Test:
    """One condition on a value. `present` asks for no value; `negate` turns the result."""

    __test__ = False         # for pytest, which takes classes of this name for its own

    kind: Literal["present", "exact", "prefix", "suffix", "contains", "regex"]
    value: str = ""
    negate: bool = False

    def holds(self, data: bytes) -> bool:
        """Of one value; `negate` is not looked at (with several values it speaks of them all)."""
        value = self.value.encode()
        match self.kind:
            case "present":
                return True
            case "exact":
                return data == value
            case "prefix":
                return data.startswith(value)
            case "suffix":
                return data.endswith(value)
            case "contains":
                return value in data
            case "regex":
                return compile_pattern(self.value).search(data)

    def passes(self, values: Sequence[bytes]) -> bool:
        """One of the values holds; turned by `negate`."""
        return any(map(self.holds, values)) != self.negate

    def __str__(self) -> str:
        """What is expected, to stand behind "expected"."""
        said = {"present": "present", "regex": f"matching {self.value}", "exact": excerpt(self.value.encode(), 80)}
        words = said.get(self.kind) or f"{_VERBS[self.kind]} {excerpt(self.value.encode(), 80)}"
        return f"not {words}" if self.negate else words


_VERBS = {"prefix": "beginning with", "suffix": "ending in", "contains": "containing"}


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Regex:
    """The one place where checks meet regular expressions: those of the routes, whose search takes linear time whatever a server sends."""
    return Regex(text)
