"""The token bucket against exact fractions (ext/proxyd_ext/limit/gcra.pxd)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.limit.rate import RateLimit, take
from tests.reference.gcra import Gcra

SECOND = 1_000_000
PERIODS = st.sampled_from([1, 1000, SECOND, 10 * SECOND, 60 * SECOND, 3600 * SECOND, 86_400 * SECOND])
# Time goes on by very different steps, and now and then an engine's clock is a little behind another's.
STEPS = st.one_of(st.just(0), st.integers(-2000, 2000), st.integers(0, 3 * SECOND), st.integers(0, 10**12))
ARRIVALS = st.lists(st.tuples(st.integers(1, 4), STEPS), max_size=60)


@given(st.integers(1, 1024), PERIODS, st.integers(0, 20), st.integers(-1, 22), st.integers(0, 2**50), ARRIVALS)
def test_equals_the_fractions(requests: int, per_us: int, burst: int, delay: int, start: int, arrivals: list[tuple[int, int]]) -> None:
    limit = RateLimit("x", requests=requests, per_us=per_us, burst=burst, delay=delay, capacity=100)
    oracle = Gcra(requests, per_us, burst, delay)
    now = start + 4000
    for key, step in arrivals:
        now = max(now + step, start)
        expected = oracle.take(key, now)
        assert limit.try_take(key, now) == expected
        view = oracle.view(oracle.level(key, now))
        assert limit.peek(key, now) == (view if view["reset_us"] else None)


@given(st.integers(1, 1000), PERIODS, st.integers(0, 5), st.lists(st.integers(0, 400_000), max_size=40))
def test_who_waits_as_told_is_not_refused_twice(requests: int, per_us: int, burst: int, steps: list[int]) -> None:
    limit = RateLimit("x", requests=requests, per_us=per_us, burst=burst, capacity=1)
    now = 0
    for step in steps:
        now += step
        decision, told = limit.try_take(7, now)
        if decision == "refused":
            assert told["retry_us"] > 0
            assert limit.try_take(7, now + told["retry_us"] - 1)[0] == "refused"
            now += told["retry_us"]
            assert limit.try_take(7, now)[0] == "passed"


def test_burst_and_rate() -> None:
    limit = RateLimit("x", requests=10, per_us=SECOND, burst=3, capacity=1)
    assert [limit.try_take(1, 5 * SECOND)[0] for _ in range(5)] == ["passed"] * 4 + ["refused"]
    assert limit.try_take(1, 5 * SECOND) == ("refused", {"delay_us": 0, "retry_us": 100_000, "reset_us": 400_000, "remaining": 0})
    assert [limit.try_take(1, 5 * SECOND + 99_999)[0], *(limit.try_take(1, 5 * SECOND + 100_000)[0] for _ in range(2))] == [
        "refused", "passed", "refused"
    ]
    assert limit.peek(1, 60 * SECOND) is None


def test_delay() -> None:
    limit = RateLimit("x", requests=10, per_us=SECOND, burst=4, delay=2, capacity=1)
    taken = [limit.try_take(1, 0) for _ in range(6)]
    assert [(decision, told["delay_us"]) for decision, told in taken] == [
        ("passed", 0), ("passed", 0), ("passed", 0), ("delayed", 100_000), ("delayed", 200_000), ("refused", 0)
    ]


def test_nothing_drifts() -> None:
    """A third of a microsecond a request: over a second of constant overload it is exactly as many as the rate says."""
    limit = RateLimit("x", requests=3, per_us=1000, burst=0, capacity=1)
    passed = sum(limit.try_take(1, now)[0] == "passed" for now in range(0, SECOND, 111))
    arrivals = [Fraction(now) for now in range(0, SECOND, 111)]
    expected, tat = 0, Fraction(0)
    for now in arrivals:
        if tat <= now:
            expected, tat = expected + 1, now + Fraction(1000, 3)
    assert passed == expected


@pytest.mark.parametrize("requests", [1021, 1031, 4999, 9973, 9999])
def test_rates_that_need_more_units_are_off_by_a_hundred_thousandth_at_most(requests: int) -> None:
    limit = RateLimit("x", requests=requests, per_us=SECOND, burst=1000, capacity=1)
    for _ in range(1000):
        reset_us = limit.try_take(1, 0)[1]["reset_us"]
    exact = 1000 * SECOND / requests
    assert abs(reset_us - exact) <= 1 + exact * 1e-5


KEPT = st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 3)), max_size=40)


@given(st.integers(0, 4), KEPT)
def test_giving_back_admits_nothing_beyond_the_limit(burst: int, events: list[tuple[int, int]]) -> None:
    """Requests come, and some of those that passed are given back later, with others between. In no stretch of time do those that stay
    exceed what flows in and the burst."""
    limit = RateLimit("x", requests=10, per_us=SECOND, burst=burst, capacity=1)
    now, kept = 0, []
    for step, back in events:
        now += step
        decision, _, taken = take(limit, 9, now)
        if decision == "passed":
            kept.append((now, taken))
        if back and len(kept) >= back:
            kept.pop(-back)[1].give_back(now)
    times = [at for at, _ in kept]
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + 1 + (times[last] - begin) / 100_000


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 150_000))
def test_what_is_given_back_at_once_was_never_taken(before: int, after: int, step: int) -> None:
    limit, oracle = (RateLimit("x", requests=10, per_us=SECOND, burst=5, capacity=1) for _ in range(2))
    for each in (limit, oracle):
        for _ in range(before):
            each.try_take(3, 1000)
    now = 1000 + step
    decision, _, taken = take(limit, 3, now)
    if decision == "refused":
        return
    for _ in range(after):
        if limit.try_take(3, now)[0] == "passed":
            oracle.try_take(3, now)
    taken.give_back(now)
    assert limit.peek(3, now) == oracle.peek(3, now)
