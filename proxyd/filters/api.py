"""Requests and answers as a user's filter sees them, and what it may answer. All of them are immutable.

Bodies are not shown: they stream past while the filter decides by the head. What a filter returns:

    None        the message goes on as it is
    Changes     it goes on with these changes
    Response    this is the answer to the client; from `on_request` no server is asked, from `on_response` the server's answer is dropped

Texts of header fields are latin-1, one character a byte (RFC 9110 section 5.5).
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from proxyd.filters.checks import (
    BODILESS,
    BODY_MAX,
    check_fields,
    check_names,
    check_path,
    check_query,
    check_status,
)

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


def pairs_of(fields: Fields) -> tuple[tuple[str, str], ...]:
    """Names and values in order. TypeError: it is neither a mapping nor pairs."""
    if isinstance(fields, Headers):
        return fields.fields
    if isinstance(fields, str | bytes):
        raise TypeError(f"header fields are a mapping or pairs, not {type(fields).__name__}")
    return tuple(fields.items() if isinstance(fields, Mapping) else fields)


class Headers(Mapping[str, str]):
    """Header fields, found by name in any case.

    `headers[name]` joins what came in several fields of that name, as RFC 9110 section 5.3 does (cookies by `; `). `get_all` keeps them
    apart, which Set-Cookie needs; `fields` are all of them as they came, in order.
    """

    __slots__ = ("_index", "fields")

    fields: tuple[tuple[str, str], ...]

    def __init__(self, fields: Fields = ()) -> None:
        self.fields = pairs_of(fields)
        self._index: dict[str, list[str]] | None = None

    def _by_name(self) -> dict[str, list[str]]:
        if self._index is None:
            self._index = {}
            for name, value in self.fields:
                self._index.setdefault(name.lower(), []).append(value)
        return self._index

    def __getitem__(self, name: str) -> str:
        lower = name.lower()
        return ("; " if lower == "cookie" else ", ").join(self._by_name()[lower])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_name()

    def __iter__(self) -> Iterator[str]:
        """The names, in lower case, each once."""
        return iter(self._by_name())

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._by_name())

    def get_all(self, name: str) -> tuple[str, ...]:
        """The values of every field of that name; () when there is none."""
        return tuple(self._by_name().get(name.lower(), ()))

    def __repr__(self) -> str:
        return f"Headers({list(self.fields)!r})"

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))


@dataclass(frozen=True, slots=True, init=False)
class Request:
    """The head of a request, as it came from the client.

    method   "GET"                                  client   the client's address: "192.0.2.7", "2001:db8::7"
    scheme   "http" or "https"                      id       of the request: what X-Request-ID, the access log and `proxyd why` call it
    host     lower case, without port               user     who an `auth` policy says it is; "" when none was asked
    path     in normal form (RFC 3986 section 6.2.2), the one that routes see
    query    behind the ?, as it came; "" when there is none
    headers  as they came; in `on_response` there are none: the engine does not keep them so long
    """

    method: str
    path: str
    query: str
    scheme: str
    host: str
    client: str
    id: str
    user: str
    headers: Headers

    def __init__(
        self, method: str = "GET", path: str = "/", query: str = "", *, headers: Fields = (), scheme: str = "http",
        host: str = "localhost", client: str = "127.0.0.1", id: str = "", user: str = "",
    ) -> None:
        put = object.__setattr__
        put(self, "method", method)
        put(self, "path", path)
        put(self, "query", query)
        put(self, "scheme", scheme)
        put(self, "host", host)
        put(self, "client", client)
        put(self, "id", id)
        put(self, "user", user)
        put(self, "headers", headers if isinstance(headers, Headers) else Headers(headers))

    @property
    def params(self) -> dict[str, list[str]]:
        """The parameters of the query, decoded."""
        return parse_qs(self.query, keep_blank_values=True)


@dataclass(frozen=True, slots=True, init=False)
class ResponseHead:
    """The head of a server's answer, before it is stored in the cache or sent to the client."""
    """The head of a server's answer. On routes with a cache it is shown before it is stored: what the filter makes of it goes to everybody
    who gets it from there, and nobody is asked again then."""

    status: int
    headers: Headers

    def __init__(self, status: int = 200, headers: Fields = ()) -> None:
        object.__setattr__(self, "status", status)
        object.__setattr__(self, "headers", headers if isinstance(headers, Headers) else Headers(headers))


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes to the head that goes on: to the server from `on_request`, to the client from `on_response`. In this order: remove, set, add.

    remove   names of fields                        path, query    what the server is asked (`on_request`); None: as it was
    set      in place of what is there              status         what the client is told (`on_response`); None: as it was
    add      beside what is there

    ValueError, TypeError: it cannot be. Fields that frame messages or belong to one connection (Content-Length, Host, Connection, ...) are
    not a filter's to change.
    """

    set: Mapping[str, str] = field(default_factory=dict)
    add: Fields = ()
    remove: Iterable[str] = ()
    path: str | None = None
    query: str | None = None
    status: int | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "set", dict(check_fields(pairs_of(self.set))))
        put(self, "add", check_fields(pairs_of(self.add)))
        put(self, "remove", check_names(self.remove))
        if self.path is not None:
            check_path(self.path)
        if self.query is not None:
            check_query(self.query)
        if self.status is not None:
            check_status(self.status)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of the filter's own. Text becomes UTF-8; Content-Type is set unless `headers` has it. The body: up to 1 MiB.

    ValueError, TypeError: it cannot be.
    """

    status: int = 200
    body: str | bytes = b""
    headers: Fields = ()

    def __post_init__(self) -> None:
        check_status(self.status)
        if not isinstance(self.body, str | bytes):
            raise TypeError(f"the body is text or bytes, not {type(self.body).__name__}")
        content_type = "text/plain; charset=utf-8" if isinstance(self.body, str) else "application/octet-stream"
        body = self.body.encode() if isinstance(self.body, str) else self.body
        if len(body) > BODY_MAX:
            raise ValueError(f"the body is longer than {BODY_MAX} bytes")
        if body and self.status in BODILESS:
            raise ValueError(f"an answer of status {self.status} has no body")
        fields = check_fields(pairs_of(self.headers))
        if self.status not in BODILESS and not any(name.lower() == "content-type" for name, _ in fields):
            fields = (("Content-Type", content_type), *fields)
        object.__setattr__(self, "body", body)
        object.__setattr__(self, "headers", Headers(fields))

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Fields = ()) -> Response:
        """`value` as JSON."""
        return cls(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *pairs_of(headers)))
