"""`least_conn` and `first` against an oracle that compares all servers, over any course of events."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.snapshot.spec import Balance, MemberSpec
from tests.support.virtual import addresses, again, members_of, plain_pool, pool_of

NONE, FULL = -1, -2

actions = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.lists(st.integers(0, 4), max_size=2)),          # tried already
        *[st.tuples(st.just("pick"), st.just([]))] * 4,
        st.tuples(st.just("done"), st.integers(0, 10_000)),
        st.tuples(st.just("down"), st.integers(0, 4)),
        st.tuples(st.just("up"), st.integers(0, 4)),
        st.tuples(st.just("rebuild"), st.just(0)),
    ),
    min_size=1,
    max_size=120,
)
shapes = st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0, 1, 1, 2, 5])), min_size=1, max_size=5)


class World:
    """A pool, and what the oracle knows of it. Servers that were down when the pool was built stay out of it until the next one."""

    def __init__(self, balance: Literal["least_conn", "first"], shape: list[tuple[int, int]]) -> None:
        self.balance: Literal["least_conn", "first"] = balance
        labels = addresses(len(shape))
        self.members = [
            MemberSpec(member.server, weight=weight, max_requests=most)
            for member, (weight, most) in zip(members_of(labels), shape, strict=True)
        ]
        self.load = [0] * len(shape)
        self.down = [False] * len(shape)
        self.under_way: list[int] = []
        self.pool = pool_of(self.members, balance)
        self.drawn = list(range(len(shape)))

    def rebuild(self) -> None:
        self.pool = again(self.pool)
        self.drawn = [i for i, down in enumerate(self.down) if not down]

    def free(self, tried: list[int]) -> list[int]:
        """Members that may be picked."""
        return [i for i in self.drawn if not self.down[i] and i not in tried and not self.is_full(i)]

    def is_full(self, i: int) -> bool:
        return 0 < self.members[i].max_requests <= self.load[i]

    def key(self, i: int) -> float:
        return self.load[i] / self.members[i].weight if self.balance == "least_conn" else i

    def pick(self, tried: list[int]) -> None:
        member = self.pool.pick(tried=[i for i in tried if i < len(self.members)], now_ms=1)
        free = self.free(tried)
        if free:
            assert member in free
            assert self.key(member) == min(self.key(i) for i in free)
            self.load[member] += 1
            self.under_way.append(member)
        else:
            waits = any(self.is_full(i) and not self.down[i] and i not in tried for i in self.drawn)
            assert member == (FULL if waits else NONE)

    def done(self, number: int) -> None:
        if self.under_way:
            member = self.under_way.pop(number % len(self.under_way))
            self.load[member] -= 1
            self.pool.done(member)

    def set_down(self, i: int, down: bool) -> None:
        if i < len(self.members):
            self.members[i].server.set_down("health", down)
            self.down[i] = down


@pytest.mark.parametrize("balance", ["least_conn", "first"])
@settings(max_examples=300, deadline=None)
@given(shape=shapes, actions=actions)
def test_always_the_best(balance: Literal["least_conn", "first"], shape: list[tuple[int, int]], actions: list[tuple[str, object]]) -> None:
    """Whatever came, left, was tried, is full, went down or came back: the pick is the minimum, or says truly why there is none."""
    world = World(balance, shape)
    for kind, value in actions:
        if kind == "pick":
            assert isinstance(value, list)
            world.pick(value)
            continue
        assert isinstance(value, int)
        if kind == "done":
            world.done(value)
        elif kind == "rebuild":
            world.rebuild()
        else:
            world.set_down(value, kind == "down")
    for member, load in zip(world.members, world.load, strict=True):
        assert member.server.stats()["in_flight"] == load


def test_first_fills_in_order() -> None:
    """The first server to its brim, then the second; what is given back is the first to be taken again."""
    pool = pool_of(members_of(addresses(3), max_requests=4), "first")
    assert [pool.pick(now_ms=1) for _ in range(14)] == [0] * 4 + [1] * 4 + [2] * 4 + [FULL, FULL]
    for member in (2, 0, 1):
        pool.done(member)
    assert [pool.pick(now_ms=1) for _ in range(4)] == [0, 1, 2, FULL]


@pytest.mark.parametrize("down", [1, 60, 150, 999])
def test_many_that_do_not_fit(down: int) -> None:
    """So many of a thousand went down since the pool was built, the best ones: the search goes past them all."""
    members = members_of(addresses(1_000))
    pool = pool_of(members, "least_conn")
    for member in members[:down]:
        member.server.set_down("health", True)
    picked = [pool.pick(now_ms=1) for _ in range(1_000 - down)]
    assert sorted(picked) == list(range(down, 1_000))


def test_a_thousand_are_filled_evenly() -> None:
    pool = plain_pool(1_000, "least_conn")
    counts = Counter(pool.pick(now_ms=1) for _ in range(5_500))
    assert set(counts.values()) == {5, 6}


EVERY = pytest.mark.parametrize("balance", ["round_robin", "p2c", "ewma", "random", "hash", "maglev", "least_conn", "first"])


@EVERY
def test_full_though_the_best_cannot_be_used(balance: Balance) -> None:
    """Two servers with one place each, both taken; one of them is down, or was tried: there is one to wait for."""
    members = members_of(addresses(2), max_requests=1)
    pool = pool_of(members, balance)
    assert {pool.pick(key=key, now_ms=1) for key in (0, 1 << 31)} == {0, 1}
    for i, member in enumerate(members):
        assert pool.pick(now_ms=1, tried=[i]) == FULL
        member.server.set_down("health", True)
        assert pool.pick(now_ms=1) == FULL
        member.server.set_down("health", False)


@EVERY
def test_max_requests_holds_for_every_balancer(balance: Balance) -> None:
    """Every place is found, none twice: 60 of them, then "full"; with nobody left to wait for, "none"."""
    members = [MemberSpec(member.server, max_requests=1 + i % 5) for i, member in enumerate(members_of(addresses(20)))]
    pool = pool_of(members, balance)
    counts = Counter(pool.pick(key=i * 0x9E3779B1 & 0xFFFFFFFF, now_ms=1, seed=i + 1) for i in range(60))
    assert counts == {i: 1 + i % 5 for i in range(20)}
    assert pool.pick(now_ms=1) == FULL
    for member in members:
        member.server.set_down("health", True)
    assert pool.pick(now_ms=1) == NONE


@pytest.mark.parametrize("weights", [(1, 1), (5, 1, 1)])
def test_turns_that_go_on_for_ever(weights: tuple[int, ...]) -> None:
    """Virtual time begins anew after a million rounds; nobody notices."""
    pool = pool_of(members_of(addresses(len(weights)), weights), "least_conn")
    before = Counter(pool.sequence(700))
    pool.cost(2_500_000 * len(weights))
    after = Counter(pool.sequence(700))
    assert all(abs(before[number] - after[number]) <= 1 for number in range(len(weights)))
    assert all(abs(after[number] - 700 * weight / sum(weights)) <= 1 for number, weight in enumerate(weights))
