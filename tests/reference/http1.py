"""HTTP/1 heads read with regular expressions, line by line, over the whole text: what the native parser must agree with.

A head that is refused is None here: the rules are stated, not the order in which a parser meets them.
"""
from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_CLOSE = range(4)
TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ASTERISK = range(4)
(KEEP_ALIVE, CONNECTION_CLOSE, UPGRADE_WEBSOCKET, EXPECT_CONTINUE, CONNECTION_NAMES, UPGRADE_OTHER, TRAILERS_ANNOUNCED) = (
    1 << bit for bit in range(7)
)
LENGTH_MAX = 2**63 - 1
HOP_BY_HOP = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"proxy-authenticate",
    b"proxy-authorization"]
)

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (" + _VALUE + rb"))?")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):(" + _VALUE + rb")")
_REPAIRABLE_FIELD = re.compile(rb"(" + _TOKEN + rb")[ \t]*:(" + _VALUE + rb")")
_NAME = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=-]+")


@dataclass(frozen=True, slots=True)
class Field:
    name: bytes
    value: bytes
    hop: bool


@dataclass(frozen=True, slots=True)
class Request:
    method: bytes
    target_form: int
    path: bytes | None
    query: bytes | None
    host: bytes | None
    minor: int
    body: int
    content_length: int | None
    flags: int
    fields: tuple[Field, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    reason: bytes
    minor: int
    body: int
    content_length: int | None
    flags: int
    fields: tuple[Field, ...]
    size: int


def split_host(authority: bytes) -> tuple[bytes, int] | None:
    """(name without brackets and trailing dot, port or 0)."""
    bracketed = re.fullmatch(rb"\[([0-9A-Fa-f:.]+)\](?::([0-9]*))?", authority)
    if bracketed:
        name, port = bracketed[1], bracketed[2]
        try:
            ipaddress.IPv6Address(name.decode())
        except ValueError:
            return None
    else:
        plain = re.fullmatch(rb"([^:]*)(?::([0-9]*))?", authority, re.DOTALL)
        if plain is None or not _NAME.fullmatch(plain[1]):
            return None
        name, port = plain[1].removesuffix(b"."), plain[2]
        if not name or name.endswith(b"."):   # a second dot behind the root's
            return None
    if port and not 1 <= int(port) <= 65535:
        return None
    return name, int(port or 0)


def _values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for field, value in fields if field.lower() == name]


def _options(fields: list[tuple[bytes, bytes]]) -> list[bytes]:
    items = [item.strip(b" \t").lower() for value in _values(fields, b"connection") for item in value.split(b",")]
    return [item for item in items if item]


