from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.governor.percentile import HedgeDelay, percentile

BOUNDS = (0.001, 0.01, 0.1, 1.0)


@pytest.mark.parametrize(
    ("buckets", "share", "seconds"),
    [
        ([100, 0, 0, 0, 0], 0.5, 0.0005),          # evenly spread within 0 to 1 ms
        ([100, 0, 0, 0, 0], 1.0, 0.001),
        ([90, 0, 10, 0, 0], 0.95, 0.055),          # half of the way from 10 to 100 ms
        ([90, 0, 10, 0, 0], 0.90, 0.001),
        ([0, 0, 0, 0, 100], 0.5, 1.0),             # beyond the last bound
        ([0, 50, 0, 0, 50], 0.5, 0.01),
        ([0, 50, 0, 0, 50], 0.51, 1.0),
    ],
)
def test_interpolation(buckets: list[int], share: float, seconds: float) -> None:
    assert percentile(buckets, BOUNDS, share) == pytest.approx(seconds)


@given(st.lists(st.floats(0.0001, 0.9999), min_size=1, max_size=200), st.sampled_from([0.5, 0.75, 0.9, 0.95, 0.99]))
def test_against_the_observations_themselves(values: list[float], share: float) -> None:
    """The exact percentile and the one from the histogram lie in the same bucket."""
    buckets = [0] * (len(BOUNDS) + 1)
    for value in values:
        buckets[bucket_of(value)] += 1
    exact = sorted(values)[max(math.ceil(share * len(values) - 1e-9), 1) - 1]
    found = percentile(buckets, BOUNDS, share)
    index = bucket_of(exact)
    assert (0.0, *BOUNDS)[index] <= found <= BOUNDS[index] * (1 + 1e-9)


def bucket_of(value: float) -> int:
    return next(index for index, bound in enumerate((*BOUNDS, math.inf)) if value <= bound)


def test_only_what_is_recent_counts() -> None:
    delay = HedgeDelay(0.95, BOUNDS)
    assert delay.on_look(0, [0, 0, 0, 10_000, 0]) == 0, "what was before is not recent"
    assert delay.on_look(5, [0, 100, 0, 10_000, 0]) == 10                 # 1 + 0.95 · 9 = 9.55 ms
    assert delay.on_look(10, [0, 200, 0, 10_000, 0]) == 10
    assert delay.on_look(15, [0, 200, 100, 10_000, 0]) == 91              # of 200 answers since 5 s ago: 10 + 0.9 · 90
    assert delay.on_look(20, [0, 200, 200, 10_000, 0]) in {95, 96}        # 10 + 0.95 · 90 = 95.5
    assert delay.on_look(25, [0, 200, 200, 10_000, 0]) in {95, 96}
    assert delay.on_look(30, [0, 200, 200, 10_000, 0]) == 0


def test_too_few_say_nothing() -> None:
    delay = HedgeDelay(0.5, BOUNDS)
    delay.on_look(0, [0, 0, 0, 0, 0])
    assert delay.on_look(1, [0, 0, 99, 0, 0]) == 0
    assert delay.on_look(2, [0, 0, 100, 0, 0]) == 55


def test_never_at_once() -> None:
    delay = HedgeDelay(0.5, BOUNDS)
    delay.on_look(0, [0, 0, 0, 0, 0])
    assert delay.on_look(1, [1000, 0, 0, 0, 0]) == 1
