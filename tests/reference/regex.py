"""The same pattern for Python's `re`, which decides by backtracking what ours decides by an automaton."""
from __future__ import annotations


def python_pattern(pattern: str) -> bytes:
    """In bytes; `$` is the end alone, as ours, and not also the place before a last line feed.

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
