"""Tokens taken in advance from a bucket that several proxies share (ext/proxyd_ext/limit/lease.pxd)."""

from __future__ import annotations

import select
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.limit.rate import RateLimit, hammer, take
from tests.reference.shared_bucket import SharedBucket
from tests.reference.zipf import mix64

SECOND = 1_000_000
KEY = 7
LOST = 10 * SECOND


def leased(lease: int, **changes: Any) -> RateLimit:
    limit = RateLimit("shared", **{"requests": 10, "per_us": SECOND, "burst": 20, "capacity": 100, "leased": True, **changes})
    limit.set_lease(lease)
    return limit


def pass_all(limit: RateLimit, now_us: int, key: int = KEY) -> int:
    """How many pass before one is refused."""
    count = 0
    while limit.try_take(key, now_us)[0] == "passed":
        count += 1
    return count


def readable(limit: RateLimit) -> bool:
    return bool(select.select([limit.fileno()], [], [], 0)[0])


def test_the_first_half_of_a_lease_is_credit() -> None:
    limit = leased(5)
    assert not readable(limit)
    assert pass_all(limit, 0) == 3
    assert limit.try_take(KEY, 0) == ("refused", {"delay_us": 0, "retry_us": 100_000, "reset_us": 2_100_000, "remaining": 0})
    assert readable(limit)
    assert limit.take_wants(0) == [(KEY, 3, 2)]
    assert (readable(limit), limit.take_wants(0)) == (False, [])


def test_a_grant_pays_the_credit_and_fills_the_hand() -> None:
    limit = leased(5)
    assert pass_all(limit, 0) == 3
    limit.take_wants(0)
    limit.grant(KEY, 2, 0, 1000, SECOND)
    assert limit.peek(KEY, 1000) == {"remaining": 5, "retry_us": 0, "reset_us": 1_600_000}
    assert limit.try_take(KEY, 1000)[0] == "passed"
    assert limit.take_wants(1000) == [(KEY, 0, 1)]
    assert (pass_all(limit, 1000), limit.take_wants(1000)) == (4, [])
    limit.grant(KEY, 1, 0, 2000, SECOND)
    assert limit.take_wants(2000) == [(KEY, 2, 2)]


def test_what_is_in_hand_lapses() -> None:
    limit = leased(8)
    limit.try_take(KEY, 0)
    assert limit.take_wants(0) == [(KEY, 1, 4)]
    limit.grant(KEY, 4, 0, 0, SECOND)
    assert limit.peek(KEY, SECOND - 1000) == {"remaining": 8, "retry_us": 0, "reset_us": 1_300_000}
    assert limit.peek(KEY, SECOND) is None
    assert pass_all(limit, SECOND) == 4


def test_nothing_left_blocks_until_there_is() -> None:
    limit = leased(4)
    assert pass_all(limit, 0) == 2
    assert limit.take_wants(0) == [(KEY, 2, 2)]
    limit.grant(KEY, -5, 700_000, 0, SECOND)
    assert limit.try_take(KEY, 100_000) == ("refused", {"delay_us": 0, "retry_us": 600_000, "reset_us": 2_100_000, "remaining": 0})
    assert pass_all(limit, 699_000) == 0
    assert pass_all(limit, 700_000) == 2


def test_what_is_used_while_the_store_answers_is_told_too() -> None:
    limit = leased(6)
    limit.try_take(KEY, 0)
    assert limit.take_wants(0) == [(KEY, 1, 3)]
    assert pass_all(limit, 0) == 2
    limit.grant(KEY, 0, 300_000, 0, SECOND)
    assert readable(limit)
    assert limit.take_wants(0) == [(KEY, 2, 0)]
    limit.grant(KEY, 0, 500_000, 0, SECOND)
    assert limit.take_wants(0) == []
    assert (pass_all(limit, 499_000), pass_all(limit, 500_000)) == (0, 3)


def test_a_want_without_an_answer_is_told_again() -> None:
    limit = leased(4)
    limit.try_take(KEY, 0)
    assert limit.take_wants(0) == [(KEY, 1, 2)]
    limit.try_take(KEY, LOST - 1000)
    assert limit.take_wants(LOST - 1000) == []
    limit.grant(KEY + 1, 3, 0, 0, SECOND)
    assert limit.try_take(KEY, LOST)[0] == "refused"
    other = leased(4)
    other.try_take(KEY, 0)
    other.take_wants(0)
    other.try_take(KEY, LOST)
    assert other.take_wants(LOST) == [(KEY, 2, 2)]


