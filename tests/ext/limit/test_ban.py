"""Temporary bans (ext/proxyd_ext/limit/ban.pyx)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.limit.ban import Bans, count_refused
from tests.reference.zipf import splitmix64

SECOND = 1_000_000
MINUTE = 60 * SECOND


def bans_of(**changes: Any) -> Bans:
    return Bans("abuse", **{"after": 3, "within_us": MINUTE, "for_us": 10 * MINUTE, "capacity": 100, **changes})


def test_banned_from_the_third_refusal_on() -> None:
    bans = bans_of()
    assert [bans.note(1, at * SECOND) for at in (0, 20, 59)] == [False, False, True]
    assert (bans.left_us(1, 59 * SECOND), bans.left_us(2, 59 * SECOND)) == (10 * MINUTE, 0)
    assert bans.note(1, 100 * SECOND) is False
    assert bans.left_us(1, 658 * SECOND) == SECOND
    assert bans.left_us(1, 659 * SECOND) == 0
    assert [bans.note(1, 659 * SECOND) for _ in range(3)] == [False, False, True]


def test_refusals_that_are_spread_do_not_ban() -> None:
    bans = bans_of()
    assert not any(bans.note(1, at * 30 * SECOND) for at in range(20))


def test_one_refusal_may_be_enough() -> None:
    bans = bans_of(after=1)
    assert (bans.note(5, 0), bans.left_us(5, 1)) == (True, 10 * MINUTE)


@dataclass(slots=True)
class Counted:
    """The rule in plain Python, in milliseconds."""

    after: int
    within: int
    for_: int
    ends: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)

    def left(self, key: int, now: int) -> int:
        return max(self.ends.get(key, now) - now, 0) if self.counts.get(key, 0) >= self.after else 0

    def note(self, key: int, now: int) -> bool:
        if self.left(key, now):
            return False
        if self.ends.get(key, now) <= now:
            self.counts[key], self.ends[key] = 0, now + self.within
        self.counts[key] += 1
        if self.counts[key] >= self.after:
            self.ends[key] = now + self.for_
            return True
        return False


@given(st.integers(1, 5), st.integers(1, 50), st.integers(1, 50), st.lists(st.tuples(st.integers(1, 3), st.integers(0, 30)), max_size=60))
def test_equals_the_rule(after: int, within: int, for_: int, events: list[tuple[int, int]]) -> None:
    bans = Bans("x", after=after, within_us=within * 1000, for_us=for_ * 1000, capacity=1)
    rule = Counted(after, within, for_)
    now = 0
    for key, step in events:
        now += step
        assert bans.left_us(key, now * 1000) == rule.left(key, now) * 1000
        assert bans.note(key, now * 1000) == rule.note(key, now)


def test_stats_and_reset() -> None:
    bans = bans_of(after=2)
    for key in (1, 1, 2, 2, 3):
        bans.note(key, 0)
    for engine in (0, 0, 5):
        count_refused(bans, engine)
    assert bans.stats(0) == {
        "banned": 2, "bans": 2, "refused": 3, "capacity": 100, "memory_bytes": bans.stats(0)["memory_bytes"], "evictions": 0
    }
    assert (bans.reset(1), bans.reset(1), bans.left_us(1, 0)) == (1, 0, 0)
    assert bans.stats(0)["banned"] == 1
    assert bans.reset() == 2
    assert bans.stats(0)["banned"] == 0
    assert (bans.note(2, 0), bans.note(2, 0)) == (False, True)


def test_a_flood_of_refusals_does_not_push_out_bans() -> None:
    bans = bans_of(after=2, for_us=SECOND, capacity=1)
    keys = splitmix64(3)
    banned = [next(keys) for _ in range(50)]
    for key in banned:
        assert (bans.note(key, 0), bans.note(key, 0)) == (False, True)
    for _ in range(3000):
        bans.note(next(keys), 0)
    assert all(bans.left_us(key, 0) == SECOND for key in banned)
    assert bans.stats(0)["evictions"] > 2000


def test_counted_once_whatever_the_threads() -> None:
    bans = bans_of(after=4000, for_us=MINUTE)
    with ThreadPoolExecutor(4) as pool:
        told = [each.result() for each in [pool.submit(lambda: [bans.note(9, 0) for _ in range(1000)]) for _ in range(4)]]
    assert sum(sum(each) for each in told) == 1
    assert bans.left_us(9, 0) == MINUTE


@pytest.mark.parametrize(
    "changes", [{"after": 0}, {"after": 65_536}, {"within_us": 0}, {"for_us": 0}, {"for_us": 400 * 86_400 * SECOND}, {"capacity": 0}]
)
def test_what_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="bans come after 1 to 65535 refusals"):
        bans_of(**changes)


@pytest.mark.parametrize("hash", [0, -1, 2**64])
def test_hashes(hash: int) -> None:
    with pytest.raises(ValueError, match="a hash has 64 bits"):
        bans_of().note(hash, 0)
