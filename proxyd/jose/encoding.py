"""The two encodings that tokens and key sets are made of, with one reading each: base64url without padding (RFC 7515 section 2), and JSON
objects without duplicate names (RFC 7515 section 4, RFC 7519 section 4)."""
from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

_FROM_URL = bytes.maketrans(b"-_", b"+/")
_FOREIGN = b"+/="     # of the other base64, which the decoder below would take


def decode_base64url(text: bytes) -> bytes:
    """ValueError: foreign characters, padding, an impossible length, or bits beyond the last byte: the text would be another one's twin."""
    if any(byte in text for byte in _FOREIGN):
        raise ValueError("not base64url without padding")
    try:
        decoded = base64.b64decode(text.translate(_FROM_URL) + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise ValueError("not the canonical base64url")
    return decoded


def parse_object(content: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8. ValueError: anything else, a name that is there twice (at any depth), NaN and the infinities."""
    try:
        value = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number
