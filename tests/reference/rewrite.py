"""Rewriting a path in plain Python: what http1/template does, value by value, with the oracle of normal forms."""
from __future__ import annotations

import re
from collections.abc import Sequence

from tests.reference import http1_path

Part = tuple[str, bytes]


def rewritten(parts: Sequence[Part], strip: bytes, path: bytes, host: bytes, query: bytes | None) -> bytes | None:
    """The path that is sent, None: refused. `strip` as the config writes it, in normal form."""
    if not path.startswith(b"/"):
        return path
    rest = path
    if strip:
        bare = strip.removesuffix(b"/")
        if not path.startswith(bare + b"/") and (path != bare or strip != bare):
            return path
        rest = path[len(bare) :]
    out = b"/"
    for kind, text in parts or [("rest", b"")]:
        value: bytes | None = text
        if kind == "path":
            value = path
        elif kind == "rest":
            value = rest
        elif kind == "host":
            value = _escaped(host.lower())
        elif kind == "parameter":
            value = _parameter(query or b"", text)
        if value is None:
            return None
        out += value[1:] if kind != "host" and out.endswith(b"/") and value.startswith(b"/") else value
    return out if http1_path.normalize(out) == out else None


def _parameter(query: bytes, name: bytes) -> bytes | None:
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == name:
            break
    else:
        return b""
    if re.search(rb"%(?![0-9A-Fa-f]{2})|%00", value):
        return None
    pieces = re.findall(rb"%..|.", value, re.DOTALL)
    return b"".join(_settled(bytes.fromhex(piece[1:].decode())) if len(piece) == 3 else _escaped(piece) for piece in pieces)


def _settled(byte: bytes) -> bytes:
    return byte if re.match(rb"[A-Za-z0-9\-._~]", byte) else b"%%%02X" % byte[0]


def _escaped(text: bytes) -> bytes:
    return b"".join(bytes([c]) if re.match(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/]", bytes([c])) else b"%%%02X" % c for c in text)
