from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.governor.gradient import START, AdaptivePolicy, Gradient


def test_steps_by_hand() -> None:
    gradient = Gradient(AdaptivePolicy(10, 1000, 2.0))
    limits = []
    for short in (0.1, 0.1, 0.2, 0.3, 0.1):
        gradient.on_sample(short, int(gradient.limit))
        limits.append(gradient.limit)
    assert limits[:3] == [40, 80, 160]                               # up to twice the usual 0.1 s: it doubles
    long = 0.1 + 0.1 * 2 / 6001                                      # rises little while the limit is used
    long += (0.3 - long) * 2 / 6001
    assert limits[3] == pytest.approx(0.8 * 160 + 0.2 * (160 * 2 * long / 0.3 + 160**0.5))
    assert limits[4] == pytest.approx(limits[3] + 0.2 * limits[3] ** 0.5)


def test_it_starts_within_its_bounds() -> None:
    assert Gradient(AdaptivePolicy()).limit == START
    assert Gradient(AdaptivePolicy(200, 300)).limit == 200
    assert Gradient(AdaptivePolicy(1, 5)).limit == 5


def test_a_limit_that_is_not_half_used_stays() -> None:
    gradient = Gradient(AdaptivePolicy())
    for _ in range(50):
        assert gradient.on_sample(0.1, START // 2 - 1) == START
    assert gradient.on_sample(5.0, START // 2 - 1) == START


def test_nothing_takes_no_time() -> None:
    assert Gradient(AdaptivePolicy()).on_sample(0.0, 100) == START


class Queueing:
    """An upstream that works on `workers` requests at a time for `service` seconds each; the others wait in it (Little's law)."""

    def __init__(self, workers: int, service: float) -> None:
        self.workers, self.service = workers, service

    def response_seconds(self, in_flight: int) -> float:
        return self.service * max(1.0, in_flight / self.workers)


def settled(gradient: Gradient, upstream: Queueing, demand: int, samples: int) -> list[int]:
    """The limits, when `demand` requests would be under way at any time without a limit."""
    limits = []
    for _ in range(samples):
        in_flight = min(demand, int(gradient.limit))
        limits.append(gradient.on_sample(upstream.response_seconds(in_flight), in_flight))
    return limits


def test_it_finds_what_an_upstream_can_take() -> None:
    """Until waiting takes as long as working (tolerance 2); and minutes of overload (two samples a second) hardly move it."""
    limits = settled(Gradient(AdaptivePolicy(10, 10_000)), Queueing(200, 0.05), demand=100_000, samples=600)
    assert max(limits) <= 640, "one doubling too many at most"
    assert all(380 <= limit <= 460 for limit in limits[30:120]), limits[30:120:10]
    assert limits[-1] < 600


def test_it_sheds_when_an_upstream_becomes_slow_and_recovers_with_it() -> None:
    gradient = Gradient(AdaptivePolicy(10, 400))
    settled(gradient, Queueing(400, 0.05), demand=1000, samples=20)
    assert gradient.limit == 400
    slow = settled(gradient, Queueing(40, 0.05), demand=1000, samples=100)
    assert 80 <= slow[-1] <= 100, slow
    well = settled(gradient, Queueing(400, 0.05), demand=1000, samples=200)
    assert well[-1] == 400


def test_an_upstream_that_is_slower_for_good_is_not_held_down_for_ever() -> None:
    """A new release that works three times as long on each request."""
    gradient = Gradient(AdaptivePolicy(10, 400))
    settled(gradient, Queueing(100, 0.05), demand=1000, samples=50)
    limits = settled(gradient, Queueing(100, 0.15), demand=1000, samples=3_600)
    assert min(limits) < 20
    assert 100 < limits[-1] < 400


def test_a_bad_time_is_forgotten() -> None:
    """After minutes of slow answers, `long` would allow a slow upstream everything; it falls by 5 % a sample once answers are fast."""
    gradient = Gradient(AdaptivePolicy(10, 100))
    for _ in range(1000):
        gradient.on_sample(2.0, 5)
    for _ in range(100):
        gradient.on_sample(0.05, 60)
    assert gradient.limit == 100
    for _ in range(5):
        gradient.on_sample(0.4, 100)
    assert gradient.limit < 75


@given(st.lists(st.tuples(st.floats(1e-6, 100), st.integers(0, 2000)), max_size=100), st.integers(1, 50), st.integers(0, 500))
def test_always_within_its_bounds(samples: list[tuple[float, int]], low: int, more: int) -> None:
    gradient = Gradient(AdaptivePolicy(low, low + more))
    for short, in_flight in samples:
        limit = gradient.on_sample(short, in_flight)
        assert low <= limit <= low + more
        assert limit == int(gradient.limit)
