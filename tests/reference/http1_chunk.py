"""The chunked coding read whole, with one regular expression a line."""
from __future__ import annotations

import re
from dataclasses import dataclass

EXTENSION_MAX, EXTENSIONS_TOTAL = 256, 16384
_SIZE = re.compile(rb"([0-9A-Fa-f]+)([ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?)\r\n")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")


@dataclass(frozen=True, slots=True)
class Body:
    data: bytes
    trailers: bytes
    rest: bytes


def decode(text: bytes) -> Body | None:
    """The body at the front of `text`; None: it is malformed, or not complete."""
    data, overhead, at = b"", 0, 0
    while True:
        line = _SIZE.match(text, at)
        if line is None or line[2].strip(b" \t") == b"" != line[2]:
            return None
        size = int(line[1], 16)
        leading_zeros = len(line[1]) - len(line[1].lstrip(b"0")) - (size == 0)
        idle = leading_zeros + len(line[2])
        overhead += idle
        if size > 2**63 - 1 or idle > EXTENSION_MAX or overhead > EXTENSIONS_TOTAL:
            return None
        at = line.end()
        if size == 0:
            break
        data += text[at:at + size]
        at += size
        if text[at:at + 2] != b"\r\n":
            return None
        at += 2
    trailers = b""
    while text[at:at + 2] != b"\r\n":
        field = _FIELD.match(text, at)
        if field is None:
            return None
        trailers += field[0]
        at = field.end()
    return Body(data, trailers, text[at + 2:])
