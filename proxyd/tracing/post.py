"""One request of OTLP/HTTP, and what its answer means (opentelemetry.io/docs/specs/otlp/#otlphttp-response)."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import aiohttp

RETRYABLE = frozenset({429, 502, 503, 504})
ANSWER_BYTES = 64 * 1024      # of an answer that are looked at
WAIT_MAX = 60.0               # seconds that a collector can make us wait by Retry-After


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error` "": the batch was taken, but for `rejected` spans of it."""

    error: str = ""
    rejected: int = 0
    retry: bool = False
    wait: float = 0.0             # seconds that the collector asks for; 0.0: it does not say


class Post(Protocol):
    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Outcome: ...

    async def close(self) -> None: ...


class HttpPost:
    """Over one session, made when it is first needed."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Outcome:
        import aiohttp  # here: a proxy that exports nothing does not wait for it at start

        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        own = {"Content-Type": "application/json", "Content-Encoding": "gzip", "User-Agent": "proxyd"}
        try:
            async with self._session.post(
                url, data=body, headers={**own, **headers}, timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False
            ) as answer:
                text = await answer.content.read(ANSWER_BYTES)
                return outcome(answer.status, answer.headers, text, time.time())
        except TimeoutError:
            return Outcome(f"no answer within {timeout_s:g} s", retry=True)
        except (aiohttp.ClientError, OSError) as error:
            return Outcome(reason(error), retry=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def outcome(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Outcome:
    """`now`: epoch seconds, for a Retry-After that is a date."""
    if 200 <= status < 300:
        return Outcome(rejected=rejected_spans(body))
    return Outcome(f"status {status}", retry=status in RETRYABLE, wait=retry_after(headers.get("Retry-After", ""), now))


def rejected_spans(body: bytes) -> int:
    """Of a partial success; 0 where the answer tells of none, or is not to be understood: the spans were taken."""
    try:
        told = json.loads(body or b"{}").get("partialSuccess", {}).get("rejectedSpans", 0)
        return max(int(told), 0)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return 0


def retry_after(value: str, now: float) -> float:
    """Seconds (RFC 9110 section 10.2.3), at most WAIT_MAX; 0.0: it says nothing."""
    try:
        seconds = float(value) if value.strip().isdecimal() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), WAIT_MAX)


def reason(error: Exception) -> str:
    """`connection refused`, rather than what aiohttp wraps around it."""
    code = getattr(error, "errno", None)
    return (os.strerror(code) if code else str(error) or type(error).__name__).lower()