def test_giving_back_returns_a_token() -> None:
    limit = leased(4)
    taken = take(limit, KEY, 0)[2]
    take(limit, KEY, 0)[2].give_back(0)
    taken.give_back(0)
    assert limit.take_wants(0) == [(KEY, 0, 2)]
    limit.grant(KEY, 2, 0, 0, SECOND)
    taken.give_back(0)
    assert limit.peek(KEY, 0) == {"remaining": 4, "retry_us": 0, "reset_us": 1_700_000}
    limit.reset(KEY)
    limit.try_take(KEY, 0)
    taken.give_back(0)
    assert limit.peek(KEY, 0) == {"remaining": 1, "retry_us": 0, "reset_us": 2_000_000}


def test_a_grant_for_a_key_that_began_anew_pays_nothing_of_it() -> None:
    limit = leased(4)
    assert pass_all(limit, 0) == 2
    limit.take_wants(0)
    limit.reset(KEY)
    limit.try_take(KEY, 0)
    limit.grant(KEY, 0, 0, 0, SECOND)
    assert limit.take_wants(0) == [(KEY, 1, 2)]


def test_wants_that_find_no_room_are_counted_and_come_again() -> None:
    limit = leased(4, capacity=20_000)
    assert hammer(limit, 1, 16_384 + 10, 16_384 + 10, 0) == 16_384 + 10
    assert limit.stats(0)["lease_wants_lost"] == 10
    assert len(limit.take_wants(0)) == 16_384
    assert limit.try_take(mix64(16_390), 0)[0] == "passed"
    assert limit.take_wants(0) == [(mix64(16_390), 2, 2)]


@pytest.mark.parametrize("algorithm", ["token_bucket", "leaky_bucket"])
def test_the_local_share(algorithm: str) -> None:
    limit = leased(4, algorithm=algorithm)
    assert pass_all(limit, 0) == 2
    limit.take_wants(0)
    limit.set_local_share(True, 10, 2 * SECOND, 9)
    assert limit.stats(0)["on_local_share"] == 1
    assert pass_all(limit, 0) == 10
    limit.grant(KEY, 100, 0, 0, SECOND)
    limit.set_local_share(True, 10, 2 * SECOND, 9)
    assert [pass_all(limit, now) for now in (199_000, 200_000)] == [0, 1]
    limit.set_local_share(True, 10, 3 * SECOND, 6)
    assert pass_all(limit, 200_000) == 7
    limit.set_local_share(False)
    assert (limit.stats(0)["on_local_share"], pass_all(limit, 200_000)) == (0, 2)
    assert limit.take_wants(200_000) == [(KEY, 2, 2)]


# ---- the worst case ----

ROUNDS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask", "take", "grant", "back"]), st.integers(0, 3), st.integers(0, 60_000)), max_size=150
)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 20), ROUNDS)
def test_never_more_than_proxies_times_lease_too_many(proxies: int, lease: int, burst: int, rounds: list[tuple[str, int, int]]) -> None:
    """Adversaries choose when each proxy is asked, when its wants reach the store, and when the answers reach it. In no stretch of time
    pass more than the bucket admits and proxies * lease."""
    limits = [leased(lease, burst=burst) for _ in range(proxies)]
    bucket = SharedBucket(10, SECOND, burst)
    under_way: list[list[tuple[int, int]]] = [[] for _ in limits]     # answers that have not arrived
    now, passed = 0, list[int]()
    for what, at, step in rounds:
        limit, answers = limits[at % proxies], under_way[at % proxies]
        now += step * 10
        if what == "ask":
            passed.extend([now] * pass_all(limit, now))
        elif what == "back":
            decision, _, taken = take(limit, KEY, now)
            if decision == "passed":
                taken.give_back(now)
        elif what == "take":
            answers.extend(bucket.settle(used, asked, now) for _, used, asked in limit.take_wants(now))
        elif answers:
            tokens, retry_us = answers.pop(0)
            limit.grant(KEY, tokens, retry_us, now, SECOND)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + 1 + (passed[last] - begin) / 100_000 + proxies * lease


def test_in_the_long_run_the_rate_passes() -> None:
    """Three proxies in constant demand, a store 2 ms away: what passes is the rate, not more and hardly less."""
    limits = [leased(4) for _ in range(3)]
    bucket = SharedBucket(10, SECOND, 20)
    passed = 0
    for now in range(0, 60 * SECOND, 2000):
        for limit in limits:
            passed += pass_all(limit, now)
            for key, used, asked in limit.take_wants(now):
                tokens, retry_us = bucket.settle(used, asked, now)
                limit.grant(key, tokens, retry_us, now + 2000, SECOND)
    assert 600 <= passed <= 600 + 21 + 3 * 4
