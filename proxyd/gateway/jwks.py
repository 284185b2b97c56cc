"""Where the keys of tokens come from: fixed ones of the config, or a JWKS that is fetched, kept fresh, and used on while it cannot be had.

One task a source fetches at once and then every `refresh_s`, earlier when the server says so, with a conditional request, so that no
request waits for a key that had merely grown old. When that fails it tries again after 1, 2, 4, … seconds, at most BACKOFF_MAX_S apart, and
the keys that are there go on for `stale_s`. Two things ask beside that task:

- a token while there are no keys at all waits for the fetch that is under way; when none is, the answer is AuthUnavailable at once;
- a token of a key that is not in the set, since keys may have been rotated a second ago: one fetch every DEMAND_GAP_S, whoever asks, so
  that made-up key ids do not become requests to the issuer.

All of them share one fetch. An answer without a usable key counts as a failure: an issuer that has lost its keys must not lock out all
whose tokens are good. Keys that the set has dropped are no longer used from the fetch on that tells so, and who remembers verdicts is told
(`on_dropped`): tokens that such a key had proved are asked about again.
"""
from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxyd.clock import Clock
from proxyd.config.fetch_url import is_safe_url
from proxyd.gateway.authority import AuthUnavailable
from proxyd.gateway.fetch import Fetch, FetchError, Tag
from proxyd.gateway.parts import nothing
from proxyd.gateway.views import KeysView
from proxyd.jose.encoding import parse_object
from proxyd.jose.keyset import KeySet, Unusable, parse_jwks
from proxyd.tasks import Tasks

MIN_REFRESH_S = 60.0          # an issuer may ask for less, and does not get it: rotation is what DEMAND_GAP_S is for
BACKOFF_MAX_S = 15.0
DEMAND_GAP_S = 10.0
WELL_KNOWN = "/.well-known/openid-configuration"

log = logging.getLogger("proxyd.gateway")


class TooSoon(Exception):
    """A token's key is not known, and it was asked for a moment ago. `retry_s`: when it may be asked for again."""

    def __init__(self, retry_s: float) -> None:
        super().__init__()
        self.retry_s = retry_s


