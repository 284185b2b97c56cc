"""The two sides of shared limits in plain Python: a store with exact buckets, and the data plane's table of one limit."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from proxyd.limits.leases import Given, Order, SharedLimit, StoreError
from tests.support.clock import FakeClock

Mood = Literal["well", "silent", "fails"]


class FakeLeases:
    """A `LeaseStore` whose time is the clock's, and which misbehaves when told."""

    def __init__(self, clock: FakeClock) -> None:
        self.mood: Mood = "well"
        self.nodes = 1
        self.living: set[str] = set()
        self.orders: list[Order] = []
        self.closed = False
        self.full_at: dict[tuple[str, int], Fraction] = {}
        self._clock = clock

    async def _answer(self) -> None:
        if self.mood == "silent":
            await asyncio.Event().wait()
        if self.mood == "fails":
            raise StoreError("connection refused")

    async def settle(self, orders: Sequence[Order]) -> Sequence[Sequence[Given]]:
        await self._answer()
        self.orders += orders
        now = Fraction(self._clock.monotonic()).limit_denominator(10**6) * 10**6
        return [[self._one(order.rule, want.hash, want.used, want.asked, now) for want in order.wants] for order in orders]

    def _one(self, rule: SharedLimit, hash_: int, used: int, asked: int, now: Fraction) -> Given:
        cost = Fraction(rule.per_us, rule.requests)
        spent = max(self.full_at.get((rule.policy, hash_), now) - now, Fraction(0)) + used * cost
        given = max(0, min(asked, ((rule.burst + 1) * cost - spent) // cost))
        spent += given * cost
        self.full_at[rule.policy, hash_] = now + spent
        return Given(given, max(0, -((rule.burst * cost - spent) // 1)))

    async def beat(self, node: str) -> int:
        await self._answer()
        self.living.add(node)
        return max(self.nodes, len(self.living))

    async def leave(self, node: str) -> None:
        await self._answer()
        self.living.discard(node)

    async def forget(self, policy: str, hash: int | None = None) -> int:
        await self._answer()
        gone = [key for key in self.full_at if key[0] == policy and hash in (None, key[1])]
        for key in gone:
            del self.full_at[key]
        return len(gone)

    async def close(self) -> None:
        self.closed = True


class FakeLimit:
    """A `Leased` with a real descriptor. `want` is what the data plane would do; grants are kept."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wants: list[tuple[int, int, int]] = []
        self.grants: list[tuple[int, int, int]] = []         # hash, tokens, retry_us
        self.valid_us = 0
        self.lease = 0
        self.share: tuple[int, int, int] | None = None       # None: the store's word counts

    def __del__(self) -> None:
        os.close(self._fd)

    def want(self, hash_: int, used: int, asked: int) -> None:
        self._wants.append((hash_, used, asked))
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        return self._fd

    def take_wants(self, now_us: int) -> list[tuple[int, int, int]]:
        os.eventfd_read(self._fd)
        wants, self._wants = self._wants, []
        return wants

    def grant(self, hash: int, tokens: int, retry_us: int, now_us: int, valid_us: int) -> None:
        self.grants.append((hash, tokens, retry_us))
        self.valid_us = valid_us

    def set_lease(self, tokens: int) -> None:
        self.lease = tokens

    def set_local_share(self, on: bool, requests: int = 0, per_us: int = 1, burst: int = 0) -> None:
        self.share = (requests, per_us, burst) if on else None
