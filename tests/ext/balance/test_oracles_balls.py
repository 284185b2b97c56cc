"""Balls in bins: the fullest of n servers after n picks that do not end, with one random choice and with the better of two.

Azar, Broder, Karlin, Upfal (1994): ln n / ln ln n with one choice, ln ln n / ln 2 + O(1) with two. The expected distributions are those of
performance.md §4.2, and for one choice the theory's own.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise

from proxyd_ext.balance.pool import Pool
from proxyd_ext.snapshot.spec import Balance
from tests.support.virtual import plain_pool


def fullest(pool: Pool, balls: int, draw: random.Random) -> int:
    """Most balls in one bin; the pool is empty again afterwards."""
    picked = [pool.pick(now_ms=1, seed=draw.getrandbits(64) | 1) for _ in range(balls)]
    for member in picked:
        pool.done(member)
    return max(Counter(picked).values())


def trials(balance: Balance, bins: int, count: int) -> Counter[int]:
    draw = random.Random(bins)
    pool = plain_pool(bins, balance)
    return Counter(fullest(pool, bins, draw) for _ in range(count))


def all_below(bins: int, most: int) -> float:
    """Probability that no bin of one random choice has more than `most` balls: bins as independent Poisson variables with mean 1."""
    below = sum(math.exp(-1) / math.factorial(k) for k in range(most + 1))
    return below**bins


def two_choices_below(bins: int, most: int) -> float:
    """The same with two choices: the part of bins with i balls or more follows dx_i/dt = x_(i-1)² - x_i² (Mitzenmacher 2001); the few that
    are tall are Poisson."""
    steps = 20_000
    part = [1.0] + [0.0] * (most + 1)
    for _ in range(steps):
        part[1:] = [now + (low * low - now * now) / steps for low, now in pairwise(part)]
    return math.exp(-bins * part[most + 1])


def near(seen: Counter[int], most: int, expected: float) -> bool:
    """Whether trials with `most` or less are as many as expected, within four standard deviations."""
    count = seen.total()
    got = sum(trials for load, trials in seen.items() if load <= most)
    return abs(got - expected * count) < 4 * math.sqrt(expected * (1 - expected) * count) + 0.02 * count


def test_one_choice_256() -> None:
    """4 to 7 nearly always."""
    seen = trials("random", 256, 1_000)
    assert sum(seen[k] for k in range(4, 8)) > 985
    assert all(near(seen, most, all_below(256, most)) for most in (4, 5, 6)), seen


def test_two_choices_256() -> None:
    """3 in 89 % of the trials, 2 or 4 in the others."""
    seen = trials("p2c", 256, 1_000)
    assert set(seen) <= {2, 3, 4}
    assert 860 < seen[3] < 920
    assert near(seen, 2, two_choices_below(256, 2))


def test_one_choice_65536() -> None:
    """7 to 9 in all of the published trials; theory leaves a little for 6 and 10."""
    seen = trials("random", 1 << 16, 8)
    assert set(seen) <= {6, 7, 8, 9, 10}
    assert seen[7] + seen[8] >= 5


def test_two_choices_65536() -> None:
    """3 or 4. Published: 53 % and 47 % of a few trials; the theory has 67 % and 33 %."""
    seen = trials("p2c", 1 << 16, 12)
    assert two_choices_below(1 << 16, 3) > 0.67
    assert set(seen) == {3, 4}
    assert near(seen, 3, two_choices_below(1 << 16, 3))


def test_two_choices_that_know_nothing_old() -> None:
    """One after the other, each over before the next, two choices are as random as one: there is nothing to compare."""
    picked = plain_pool(256, "p2c").sequence(25_600)
    counts = Counter(picked)
    assert len(counts) == 256
    spread = math.sqrt(sum((counts[i] - 100) ** 2 for i in range(256)) / 256)
    assert 8 < spread < 12            # a binomial draw's is 10
