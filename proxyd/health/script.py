"""What a scripted check says and must hear, without I/O: bytes to send, and bytes or patterns that must come."""
from __future__ import annotations

from dataclasses import dataclass, field

from proxyd.health.expect import compile_pattern
from proxyd.health.reason import excerpt

LIMIT = 256 * 1024
"""Most bytes that one step looks through, and most that any check reads of an answer, as with nginx."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression. `^` is the first byte since the last step, `$` the end of what has come so far."""

    text: str


What = bytes | Pattern


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes = field(repr=False)      # may hold a password


@dataclass(frozen=True, slots=True)
class Expect:
    """`what` must come, whole, in the first `within` bytes since the last step; none of `unless` may begin before its end."""

    what: What
    within: int = LIMIT
    unless: tuple[What, ...] = ()

    def wanted(self, heard: bytes | bytearray) -> str:
        """What came instead, in words."""
        return f"got {excerpt(heard)}, expected {in_words(self.what)}"


Step = Send | Expect


def find_end(what: What, data: bytes | bytearray, start: int = 0) -> int:
    """Where the first occurrence ends, -1 without one. Nothing that ends before `start` is looked at again."""
    if isinstance(what, bytes):
        at = data.find(what, max(0, start - len(what) + 1))
        return -1 if at < 0 else at + len(what)
    regex, text = compile_pattern(what.text), bytes(data)
    if not regex.search(text):
        return -1
    # The engine tells only whether there is a match: the shortest beginning that has one ends with it.
    low, high = -1, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if regex.search(text[:middle]) else (middle, high)
    return high


def in_words(what: What) -> str:
    return excerpt(what) if isinstance(what, bytes) else f"matching {what.text}"


def holds(what: What, data: bytes) -> bool:
    return find_end(what, data) >= 0
