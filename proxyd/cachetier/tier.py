"""The interface to a server of the shared tier, and what its clients have in common.

A tier holds two things under its prefix. *Envelopes*: what was stored, by a base key and a variant (the values of the fields that `Vary`
names). And one *log of purges*: each order has a serial that only grows, the log has a token; a server that lost its data has a log with
another token. Purges delete little: what was stored before a matching purge is recognised by its serial and not used (see link.py).

Every method raises `TierError` if the server cannot be reached or refuses, `WrongAnswer` if what it says makes no sense, and may hang:
deadlines are the caller's (guard.py). A cancelled operation gives up its connection, so that a late answer reaches nobody.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from proxyd.cachetier.settings import TierSettings
from proxyd.clock import Clock

PurgeKind = Literal["url", "prefix", "host", "tag", "all"]

VARIANTS_LOADED = 8            # at most, where it is not known which one is wanted
TTL_MAX_S = 30 * 86_400        # Memcached takes what is longer for a date


class TierError(Exception):
    """The server cannot be reached, or refused."""


class WrongAnswer(TierError):
    """The server answered something that makes no sense."""


class TooLarge(Exception):
    """The server does not take an item of this size; it works otherwise."""


class MissingExtra(Exception):
    """The client library is not installed."""


@dataclass(frozen=True, slots=True)
class Order:
    """A purge, as it stands in the log. `by`: the node that gave it."""

    kind: PurgeKind
    text: str
    soft: bool
    by: str

    def encode(self) -> bytes:
        return json.dumps([self.kind, self.text, self.soft, self.by]).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Order:
        """Raises WrongAnswer."""
        try:
            kind, text, soft, by = json.loads(raw)
        except (ValueError, TypeError, RecursionError) as error:
            raise WrongAnswer(f"the log of purges holds {raw[:80]!r}") from error
        if kind not in get_args(PurgeKind) or not isinstance(text, str) or not isinstance(by, str):
            raise WrongAnswer(f"the log of purges holds {raw[:80]!r}")
        return cls(kind, text, bool(soft), by)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a log reaches: everything with a serial up to this one. `token` "": there is no log."""

    token: str = ""
    serial: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a lookup: what is there, and how far the log of purges reached at that moment."""

    mark: Mark
    envelopes: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class LogPart:
    """Orders by serial, ascending. `floor`: the serial up to which the log no longer remembers (0: it remembers all)."""

    mark: Mark
    floor: int
    orders: Sequence[tuple[int, Order]]


class Tier(Protocol):
    async def lookup(self, key: bytes, variant: bytes | None) -> Found:
        """What is stored under `key` for `variant`; with None, up to VARIANTS_LOADED of what is there."""

    async def store(self, key: bytes, vary: str, variant: bytes, envelope: bytes, ttl_s: int) -> None:
        """Raises TooLarge too."""

    async def forget(self, key: bytes) -> None:
        """Remove all variants of a key."""

    async def read_log(self, after: Mark) -> LogPart:
        """The orders behind `after` (all that are remembered, if its token is another one). Begins a log if there is none."""

    async def append(self, order: Order) -> int:
        """Put an order into the log and tell the other nodes; its serial."""

    async def renew_log(self) -> None:
        """Begin a new log: nothing that was stored under the old one will be used again."""

    async def doorbell(self, seconds: float) -> None:
        """Return when the log may have grown; after `seconds` at the latest. The first call may return at once."""

    async def lock(self, name: bytes, owner: bytes, ttl_s: float) -> bool:
        """True: `owner` has it now, for `ttl_s` at most."""

    async def unlock(self, name: bytes, owner: bytes) -> None:
        """Give it back, if `owner` still has it."""

    async def reset(self) -> None:
        """Drop connections and their state: the server was away. The next operation connects anew."""

    async def close(self) -> None: ...


def digest(*parts: bytes) -> str:
    """A short name for bytes of any length; parts are told apart."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.hexdigest()


def open_tier(settings: TierSettings, clock: Clock) -> Tier:
    """No connection is made yet. Raises MissingExtra; ValueError for an address that is none."""
    try:
        if settings.redis:
            from proxyd.cachetier.redis_tier import RedisTier

            return RedisTier(settings, clock)
        from proxyd.cachetier.memcached_tier import MemcachedTier

        return MemcachedTier(settings, clock)
    except ModuleNotFoundError as error:
        extra = "redis" if settings.redis else "memcached"
        raise MissingExtra(f"the shared tier needs the extra `{extra}`; run: pip install 'proxyd[{extra}]'") from error
