"""Field lines that come from outside the data plane (the config, verdicts, users' filters): what may be written into heads."""
from __future__ import annotations

import re

# Framing and what belongs to one connection is written by the proxy alone: a second copy of one, or a missing one, is what request
# smuggling is made of (RFC 9112 §11.2). Host is set by a rewrite.
OWNED = frozenset({
    b"connection", b"content-length", b"host", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
})

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def checked_lines(block: bytes) -> None:
    """ValueError unless it is whole field lines that may be added to a head: no framing, no line breaks within."""
    if not block:
        return
    if not block.endswith(b"\r\n"):
        raise ValueError("each field line ends with CRLF")
    for line in block[:-2].split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise ValueError(f"not a field line: {line[:80]!r}")
        if name.lower() in OWNED:
            raise ValueError(f"the field {name.decode()} is written by proxyd itself")
