"""What a filter may say, so that a mistake is told where it was made and never becomes a broken message on the wire."""
from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}\Z")          # RFC 9110 section 5.1
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")                     # section 5.5, as characters of latin-1
_PATH = re.compile(r"/[!$&'()*+,\-./0-9:;=@A-Z_a-z~%]*\Z")            # RFC 3986 section 3.3
_QUERY = re.compile(r"[!$&'()*+,\-./0-9:;=@A-Z_a-z~%?]*\Z")           # section 3.4
# Framing and connection belong to the proxy: the fields of proxyd.config.headers.OWNED (a test holds them together; that module is not
# imported here, because a worker starts in half the time without pydantic).
OWNED = frozenset(
    {"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
VALUE_MAX = 8_192
LINES_MAX = 16_384            # bytes of all fields that one answer of a filter sets
BODY_MAX = 1_048_576
BODILESS = frozenset({204, 205, 304})      # RFC 9110 sections 15.3.5, 15.3.6, 15.4.5


def check_name(name: object) -> str:
    """ValueError, TypeError: `name` is no field that a filter may touch."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a header field is text, not {type(name).__name__}")
    if not _TOKEN.match(name):
        raise ValueError(f"{name[:60]!r} is not the name of a header field")
    if name.lower() in OWNED:
        raise ValueError(f"the field {name} is not a filter's to change: proxyd writes it itself")
    return name


def check_value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the value of {name} is text, not {type(value).__name__}")
    if not _VALUE.match(value):
        raise ValueError(f"the value of {name} holds a line break, a control character or one that is not in latin-1")
    if len(value) > VALUE_MAX:
        raise ValueError(f"the value of {name} is longer than {VALUE_MAX} bytes")
    return value.strip(" \t")


def check_fields(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    checked = tuple((check_name(name), check_value(name, value)) for name, value in pairs)
    if sum(len(name) + len(value) + 4 for name, value in checked) > LINES_MAX:
        raise ValueError(f"the header fields are longer than {LINES_MAX} bytes")
    return checked


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str | bytes):
        raise TypeError("`remove` is a list of names")
    checked = tuple(check_name(name) for name in names)
    if sum(len(name) + 1 for name in checked) > LINES_MAX:
        raise ValueError(f"the names to remove are longer than {LINES_MAX} bytes")
    return checked


def check_path(path: object) -> str:
    if not isinstance(path, str) or not _PATH.match(path) or len(path) > VALUE_MAX:
        raise ValueError(f"{str(path)[:60]!r} is not a path: it begins with / and is percent-encoded")
    return path


def check_query(query: object) -> str:
    if not isinstance(query, str) or not _QUERY.match(query) or len(query) > VALUE_MAX:
        raise ValueError(f"{str(query)[:60]!r} is not a query: without its ?, percent-encoded")
    return query


def check_status(status: object) -> int:
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is not the status of an answer: 200 to 599")
    return int(status)
