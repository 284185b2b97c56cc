"""The ClientHello, its records joined first, its message taken apart by one generic function for vectors; and written, for tests."""
from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

UNEXPECTED_MESSAGE, RECORD_OVERFLOW, ILLEGAL_PARAMETER, DECODE_ERROR, PROTOCOL_VERSION = 10, 22, 47, 50, 70
HELLO_MAX, RECORDS_MAX, RECORD_MAX = 16384, 64, 16384
SERVER_NAME, ALPN, SUPPORTED_VERSIONS, ECH = 0, 16, 43, 0xFE0D
_NAME = re.compile(rb"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


class RefusedError(Exception):
    def __init__(self, alert: int) -> None:
        super().__init__(alert)
        self.alert = alert


class IncompleteError(Exception):
    pass


def parse(data: bytes) -> dict[str, Any]:
    """{name, alpn, version, ech}; or one of the two exceptions."""
    return _message(_join(data))


def _join(data: bytes) -> bytes:
    """The message, records taken off the front one by one."""
    message = b""
    for number in range(RECORDS_MAX + 1):
        if len(message) >= 4 and number == RECORDS_MAX:
            raise RefusedError(ILLEGAL_PARAMETER)
        if not data:
            raise IncompleteError
        if data[0] != 22:
            raise RefusedError(PROTOCOL_VERSION if number == 0 and data[0] >= 0x80 else UNEXPECTED_MESSAGE)
        if len(data) > 1 and data[1] != 3:
            raise RefusedError(PROTOCOL_VERSION)
        if len(data) < 5:
            raise IncompleteError
        length = int.from_bytes(data[3:5])
        if length == 0:
            raise RefusedError(UNEXPECTED_MESSAGE)
        if length > RECORD_MAX:
            raise RefusedError(RECORD_OVERFLOW)
        before, part, data = len(message), data[5:5 + length], data[5 + length:]
        message += part
        if message and message[0] != 1:
            raise RefusedError(UNEXPECTED_MESSAGE)
        if len(message) >= 4:
            size = 4 + int.from_bytes(message[1:4])
            if size > HELLO_MAX:
                raise RefusedError(ILLEGAL_PARAMETER)
            if before + length > size:
                raise RefusedError(UNEXPECTED_MESSAGE)
            if len(message) == size:
                return message
            if number + 1 == RECORDS_MAX and before + length < size:
                raise RefusedError(ILLEGAL_PARAMETER)
        if len(part) < length:
            raise IncompleteError
    raise AssertionError("64 records of a byte or more hold a message's header")


def _vector(text: bytes, width: int, least: int, most: int) -> tuple[bytes, bytes]:
    """(the vector, what stands behind it)."""
    size = int.from_bytes(text[:width])
    if len(text) < width + size or not least <= size <= most or len(text) < width:
        raise RefusedError(DECODE_ERROR)
    return text[width:width + size], text[width + size:]


def _whole_vector(text: bytes, width: int, least: int, most: int) -> bytes:
    vector, rest = _vector(text, width, least, most)
    if rest:
        raise RefusedError(DECODE_ERROR)
    return vector


def _message(message: bytes) -> dict[str, Any]:
    body = message[4:]
    if len(body) < 2:
        raise RefusedError(DECODE_ERROR)
    version = int.from_bytes(body[:2])
    if version < 0x0300:
        raise RefusedError(PROTOCOL_VERSION)
    out: dict[str, Any] = {"name": None, "alpn": None, "version": min(version, 0x0303), "ech": False}
    if len(body) < 34:
        raise RefusedError(DECODE_ERROR)
    _, rest = _vector(body[34:], 1, 0, 32)
    suites, rest = _vector(rest, 2, 2, 0xFFFE)
    if len(suites) % 2:
        raise RefusedError(DECODE_ERROR)
    _, rest = _vector(rest, 1, 1, 255)
    if not rest:
        return out
    rest = _whole_vector(rest, 2, 0, 0xFFFF)
    seen = set()
    while rest:
        if len(rest) < 2:
            raise RefusedError(DECODE_ERROR)
        kind = int.from_bytes(rest[:2])
        content, rest = _vector(rest[2:], 2, 0, 0xFFFF)
        if kind in seen:
            raise RefusedError(ILLEGAL_PARAMETER)
        seen.add(kind)
        _extension(kind, content, out)
    return out


def _extension(kind: int, content: bytes, out: dict[str, Any]) -> None:
    if kind == SERVER_NAME:
        names = _whole_vector(content, 2, 1, 0xFFFF)
        if names[0] != 0:
            raise RefusedError(ILLEGAL_PARAMETER)
        name, more = _vector(names[1:], 2, 1, 0xFFFF)
        if more or len(name) > 255 or not _NAME.fullmatch(name):
            raise RefusedError(ILLEGAL_PARAMETER)
        out["name"] = name.lower().removesuffix(b".")
    elif kind == ALPN:
        out["alpn"] = names = _whole_vector(content, 2, 2, 0xFFFF)
        while names:
            _, names = _vector(names, 1, 1, 255)
    elif kind == SUPPORTED_VERSIONS:
        versions = _whole_vector(content, 1, 2, 254)
        if len(versions) % 2:
            raise RefusedError(DECODE_ERROR)
        numbers = struct.unpack(f">{len(versions) // 2}H", versions)
        out["version"] = max((number for number in numbers if number >> 8 == 3), default=0)
    elif kind == ECH:
        out["ech"] = True


# ---- writing

def vector(content: bytes, width: int) -> bytes:
    return len(content).to_bytes(width) + content


def extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">H", kind) + vector(content, 2)


def server_name(name: bytes) -> bytes:
    return extension(SERVER_NAME, vector(b"\0" + vector(name, 2), 2))


def alpn(*protocols: bytes) -> bytes:
    return extension(ALPN, vector(b"".join(vector(protocol, 1) for protocol in protocols), 2))


def supported_versions(*versions: int) -> bytes:
    return extension(SUPPORTED_VERSIONS, vector(struct.pack(f">{len(versions)}H", *versions), 1))


def message(
    *extensions: bytes, version: int = 0x0303, session: bytes = bytes(32), suites: bytes = b"\x13\x01\x13\x02", compression: bytes = b"\0",
) -> bytes:
    """A ClientHello with its header; without extensions: with none at all."""
    body = struct.pack(">H", version) + bytes(32) + vector(session, 1) + vector(suites, 2) + vector(compression, 1)
    if extensions:
        body += vector(b"".join(extensions), 2)
    return b"\x01" + vector(body, 3)


def record(part: bytes, *, kind: int = 22, version: int = 0x0301) -> bytes:
    return struct.pack(">BHH", kind, version, len(part)) + part


def records(text: bytes, cuts: Iterable[int] = ()) -> bytes:
    """A message in records that end at `cuts`."""
    return b"".join(record(text[start:end]) for start, end in pairwise([0, *cuts, len(text)]))
