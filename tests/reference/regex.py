"""What a pattern means: Python's `re` for its atoms, and sets of places in the text for how they go together."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


def python_pattern(pattern: str) -> bytes:
    """The same pattern for `re`, in bytes; `$` is the end alone, as ours, and not also the place before a last line feed.

    A character beyond ASCII must be one item for `re`, too, so its bytes are put in a group.
    """
    out, at, inside = bytearray(), 0, False
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            out += pattern[at:at + 2].encode()
            at += 2
            continue
        if character == "[" and not inside:
            inside = True
            width = 2 if pattern[at + 1:at + 2] == "^" else 1
            width += pattern[at + width:at + width + 1] == "]"      # there it stands for itself
            out += pattern[at:at + width].encode()
            at += width
            continue
        inside = inside and character != "]"
        if character == "$" and not inside:
            out += rb"\Z"
        elif ord(character) > 127:
            out += b"(?:" + character.encode() + b")"
        else:
            out += character.encode()
        at += 1
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Atom:
    """What is matched in one way only, as `re` has it: a character, a class, an anchor."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """`opening` "" is the whole pattern, which has no brackets."""

    opening: Literal["", "(", "(?:", "(?i:"]
    options: Sequence[Sequence[Node]]


@dataclass(frozen=True, slots=True)
class Times:
    part: Atom | Group
    sign: str
    least: int
    most: int | None


Node = Atom | Group | Times


def render(node: Node) -> str:
    """The node as a pattern."""
    if isinstance(node, Atom):
        return node.text
    if isinstance(node, Times):
        return render(node.part) + node.sign
    inside = "|".join("".join(render(part) for part in option) for option in node.options)
    return f"{node.opening}{inside})" if node.opening else inside


def occurs(node: Node, text: bytes, *, ignore_case: bool = False) -> bool:
    """By sets of places in the text: `re` itself needs exponential time for repeats of repeats."""
    return bool(_ends(node, text, set(range(len(text) + 1)), re.IGNORECASE if ignore_case else re.NOFLAG))


def _ends(node: Node, text: bytes, starts: set[int], flags: re.RegexFlag) -> set[int]:
    """Where matches end that begin at one of these places."""
    if isinstance(node, Atom):
        atom = re.compile(python_pattern(node.text), flags)
        return {found.end() for found in (atom.match(text, start) for start in starts) if found}
    if isinstance(node, Group):
        ends: set[int] = set()
        for option in node.options:
            reached = starts
            for part in option:
                reached = _ends(part, text, reached, flags | re.IGNORECASE if node.opening == "(?i:" else flags)
            ends |= reached
        return ends
    reached = starts
    for _ in range(node.least):
        reached = _ends(node.part, text, reached, flags)
    ends = set(reached)
    # More rounds than there are places lead nowhere new.
    for _ in range(len(text) + 1 if node.most is None else node.most - node.least):
        reached = _ends(node.part, text, reached, flags)
        ends |= reached
    return ends
