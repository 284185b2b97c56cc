"""Path normalisation in three plain steps: escapes, segments, dots."""
from __future__ import annotations

import re

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_ESCAPED = b'|^{}"<>`\\[]'


def normalize(path: bytes) -> bytes | None:
    """The normal form, None: refused."""
    if path == b"*":
        return path
    if not path.startswith(b"/") or not re.fullmatch(rb"(?:%[0-9A-Fa-f]{2}|[\x21-\x24\x26-\x7e])*", path):
        return None
    out = b""
    for part in re.findall(rb"%..|.", path):
        if len(part) == 3:
            byte = bytes.fromhex(part[1:].decode())
            if byte == b"\0":
                return None
            out += byte if byte in _UNRESERVED else part.upper()
        elif part in b"?#":
            return None
        else:
            out += b"%%%02X" % ord(part) if part in _ESCAPED else part
    kept: list[bytes] = []
    segments = out.split(b"/")[1:]
    for i, segment in enumerate(segments):
        hidden = re.split(rb"%2F|%5C", segment)      # dots that some servers take for a segment
        if any(re.match(rb"\.\.?;", piece) for piece in hidden) or (len(hidden) > 1 and any(piece in (b".", b"..") for piece in hidden)):
            return None
        if segment == b"..":
            if not kept:
                return None
            kept.pop()
        elif segment != b".":
            kept.append(segment)
            continue
        if i == len(segments) - 1:   # a dot segment at the end leaves its slash
            kept.append(b"")
    return b"/" + b"/".join(kept)
