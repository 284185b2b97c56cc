"""Asks an HTTP service who it is. It gets the fields that the policy names, and where the request was going; never its body.

    2xx                              allowed; the fields that the policy names go to the server
    401, 403, 301, 302, 303, 307, 308   the client gets that answer: its status, the fields of PASSED, its body up to BODY_MAX
    anything else, or no answer      nobody knows (503)

Refusals are not remembered: after a login the same cookie is a good one.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from proxyd.gateway.authority import Asked, AuthUnavailable, Decided
from proxyd_ext.auth.verdict import Verdict

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from proxyd.config.auth_forward import ForwardAuth
    from proxyd.gateway.parts import Parts

CONNECTIONS_MAX = 100
BODY_MAX = 64 * 1024
LONGEST_TTL = 86_400.0       # seconds, whatever the service says
REFUSALS = frozenset({401, 403, 301, 302, 303, 307, 308})
PASSED = ("Location", "WWW-Authenticate", "Set-Cookie", "Cache-Control", "Content-Type", "Content-Encoding", "Content-Language")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PORT = re.compile(r":[0-9]*\Z")
_MAX_AGE = re.compile(r"max-age\s*=\s*\"?([0-9]{1,9})")


def build(parts: Parts) -> ForwardAuthority:
    forward = parts.auth.forward
    assert forward is not None
    cache = parts.auth.cache
    return ForwardAuthority(forward, None if cache is None else cache.seconds)


class ForwardAuthority:
    """`cache`: seconds for which an answer is remembered at most; None: as it says itself."""

    def __init__(self, forward: ForwardAuth, cache: float | None) -> None:
        self._forward, self._cache = forward, cache
        self._url = URL(forward.url, encoded=True)
        self._session: aiohttp.ClientSession | None = None

    async def decide(self, asked: Asked) -> Decided:
        try:
            fields = CIMultiDict(self._fields(asked))
            fields.setdefault("User-Agent", "proxyd")
            fields["Accept-Encoding"] = "identity"      # a refusal's body goes to clients that may read no other
        except UnicodeDecodeError:      # bytes that are no text; the client library cannot send them
            return Decided(Verdict(allow=False, status=401), 0.0)
        try:
            async with self._open().request(self._forward.method, self._url, headers=fields, allow_redirects=False) as answer:
                return await self._judge(answer)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise AuthUnavailable(f"{self._forward.url}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),      # the policy's timeout is the caller's
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=16_384,
                max_field_size=16_384,
            )
        return self._session

    def _fields(self, asked: Asked) -> Iterator[tuple[str, str]]:
        for name in self._forward.request_fields:
            for value in asked.values(name):
                yield name, value.encode("latin-1").decode()       # the library writes UTF-8
        yield "X-Forwarded-Method", asked.method
        yield "X-Forwarded-Proto", asked.scheme
        yield "X-Forwarded-Host", _host(asked)
        yield "X-Forwarded-Uri", asked.target
        yield "X-Forwarded-For", asked.client

    async def _judge(self, answer: aiohttp.ClientResponse) -> Decided:
        """ValueError where a field of it cannot be passed on."""
        body = await _read(answer)
        if 200 <= answer.status <= 299:
            user = answer.headers.get(self._forward.user, "") if self._forward.user is not None else ""
            lines = b"".join(
                _line(ours, value) for theirs, ours in self._forward.response_fields.items() for value in answer.headers.getall(theirs, ())
            )
            return Decided(Verdict(allow=True, user=user, lines=lines), self._ttl(answer.headers))
        if answer.status not in REFUSALS:
            raise AuthUnavailable(f"{self._forward.url}: status {answer.status}")
        head = b"".join(_line(name, value) for name in PASSED for value in answer.headers.getall(name, ()))
        return Decided(Verdict(allow=False, status=answer.status, head=head, body=body), 0.0)

    def _ttl(self, fields: CIMultiDictProxy[str]) -> float:
        control = ",".join(fields.getall("Cache-Control", ())).lower()
        if re.search(r"\bno-(store|cache)\b", control):
            return 0.0
        told = _MAX_AGE.search(control)
        most = LONGEST_TTL if self._cache is None else self._cache
        if told is not None:
            return min(float(told[1]), most)
        return 0.0 if self._cache is None else most


def _host(asked: Asked) -> str:
    """As the client wrote it, with its port; but never another one than routes have seen: of a request with an absolute target the field
    Host means nothing (RFC 9112 section 3.2.2), and nobody else looks at it."""
    told = next(iter(asked.values("host")), "")
    return told if _PORT.sub("", told).lower() == asked.host else asked.host


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body; empty where it is longer than BODY_MAX: half a page is none."""
    body = bytearray()
    while more := await answer.content.read(BODY_MAX + 1 - len(body)):
        body += more
        if len(body) > BODY_MAX:
            answer.close()
            return b""
    return bytes(body)


def _line(name: str, value: str) -> bytes:
    if _CONTROL.search(value):
        raise ValueError(f"the field {name} of its answer holds a control character")
    return f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")