def _codings(fields: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [item.strip(b" \t").lower() for value in _values(fields, b"transfer-encoding") for item in value.split(b",")]


def _lengths(fields: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [item.strip(b" \t") for value in _values(fields, b"content-length") for item in value.split(b",")]


def _number(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"[0-9]+", text) and int(text) <= LENGTH_MAX else None


def _hop(fields: list[tuple[bytes, bytes]], also: frozenset[bytes] = frozenset()) -> tuple[Field, ...]:
    named = {option for option in _options(fields) if re.fullmatch(_TOKEN, option)}
    named -= {b"host", b"content-length", b"close", b"keep-alive", b"upgrade"}
    hop = HOP_BY_HOP | named | also
    return tuple(Field(name, value, name.lower() in hop) for name, value in fields)


def _flags(fields: list[tuple[bytes, bytes]], minor: int, may_upgrade: bool) -> int:
    options = [option for option in _options(fields) if re.fullmatch(_TOKEN, option)]
    flags = 0
    if b"close" in options:
        flags |= CONNECTION_CLOSE
    elif minor == 1 or b"keep-alive" in options:
        flags |= KEEP_ALIVE
    if set(options) - {b"close", b"keep-alive", b"upgrade", b"te"}:
        flags |= CONNECTION_NAMES
    if _values(fields, b"trailer"):
        flags |= TRAILERS_ANNOUNCED
    upgrade = [value.lower() for value in _values(fields, b"upgrade")]
    if upgrade:
        websocket = may_upgrade and minor == 1 and b"upgrade" in options and upgrade == [b"websocket"]
        flags |= UPGRADE_WEBSOCKET if websocket else UPGRADE_OTHER
    return flags


def _target(method: bytes, target: bytes) -> tuple[int, bytes | None, bytes | None, bytes | None] | None:
    """(form, path, query, authority)."""
    if method == b"CONNECT":
        named = split_host(target)
        return (TARGET_AUTHORITY, None, None, target) if named and named[1] else None
    if method == b"OPTIONS" and target == b"*":
        return TARGET_ASTERISK, b"*", None, None
    form, authority = TARGET_ORIGIN, None
    absolute = re.fullmatch(rb"(?i:https?)://([^/?]*)(.*)", target)
    if absolute:
        form, authority, target = TARGET_ABSOLUTE, absolute[1], absolute[2]
        if split_host(authority) is None:
            return None
        if method == b"OPTIONS" and target == b"":
            return TARGET_ASTERISK, b"*", None, authority
        if not target.startswith(b"/"):
            target = b"/" + target
    elif not target.startswith(b"/"):
        return None
    path, mark, query = target.partition(b"?")
    return form, path, query if mark else None, authority


def parse_request(data: bytes) -> Request | None:
    """Read the complete head at the front of `data`; None: refused.  ValueError when no empty line ends it."""
    empty = re.match(rb"(?:\r\n){0,4}", data)
    start = empty.end() if empty else 0
    end = data.index(b"\r\n\r\n", start)
    first, *lines = data[start:end].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    matches = [_FIELD.fullmatch(text) for text in lines]
    if line is None or None in matches:
        return None
    method, minor = line[1], int(line[3])
    fields = [(m[1], m[2].strip(b" \t")) for m in matches if m]
    target = _target(method, line[2])
    hosts = _values(fields, b"host")
    if target is None or len(hosts) > 1 or (minor == 1 and not hosts) or any(split_host(host) is None for host in hosts):
        return None
    body, length = BODY_NONE, None
    lengths = _values(fields, b"content-length")
    if _codings(fields):
        if _codings(fields) != [b"chunked"] or lengths or minor == 0:
            return None
        body = BODY_CHUNKED
    elif lengths:
        length = _number(lengths[0])
        if len(lengths) > 1 or length is None:
            return None
        body = BODY_LENGTH
    if not all(re.fullmatch(_TOKEN, option) for option in _options(fields)):
        return None
    flags = _flags(fields, minor, method == b"GET" and body != BODY_CHUNKED and not length)
    expectations = [value.lower() for value in _values(fields, b"expect")]
    if minor == 1 and expectations:
        if set(expectations) != {b"100-continue"}:
            return None
        flags |= EXPECT_CONTINUE
    form, path, query, authority = target
    return Request(
        method, form, path, query, authority or (hosts[0] if hosts else None), minor, body, length, flags,
        _hop(fields, frozenset([b"expect"]) if minor == 0 else frozenset()), end + 4,
    )


def parse_response(data: bytes) -> Response | None:
    """The same for a response, with the repairs that RFC 9112 asks for."""
    end = data.index(b"\r\n\r\n")
    first, _, section = data[:end].partition(b"\r\n")
    line = _STATUS_LINE.fullmatch(first)
    matches: list[re.Match[bytes] | None] = []
    for text in section.split(b"\r\n") if section else []:
        before = matches[-1] if matches else None
        if text[:1] in (b" ", b"\t") and before:   # a folded line: CRLF and blanks count as spaces
            content = text.lstrip(b" \t")
            matches[-1] = _REPAIRABLE_FIELD.fullmatch(before[0] + b" " * (2 + len(text) - len(content)) + content)
        else:
            matches.append(_REPAIRABLE_FIELD.fullmatch(text))
    if line is None or None in matches:
        return None
    minor, status = int(line[1]), int(line[2])
    fields = [(m[1], m[2].strip(b" \t")) for m in matches if m]
    body, length = BODY_CLOSE, None
    numbers = {_number(text) for text in _lengths(fields)}
    if _codings(fields):
        if _codings(fields) != [b"chunked"] or numbers or minor == 0:
            return None
        body = BODY_CHUNKED
    elif numbers:
        if len(numbers) > 1 or None in numbers:
            return None
        body, length = BODY_LENGTH, numbers.pop()
    if status < 200 or status in (204, 304):
        body = BODY_NONE
    return Response(status, line[3] or b"", minor, body, length, _flags(fields, minor, status == 101), _hop(fields), end + 4)
