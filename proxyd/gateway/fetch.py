"""Fetches small documents over HTTP for the gateway: bounded in size and time, no redirects, no cookies, conditional where possible.

Redirects are not followed: what a document may decide here (whose signatures count) is decided by the place that the config names.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from yarl import URL

TIMEOUT_S = 5.0
MAX_BYTES = 512 * 1024


class FetchError(Exception):
    """The document cannot be had. The message is for people."""


@dataclass(frozen=True, slots=True)
class Tag:
    """By what a server knows which copy it has sent (RFC 9110 section 13.1)."""

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """content None: it has not changed. max_age: seconds, as the server tells; None: it does not."""

    content: bytes | None
    tag: Tag = Tag()
    max_age: float | None = None


class Fetch(Protocol):
    async def get(self, url: str, tag: Tag | None = None) -> Document:
        """FetchError. `tag`: of the copy that is there already."""

    async def close(self) -> None: ...


class HttpFetch:
    """Over one session of its own, made when it is first needed."""

    __slots__ = ("_max_bytes", "_session", "_timeout")

    def __init__(self, *, timeout_s: float = TIMEOUT_S, max_bytes: int = MAX_BYTES) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, tag: Tag | None = None) -> Document:
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True)      # minutes pass between two requests
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        # identity: the bound is one of the bytes that arrive
        fields = {"User-Agent": "proxyd", "Accept": "application/json", "Accept-Encoding": "identity"}
        if tag is not None:
            fields |= {name: value for name, value in (("If-None-Match", tag.etag), ("If-Modified-Since", tag.modified)) if value}
        try:
            async with self._session.get(URL(url, encoded=True), headers=fields, allow_redirects=False) as response:
                return await self._document(response, tag)
        except TimeoutError as error:
            raise FetchError(f"{url}: no answer within {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(f"{url}: {error}") from error

    async def _document(self, response: aiohttp.ClientResponse, tag: Tag | None) -> Document:
        max_age = _max_age(response.headers.get("Cache-Control", ""))
        if response.status == 304 and tag is not None:
            return Document(None, tag, max_age)
        if response.status != 200:
            raise FetchError(f"{response.url}: status {response.status}")
        content = bytearray()
        while more := await response.content.read(self._max_bytes + 1 - len(content)):
            content += more
            if len(content) > self._max_bytes:
                raise FetchError(f"{response.url}: larger than {self._max_bytes >> 10} KiB")
        return Document(bytes(content), Tag(response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")), max_age)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _max_age(cache_control: str) -> float | None:
    """RFC 9111 section 5.2.2: seconds for which the document may be kept; 0 where it may not."""
    directives = [part.strip().lower() for part in cache_control.split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    found = next((match for part in directives if (match := re.fullmatch(r'max-age="?([0-9]{1,9})"?', part))), None)
    return float(found[1]) if found else None
