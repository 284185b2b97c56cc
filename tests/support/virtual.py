"""The native pickers on virtual time: pools without sockets, and a queueing simulation that drives them pick by pick.

Everything is seeded, so a figure that a test asserts is the same in every run.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxyd_ext.balance.pool import Pool, UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.snapshot.spec import Balance, MemberSpec, UpstreamSpec

START_MS = 1_000      # virtual time begins here: 0 would read as "never" where a time is stored


def addresses(count: int) -> list[str]:
    """Labels host:port of so many servers."""
    return [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:8080" for i in range(count)]


def members_of(labels: Sequence[str], weights: Sequence[int] = (), **settings: Any) -> list[MemberSpec]:
    """New servers with these labels, as members with the same settings."""
    servers = [Server("app", label, ("127.0.0.1", 9)) for label in labels]
    return [MemberSpec(server, weight=weights[i] if weights else 1, **settings) for i, server in enumerate(servers)]


def pool_of(members: Sequence[MemberSpec], balance: Balance = "round_robin", **settings: Any) -> Pool:
    """A pool of these members as their servers stand now, of an upstream of its own. Servers belong to one upstream: the next pool with the
    same ones is `again(pool)`."""
    return Pool(UpstreamSpec("app", UpstreamState("app"), members, balance=balance, **settings))


def again(pool: Pool, **changes: Any) -> Pool:
    """Another pool of the same upstream, as its servers stand now."""
    return Pool(replace(pool.spec, **changes))


def plain_pool(count: int, balance: Balance, **settings: Any) -> Pool:
    return pool_of(members_of(addresses(count)), balance, **settings)


@dataclass(slots=True)
class Outcome:
    """Of one simulated request."""

    at: float
    member: int
    seconds: float


def simulate(
    pool: Pool,
    arrivals: Sequence[float],
    take: Callable[[int, float], float],
    draw: random.Random,
    *,
    on_pick: Callable[[int, float], None] | None = None,
) -> list[Outcome]:
    """Requests that come at `arrivals` (seconds, rising); `take(member, now)` says when the one that is picked now will be over.

    The pool's counts and estimates move as an engine would move them: `pick` at the arrival, `done` with the time that it took at the end.
    """
    running: list[tuple[float, int, float]] = []
    outcomes = []
    for now in arrivals:
        _finish(pool, running, now)
        member = pool.pick(now_ms=START_MS + int(now * 1000), seed=draw.getrandbits(64) | 1)
        assert member >= 0, f"no server at {now}"
        end = take(member, now)
        heapq.heappush(running, (end, member, now))
        outcomes.append(Outcome(now, member, end - now))
        if on_pick is not None:
            on_pick(member, now)
    _finish(pool, running, float("inf"))
    return outcomes


def _finish(pool: Pool, running: list[tuple[float, int, float]], until: float) -> None:
    while running and running[0][0] <= until:
        end, member, since = heapq.heappop(running)
        pool.done(member, max(1, int((end - since) * 1e6)), START_MS + int(end * 1000))
