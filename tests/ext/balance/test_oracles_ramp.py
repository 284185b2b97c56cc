"""Slow start: a server's share grows in a straight line from the moment its ramp began, whichever the balancer.

Pools read the machine's clock when they are built, so each build is bracketed by two readings of the same clock.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from proxyd_ext.snapshot.spec import Balance
from tests.support.virtual import addresses, again, members_of, pool_of

SLOW_MS = 250
TURNS = ("round_robin", "least_conn")      # exact by turns
DRAWS = ("p2c", "ewma", "random")          # by chance


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@pytest.mark.parametrize("weights", [(100, 100), (300, 200, 700)])
def test_the_share_grows_in_a_line(weights: tuple[int, ...]) -> None:
    """From nothing to all, in pools built one after the other until the ramp is over."""
    members = members_of(addresses(len(weights)), weights)
    begun = now_ms()
    members[0].server.ramp()
    begun_by = now_ms()
    pool = pool_of(members, slow_start_ms=SLOW_MS)
    seen: list[float] = []
    while True:
        before = now_ms()
        pool = again(pool)
        after = now_ms()
        active = dict(pool.describe()["active"])
        assert [active[member.server.label] for member in members[1:]] == list(weights[1:])
        share = active[members[0].server.label] / weights[0]
        least, most = (before - begun_by) / SLOW_MS, (after - begun) / SLOW_MS
        assert min(least, 1) - 0.01 <= share <= max(most, 0.01) + 1e-9
        seen.append(share)
        if not pool.ramping:
            break
    assert share == 1
    assert after - begun >= SLOW_MS
    assert seen == sorted(seen)
    assert len(set(seen)) > 20


def test_a_weight_of_one_has_a_part_while_it_ramps() -> None:
    members = members_of(addresses(2))
    members[0].server.ramp()
    pool = pool_of(members, slow_start_ms=2_000)
    while dict(pool.describe()["active"])[members[0].server.label] <= 0.05:
        assert pool.ramping
        pool = again(pool)
    assert dict(pool.describe()["active"])[members[0].server.label] < 0.5
    assert dict(pool.describe()["active"])[members[1].server.label] == 1


def test_no_ramp_without_slow_start() -> None:
    members = members_of(addresses(2))
    members[0].server.ramp()
    pool = pool_of(members)
    assert not pool.ramping
    assert [weight for _, weight in pool.describe()["active"]] == [1, 1]


def test_no_ramp_that_did_not_begin() -> None:
    """Not at the start of the process: servers that are there from the beginning have their whole weight."""
    pool = pool_of(members_of(addresses(2), [2, 3]), slow_start_ms=60_000)
    assert not pool.ramping
    assert pool.sequence(5) == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("balance", [*TURNS, *DRAWS])
def test_picks_follow_the_share(balance: Balance) -> None:
    """A pool within a long ramp: its picks are as the shares that it tells."""
    members = members_of(addresses(3), [400, 400, 400])
    members[0].server.ramp()
    begun = now_ms()
    pool = pool_of(members, balance, slow_start_ms=2_000)
    while now_ms() < begun + 120:          # some of it has gone by
        pool = again(pool)
    shares = dict(pool.describe()["active"])
    expected = shares[members[0].server.label] / sum(shares.values())
    assert 0.02 < expected < 0.3
    count = 20_000
    part = Counter(pool.sequence(count))[0] / count
    if balance in TURNS:
        assert part == pytest.approx(expected, abs=0.002)
    elif balance == "random":
        assert part == pytest.approx(expected, abs=0.012)
    else:
        # The better of two idle ones is the first drawn of two different ones: as its weight.
        assert part == pytest.approx(expected, abs=0.012)


def test_a_hash_does_not_move_while_it_ramps() -> None:
    """Keys go to their server at once: a mapping that changed every second would be none."""
    members = members_of(addresses(5))
    keys = [i * 0x9E3779B1 & 0xFFFFFFFF for i in range(2_000)]
    for balance in ("hash", "maglev"):
        kind: Balance = "hash" if balance == "hash" else "maglev"
        pool = pool_of(members, kind)
        whole = pool.sequence(len(keys), keys)
        members[2].server.ramp()
        assert again(pool, slow_start_ms=60_000).sequence(len(keys), keys) == whole
