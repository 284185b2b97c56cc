"""Limits that several proxies share: each takes tokens of a key in advance, a *lease*, and spends them without asking (performance.md §6).

The data plane uses some of a lease on credit (ext: limit/lease.pxd), and tells at once. The store, which has one bucket a key for all,
charges what was used whether or not it is there, and gives as many more as fit. So requests never wait for it. The price:

    at worst `nodes * lease` requests of a key pass beyond its burst; what was used too early is missing later, so that over time no more
    than the rate passes.

A lease has to last until the store has answered, or a client that is within the limit would be refused for coming quickly: what the rate
brings in `sync`, and the requests that a client may well send at once (`AT_ONCE`), of which it may use half on credit. But it is never more
than the proxy's part of the burst: so at worst another burst passes, and where the burst is small so is what passes at once.

A lease that is not used lapses after ten times the time in which the rate brings it anew: so a key that comes rarely loses a tenth of its
rate to leases that nobody used, at worst.

While the store is away each proxy admits `rate / nodes` and `burst / nodes` by itself. It begins with that burst, so at that moment
another burst may pass, and another lease when it is back. One that comes and goes is therefore tried after 1, 2, 4, … 60 seconds: in the
first minute that is six times, then once a minute.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Protocol

LEASE_MOST = 500_000           # that a key's word has room for
AT_ONCE = 64                   # requests that a client may send before the store has answered for the first
KEPT_TIMES = 10                # a lease lasts so many times as long as the rate needs to bring it
KEPT_LEAST_US = 1_000_000
KEPT_MOST_US = 86_400_000_000


class Leased(Protocol):
    """What is needed of a `proxyd_ext.limit.rate.RateLimit` that is leased."""

    def fileno(self) -> int: ...

    def take_wants(self, now_us: int) -> list[tuple[int, int, int]]: ...

    def grant(self, hash: int, tokens: int, retry_us: int, now_us: int, valid_us: int) -> None: ...

    def set_lease(self, tokens: int) -> None: ...

    def set_local_share(self, on: bool, requests: int = 0, per_us: int = 1, burst: int = 0) -> None: ...


@dataclass(frozen=True, slots=True)
class ShareSettings:
    """What the config says about the store."""

    redis: str                     # URL
    prefix: str = "proxyd:"
    timeout_s: float = 0.1
    sync_s: float = 0.1
    lease: int = 0                 # tokens; 0: by the rate
    nodes: int = 0                 # 0: as many as the store hears of


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """A limit with `scope: cluster`."""

    policy: str
    limit: Leased
    requests: int                  # in `per_us` microseconds
    per_us: int
    burst: int                     # beyond the rate: burst + 1 pass at once

    @property
    def lowest(self) -> tuple[int, int]:
        """The rate in lowest terms: requests, and microseconds."""
        common = gcd(self.requests, self.per_us)
        return self.requests // common, self.per_us // common


@dataclass(frozen=True, slots=True)
class Want:
    hash: int
    used: int                      # tokens on credit: charged whatever the bucket has
    asked: int                     # beyond them


@dataclass(frozen=True, slots=True)
class Order:
    """Wants of one limit that go to the store together."""

    rule: SharedLimit
    wants: Sequence[Want]


@dataclass(frozen=True, slots=True)
class Given:
    tokens: int                    # of those asked for
    retry_us: int                  # until the bucket has one more; 0: it has


class StoreError(Exception):
    """The store cannot be reached, refuses, or answers nonsense."""


class LeaseStore(Protocol):
    """One bucket a key, for all proxies. Every method raises `StoreError` and may hang: deadlines are the caller's."""

    async def settle(self, orders: Sequence[Order]) -> Sequence[Sequence[Given]]:
        """What each want gets, in their order."""

    async def beat(self, node: str) -> int:
        """`node` lives; how many do."""

    async def leave(self, node: str) -> None: ...

    async def forget(self, policy: str, hash: int | None = None) -> int:
        """Fill the bucket of a key, or all of the policy; how many were not full."""

    async def close(self) -> None: ...


def lease_tokens(rule: SharedLimit, settings: ShareSettings, nodes: int) -> int:
    """What a proxy takes at a time: see above, one at least."""
    wanted = settings.lease or max(int(rule.requests * settings.sync_s * 1e6 / rule.per_us / nodes), AT_ONCE)
    return max(1, min(wanted, (rule.burst + 1) // nodes, LEASE_MOST))


def beyond_burst(lease: int, nodes: int) -> int:
    """How many requests of one key may pass beyond the burst, at worst."""
    return lease * nodes


def lasting_us(rule: SharedLimit, lease: int, nodes: int) -> int:
    """How long a lease may be used."""
    return min(max(KEPT_TIMES * lease * nodes * rule.per_us // rule.requests, KEPT_LEAST_US), KEPT_MOST_US)


def local_share(rule: SharedLimit, nodes: int) -> tuple[int, int, int]:
    """What one of so many admits alone: requests, in so many microseconds, and burst."""
    return rule.requests, rule.per_us * nodes, max((rule.burst + 1) // nodes - 1, 0)