class KeySource(Protocol):
    async def keys(self) -> KeySet:
        """AuthUnavailable: there are none."""

    async def newer(self, seen: KeySet) -> KeySet:
        """For a token that no key of `seen` fits: what there is now, which may be `seen`. TooSoon, AuthUnavailable."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """Of a file or a secret: they change with the config."""

    held: KeySet

    async def keys(self) -> KeySet:
        return self.held

    async def newer(self, seen: KeySet) -> KeySet:
        return self.held

    async def close(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Place:
    """`jwks`: URL of the set; empty: the metadata of `issuer` tells it (OpenID Connect Discovery section 4)."""

    jwks: str = ""
    issuer: str = ""

    def __str__(self) -> str:
        return self.jwks or self.issuer


class RemoteKeys:
    def __init__(
        self, place: Place, fetch: Fetch, tasks: Tasks, clock: Clock, *, refresh_s: float, stale_s: float,
        on_dropped: Callable[[], None] = nothing,
    ) -> None:
        self._on_dropped = on_dropped
        self._place, self._fetch, self._tasks, self._clock = place, fetch, tasks, clock
        self._refresh_s, self._stale_s = refresh_s, stale_s
        self._url = place.jwks
        self._tag: Tag | None = None
        self._keys: KeySet | None = None
        self._confirmed_at = 0.0
        self._demanded_at = -math.inf
        self._wait_s = refresh_s
        self._in_a_row = self._failures = self._fetches = 0
        self._last_error = ""
        self._under_way: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to fetch; nobody waits for it."""
        self._begin()
        self._loop = self._tasks.keep(f"keys of {self._place}", self._keep_fresh)

    async def close(self) -> None:
        for task in (self._loop, self._under_way):
            if task is not None:
                await self._tasks.cancel(task)
        await self._fetch.close()

    # ------------------------------------------------------------------ questions
    async def keys(self) -> KeySet:
        if self._usable() is None and self._is_under_way:
            await self._join()
        held = self._usable()
        if held is None:
            raise AuthUnavailable(f"there are no keys of {self._place}: {self._last_error or 'they were not fetched yet'}")
        return held

    async def newer(self, seen: KeySet) -> KeySet:
        if self._keys is seen:
            if not self._is_under_way:
                now = self._clock.monotonic()
                retry_s = self._demanded_at + DEMAND_GAP_S - now
                if retry_s > 0 and not self._in_a_row:
                    raise TooSoon(retry_s)
                if retry_s > 0:
                    raise self._untold()
                self._demanded_at = now
            await self._join()
        held = self._usable()
        if held is None or (held is seen and self._in_a_row):
            raise self._untold()
        return held

    def _untold(self) -> AuthUnavailable:
        return AuthUnavailable(f"whether {self._place} has another key cannot be told: {self._last_error}")

    def view(self) -> KeysView:
        held = self._usable()
        age = None if held is None else self._clock.monotonic() - self._confirmed_at
        return KeysView(str(self._place), len(held.keys) if held else 0, age, self._fetches, self._failures, self._last_error)

    def _usable(self) -> KeySet | None:
        if self._keys is not None and self._clock.monotonic() > self._confirmed_at + self._stale_s:
            log.error("the keys of %s are given up: they could not be confirmed for %g s: %s", self._place, self._stale_s, self._last_error)
            self._keys = self._tag = None
        return self._keys

    # ------------------------------------------------------------------ fetching
    @property
    def _is_under_way(self) -> bool:
        return self._under_way is not None and not self._under_way.done()

    def _begin(self) -> asyncio.Task[None]:
        if self._under_way is None or self._under_way.done():
            self._under_way = self._tasks.spawn(f"fetch keys of {self._place}", self._fetch_once())
        return self._under_way

    async def _join(self) -> None:
        """Until the fetch that is under way has ended, or one that begins now. Who waits may be cancelled; the fetch goes on."""
        await asyncio.shield(self._begin())

    async def _keep_fresh(self) -> None:
        """The first fetch is under way already."""
        while True:
            if self._under_way is not None:
                await asyncio.shield(self._under_way)
            await self._clock.sleep(self._wait_s)
            self._begin()

    async def _fetch_once(self) -> None:
        self._fetches += 1
        try:
            max_age = await self._fetch_keys()
        except (FetchError, Unusable) as error:
            self._failed(str(error))
            return
        except Exception as error:
            self._failed(f"{type(error).__name__}: {error}")
            raise
        if self._in_a_row:
            log.info("the keys of %s can be had again", self._place)
        self._in_a_row, self._last_error = 0, ""
        self._confirmed_at = self._clock.monotonic()
        self._wait_s = self._refresh_s if max_age is None else min(self._refresh_s, max(max_age, MIN_REFRESH_S))

    async def _fetch_keys(self) -> float | None:
        """Seconds for which the server says that the set is good."""
        if not self._url:
            self._url = await self._discover()
        document = await self._fetch.get(self._url, self._tag)
        if document.content is not None:
            try:
                found = parse_jwks(document.content)
            except Unusable as error:
                raise Unusable(f"{self._url}: {error}") from error
            if self._keys is None or found.skipped != self._keys.skipped:
                for reason in found.skipped[:10]:
                    log.warning("%s: not used: %s", self._url, reason)
            if found != self._keys:
                dropped = self._keys is not None and not self._keys.identities <= found.identities
                self._keys = found
                if dropped:
                    log.info("%s has dropped a key: what was remembered is forgotten", self._url)
                    self._on_dropped()
            self._tag = document.tag
        return document.max_age

    async def _discover(self) -> str:
        """The `jwks_uri` of the issuer's metadata, which must speak of that very issuer (OpenID Connect Discovery section 4.3)."""
        url = self._place.issuer.rstrip("/") + WELL_KNOWN
        content = (await self._fetch.get(url)).content or b""
        try:
            metadata = parse_object(content)
        except ValueError as error:
            raise FetchError(f"{url}: it is no metadata") from error
        found = metadata.get("jwks_uri")
        if metadata.get("issuer") != self._place.issuer:
            raise FetchError(f"{url}: it speaks of another issuer")
        # What was learned by https leads on to nothing less; an issuer on this machine may name its neighbours.
        lesser = url.lower().startswith("https:") and not str(found).lower().startswith("https:")
        if not isinstance(found, str) or not is_safe_url(found) or lesser:
            raise FetchError(f"{url}: its jwks_uri is missing, or not https")
        return found

    def _failed(self, reason: str) -> None:
        self._failures += 1
        self._in_a_row += 1
        self._last_error = reason
        self._wait_s = min(2.0 ** min(self._in_a_row - 1, 10), BACKOFF_MAX_S, self._refresh_s)
        self._url = self._place.jwks           # a discovered one may have moved
        if self._in_a_row == 1:
            rest = "those that are there go on" if self._keys is not None else "requests get 503 until they can be had"
            log.warning("the keys of %s cannot be fetched: %s; %s", self._place, reason, rest)
