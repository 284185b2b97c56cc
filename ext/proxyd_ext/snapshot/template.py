"""Cutting templates into the parts that http1/template and conn/page fill in.

What is no placeholder of its kind of template stays text: an error page is full of braces that are none.
"""
from __future__ import annotations

import re
from urllib.parse import quote

Part = tuple[str, bytes]     # (a word of PART_KINDS, the text of "text" or the name of "parameter")

_LOCATION = re.compile(r"(\{(?:scheme|host|path|query)\})")
_PATH = re.compile(r"(\{(?:path|rest|host|query:[^{}]+)\})")
_PAGE = re.compile(rb"(\{(?:status|reason|message|request_id|host)\})")
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def location_parts(text: str) -> list[Part]:
    """Of a redirect's Location."""
    return [(piece[1:-1], b"") if _LOCATION.fullmatch(piece) else ("text", piece.encode()) for piece in _LOCATION.split(text) if piece]


def page_parts(body: bytes) -> list[Part]:
    """Of an error page's body."""
    return [(piece[1:-1].decode(), b"") if _PAGE.fullmatch(piece) else ("text", piece) for piece in _PAGE.split(body) if piece]


def path_parts(text: str) -> list[Part]:
    """Of a rewritten path; literal parts in normal form (http1/path.pxd). ValueError for what cannot stand in one."""
    parts: list[Part] = []
    for piece in _PATH.split(text):
        if not piece:
            continue
        if not _PATH.fullmatch(piece):
            parts.append(("text", _literal(piece, text)))
        elif piece.startswith("{query:"):
            parts.append(("parameter", piece[len("{query:") : -1].encode()))
        else:
            parts.append((piece[1:-1], b""))
    sample = "".join("x" if _PATH.fullmatch(piece) else piece for piece in _PATH.split(text))
    if any(re.fullmatch(r"(?:\.|%2[eE]){1,2}", segment) for segment in sample.split("/")):
        raise ValueError(f"the path {text!r} has a dot segment")
    return parts


def _literal(piece: str, text: str) -> bytes:
    unfit = re.search(r"[?#{}\x00-\x20\x7f]|%00|%(?![0-9A-Fa-f]{2})", piece)
    if unfit:
        raise ValueError(f"the path {text!r} cannot hold {unfit.group()!r}: placeholders are {{path}}, {{rest}}, {{host}}, {{query:NAME}}")
    return re.sub(rb"%..", _settled, quote(piece, safe="/%:@!$&'()*+,;=~").encode())


def _settled(escape: re.Match[bytes]) -> bytes:
    byte = bytes.fromhex(escape.group()[1:].decode())
    return byte if byte in _UNRESERVED else escape.group().upper()
