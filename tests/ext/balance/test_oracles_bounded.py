"""Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018), on the ring and on Maglev's table.

No server takes an exchange beyond ⌈(1 + ε) · m / n⌉, m counting that exchange. The paper also moves balls when others leave; a request
under way cannot be moved, so the bound that holds at every moment is that of the most there were at once.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.balance.pool import Pool
from proxyd_ext.snapshot.spec import Balance
from tests.support.virtual import addresses, again, members_of, plain_pool, pool_of

KINDS: tuple[Balance, ...] = ("hash", "maglev")


def bound(percent: int, balls: int, weight: int, weights: int) -> int:
    """HAProxy's form: ⌈m · factor⌉ places, shared out by weight, rounded up, at least one."""
    places = -(-balls * percent // 100)
    return max(1, -(-places * weight // weights))


steps = st.lists(st.tuples(st.booleans(), st.integers(0, 2**32 - 1)), min_size=1, max_size=200)


@given(balance=st.sampled_from(KINDS), percent=st.integers(101, 400), servers=st.integers(1, 12), steps=steps, keys=st.integers(1, 40))
def test_no_server_above_its_bound(balance: Balance, percent: int, servers: int, steps: list[tuple[bool, int]], keys: int) -> None:
    """Exchanges come and go; few keys, so that some are hot."""
    pool = plain_pool(servers, balance, bounded_load=percent)
    load = [0] * servers
    under_way: list[int] = []
    most = 0
    for comes, number in steps:
        if comes or not under_way:
            member = pool.pick(key=(number % keys) * 0x9E3779B1 & 0xFFFFFFFF, now_ms=1, seed=1)
            load[member] += 1
            under_way.append(member)
            most = max(most, sum(load))
            assert load[member] <= bound(percent, sum(load), 1, servers)
        else:
            member = under_way.pop(number % len(under_way))
            load[member] -= 1
            pool.done(member)
        assert max(load) <= bound(percent, most, 1, servers)


@given(
    balance=st.sampled_from(KINDS), percent=st.integers(101, 300), weights=st.lists(st.integers(1, 20), min_size=1, max_size=8),
    keys=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=150),
)  # fmt: skip
def test_no_server_above_its_part_of_the_bound(balance: Balance, percent: int, weights: list[int], keys: list[int]) -> None:
    pool = pool_of(members_of(addresses(len(weights)), weights), balance, bounded_load=percent)
    load = [0] * len(weights)
    for balls, key in enumerate(keys, 1):
        member = pool.pick(key=key, now_ms=1, seed=1)
        load[member] += 1
        assert load[member] <= bound(percent, balls, weights[member], sum(weights))


@pytest.mark.parametrize("balance", KINDS)
def test_one_hot_key_is_spread(balance: Balance) -> None:
    """1,000 exchanges of one key at 10 servers and 125 %: nobody has more than 125; without the bound one has them all."""
    pool = plain_pool(10, balance, bounded_load=125)
    counts = Counter(pool.pick(key=7, now_ms=1, seed=1) for _ in range(1_000))
    assert max(counts.values()) == 125
    free = plain_pool(10, balance)
    assert len({free.pick(key=7, now_ms=1, seed=1) for _ in range(1_000)}) == 1


@pytest.mark.parametrize("balance", KINDS)
def test_below_the_bound_the_mapping_is_the_plain_one(balance: Balance) -> None:
    """One exchange at a time is within every bound."""
    draw = random.Random(2)
    keys = [draw.getrandbits(32) for _ in range(2_000)]
    bounded, plain = plain_pool(50, balance, bounded_load=125), plain_pool(50, balance)
    assert bounded.sequence(2_000, keys) == plain.sequence(2_000, keys)


def placed(pool: Pool, keys: list[int]) -> list[int]:
    """All of them under way at once; where each went."""
    out = [pool.pick(key=key, now_ms=1, seed=1) for key in keys]
    for member in out:
        pool.done(member)
    return out


def moves(percent: int, balance: Balance) -> float:
    """Balls that lie elsewhere after one of 50 servers left, for each one that it had: 1.0 is the least possible."""
    draw = random.Random(percent)
    members = members_of(addresses(50))
    keys = [draw.getrandbits(32) for _ in range(5_000)]
    pool = pool_of(members, balance, bounded_load=percent)
    before = placed(pool, keys)
    total = own = 0
    for gone in range(0, 50, 5):
        members[gone].server.set_down("health", True)
        after = placed(again(pool), keys)
        members[gone].server.set_down("health", False)
        total += sum(a != b for a, b in zip(before, after, strict=True))
        own += before.count(gone)
    return total / own


def test_moves_shrink_with_the_slack() -> None:
    """The paper: O(1/ε²) moves for each ball of a server that leaves, ε < 1, whatever the number of servers. Measured here."""
    for percent, per_ball in ((105, 7.4), (110, 4.6), (125, 2.0), (150, 1.15), (200, 1.02)):
        slack = (percent - 100) / 100
        assert moves(percent, "hash") == pytest.approx(per_ball, rel=0.15)
        assert per_ball < 1 + 1 / slack**2
    assert moves(400, "hash") == pytest.approx(1, abs=0.01)
