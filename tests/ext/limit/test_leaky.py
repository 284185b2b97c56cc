"""The leaky bucket against nginx's own arithmetic (ext/proxyd_ext/limit/leaky.pxd)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.limit.rate import RateLimit, take
from tests.reference.leaky import Leaky

SECOND = 1_000_000
STEPS = st.one_of(st.just(0), st.integers(-5, 5), st.integers(0, 300), st.integers(0, 10**8))
ARRIVALS = st.lists(st.tuples(st.integers(1, 4), STEPS, st.integers(0, 999)), max_size=60)


def leaky(requests: int, burst: int, *, per_us: int = SECOND, delay: int = -1) -> RateLimit:
    return RateLimit("x", requests=requests, per_us=per_us, burst=burst, delay=delay, algorithm="leaky_bucket", capacity=100)


@given(st.integers(1, 3000), st.sampled_from([1, 60]), st.integers(0, 30), st.integers(-1, 32), st.integers(100, 2**40), ARRIVALS)
def test_equals_nginx(
    requests: int, per_s: int, burst: int, delay: int, start_ms: int, arrivals: list[tuple[int, int, int]]
) -> None:
    limit = leaky(requests, burst, per_us=per_s * SECOND, delay=delay)
    oracle = Leaky(requests * 1000 // per_s, burst, delay)
    now = start_ms
    for key, step, us in arrivals:
        now = max(now + step, start_ms - 50)
        decision, held = oracle.take(key, now)
        got, told = limit.try_take(key, now * 1000 + us)
        assert (got, told["delay_us"]) == (decision, held * 1000)
        assert told["remaining"] == oracle.remaining(key, now)


@given(st.integers(1, 1000), st.integers(0, 5), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 999)), max_size=40))
def test_who_waits_as_told_is_not_refused_twice(requests: int, burst: int, steps: list[tuple[int, int]]) -> None:
    limit = leaky(requests, burst)
    now = 0
    for step, us in steps:
        now += step * 1000 + us
        decision, told = limit.try_take(7, now)
        if decision == "refused":
            assert told["retry_us"] > 0
            assert limit.try_take(7, now + told["retry_us"] - 1)[0] == "refused"
            now += told["retry_us"]
            assert limit.try_take(7, now)[0] == "passed"


@given(st.integers(1, 1000), st.integers(0, 5), st.lists(st.integers(0, 400), max_size=40))
def test_after_the_reset_a_key_is_like_a_new_one(requests: int, burst: int, steps: list[int]) -> None:
    limit = leaky(requests, burst)
    now = 123
    for step in steps:
        now += step * 1000
        told = limit.try_take(7, now)[1]
        assert limit.peek(7, now + told["reset_us"] - 1) is not None
        assert limit.peek(7, now + told["reset_us"]) is None


def test_a_rate_by_the_day_is_exact() -> None:
    """nginx has no such; in thousandths a second it would be 1 instead of 1.157."""
    limit = leaky(100, 1, per_us=86_400 * SECOND)
    assert [limit.try_take(1, 0)[0] for _ in range(3)] == ["passed", "passed", "refused"]
    assert limit.try_take(1, 0)[1]["retry_us"] == 864 * SECOND
    assert [limit.try_take(1, now * SECOND)[0] for now in (863, 864, 864)] == ["refused", "passed", "refused"]


def test_bursts_up_to_a_million() -> None:
    limit = leaky(10_000, 1_000_000)
    assert limit.try_take(1, 0)[1]["remaining"] == 1_000_000
    assert limit.try_take(1, 0)[1] == {"delay_us": 0, "retry_us": 0, "reset_us": 1000, "remaining": 999_999}
    with pytest.raises(ValueError, match=r"must drain within 1\.6 days: 1 in 1000000 µs take 11\.6"):
        leaky(1, 1_000_000)
    with pytest.raises(ValueError, match="cannot be counted: at most 1073740"):
        leaky(10_000, 2_000_000)


def test_a_key_that_slept_for_days_is_like_a_new_one() -> None:
    limit = leaky(10, 100_000)
    for days in range(12):
        assert limit.try_take(1, days * 86_400 * SECOND)[1]["remaining"] == 100_000


@given(st.integers(0, 4), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3)), max_size=40))
def test_giving_back_admits_nothing_beyond_the_limit(burst: int, events: list[tuple[int, int]]) -> None:
    limit = leaky(10, burst)
    now, kept = 0, []
    for step, back in events:
        now += step
        decision, _, taken = take(limit, 9, now * 1000)
        if decision == "passed":
            kept.append((now, taken))
        if back and len(kept) >= back:
            kept.pop(-back)[1].give_back(now * 1000)
    times = [at for at, _ in kept]
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + 1 + (times[last] - begin) / 100


def test_what_is_given_back_at_once_was_never_taken() -> None:
    limit = leaky(10, 5)
    first = take(limit, 3, 1000)[2]
    first.give_back(1000)
    assert (limit.peek(3, 1000), limit.stats(1000)["keys"]) == (None, 0)
    limit.try_take(3, 1000)
    for _ in range(3):
        stood = limit.peek(3, 50_000)
        take(limit, 3, 50_000)[2].give_back(50_000)
        assert limit.peek(3, 50_000) == stood
