"""How a thing lies in the tier: four bytes of magic, length and CRC of a JSON header, the header, the payload.

The header repeats what it belongs to: a server (or a client library) that mixes up its answers is found out, and the purges that matter can
be told without opening the payload. The payload has a checksum of its own (`CachedObject.blob`) or is covered by `sum`.
"""
from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

MAGIC = b"PXT1"                # a change of the format is a change of the last byte
_FIXED = struct.Struct(">4sII")


@dataclass(frozen=True, slots=True)
class Envelope:
    key: bytes
    token: str                 # of the log of purges
    serial: int                # purges up to this one were known, and did not match, when the payload was made
    url: str
    tags: Sequence[str]
    payload: bytes


def wrap(envelope: Envelope) -> bytes:
    header = json.dumps({
        "key": envelope.key.decode("latin-1"), "token": envelope.token, "serial": envelope.serial, "url": envelope.url,
        "tags": list(envelope.tags), "sum": zlib.crc32(envelope.payload),
    }).encode()
    return _FIXED.pack(MAGIC, len(header), zlib.crc32(header)) + header + envelope.payload


def unwrap(raw: bytes) -> Envelope | None:
    """None: written by another version of proxyd. Raises ValueError: not an envelope, or damaged."""
    if len(raw) < _FIXED.size:
        raise ValueError(f"{len(raw)} bytes are no envelope")
    magic, length, header_sum = _FIXED.unpack_from(raw)
    if magic != MAGIC:
        if magic[:3] == MAGIC[:3]:
            return None
        raise ValueError(f"an envelope does not begin with {magic!r}")
    header = raw[_FIXED.size:_FIXED.size + length]
    payload = raw[_FIXED.size + length:]
    if len(header) != length or zlib.crc32(header) != header_sum:
        raise ValueError("the header of an envelope is damaged")
    try:
        facts = json.loads(header)
        envelope = Envelope(facts["key"].encode("latin-1"), facts["token"], facts["serial"], facts["url"], facts["tags"], payload)
        damaged = zlib.crc32(payload) != facts["sum"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("the header of an envelope makes no sense") from error
    texts = [envelope.token, envelope.url, *envelope.tags] if isinstance(envelope.tags, list) else [None]
    if not isinstance(envelope.serial, int) or not all(isinstance(text, str) for text in texts):
        raise ValueError("the header of an envelope makes no sense")
    if damaged:
        raise ValueError("the payload of an envelope is damaged")
    return envelope
