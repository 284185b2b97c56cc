"""How evenly the ketama ring shares keys out: with V points a server, shares have a standard deviation of 1/√V of the mean."""

from __future__ import annotations

import math
import statistics
from collections import Counter

import pytest

from tests.support.virtual import addresses, again, members_of, pool_of

KEYS = [at * (1 << 32) // 600_000 for at in range(600_000)]     # every 7,158th hash: counts are lengths of arcs, four keys or more to one
POINTS = 160


def shares(weights: list[int]) -> list[float]:
    """Each server's part of the ring, against its weight's."""
    counts = Counter(pool_of(members_of(addresses(len(weights)), weights), "hash").sequence(len(KEYS), KEYS))
    return [counts[i] * sum(weights) / weight / len(KEYS) for i, weight in enumerate(weights)]


@pytest.mark.parametrize("weight", [1, 2, 6])
def test_deviation_is_one_over_the_root_of_the_points(weight: int) -> None:
    """150 servers: the sample's own deviation is 6 %."""
    deviation = statistics.pstdev(shares([weight] * 150))
    assert deviation == pytest.approx(1 / math.sqrt(weight * POINTS), rel=0.15)


@pytest.mark.parametrize(("weight", "points", "published"), [(1, 160, 1.22), (6, 960, 1.07)])
def test_the_largest_share_of_a_hundred(weight: int, points: int, published: float) -> None:
    """Largest share to the mean as in performance.md §4.2 (there 1,000 points for the second): about 2.7 deviations above 1."""
    assert weight * POINTS == points
    assert max(shares([weight] * 100)) - 1 == pytest.approx(published - 1, rel=0.35)


def test_weights_are_points() -> None:
    """Shares against the weight's part: the deviation of each is that of its own number of points."""
    part = shares([1, 4, 16] * 30)
    for kind, weight in enumerate((1, 4, 16)):
        assert statistics.fmean(part[kind::3]) == pytest.approx(1, abs=3 / math.sqrt(30 * weight * POINTS))
        assert statistics.pstdev(part[kind::3]) == pytest.approx(1 / math.sqrt(weight * POINTS), rel=0.4)


def test_a_server_that_leaves_moves_only_its_own_keys() -> None:
    members = members_of(addresses(50))
    pool = pool_of(members, "hash")
    before = pool.sequence(len(KEYS), KEYS)
    members[17].server.set_down("health", True)
    after = again(pool).sequence(len(KEYS), KEYS)
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert {a for a, _ in moved} == {17}
    assert len(moved) == before.count(17)
    heirs = Counter(b for _, b in moved)
    assert len(heirs) > 35            # 160 points, 49 heirs: hardly one gets nothing, and none gets much
    assert max(heirs.values()) < 0.12 * len(moved)
