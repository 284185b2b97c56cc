"""Round robin and hash, 10,000 picks of the native pool against nginx's algorithms in plain Python.

The same pools are held against a running nginx in tests/acceptance/accept_balancing.py.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.ketama import Ring, points
from tests.reference.smooth import smooth
from tests.support.virtual import addresses, again, members_of, pool_of

PICKS = 10_000


@pytest.mark.parametrize("weights", [(5, 1, 1), (1, 2, 3, 4), (1, 1, 1, 1, 1), (40, 1, 1, 7), (2, 4, 6), (1000, 1, 999), (65535, 1)])
def test_round_robin_is_smooth(weights: tuple[int, ...]) -> None:
    pool = pool_of(members_of(addresses(len(weights)), weights))
    assert pool.sequence(PICKS) == smooth(weights, PICKS)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_round_robin_of_any_weights_is_smooth(weights: list[int]) -> None:
    count = 2 * sum(weights) + 3
    assert pool_of(members_of(addresses(len(weights)), weights)).sequence(count) == smooth(weights, count)


def test_a_sequence_too_long_to_be_built_step_by_step_is_as_even() -> None:
    """Beyond members times entries of 2·10^7 another order is built: its shares are exact, and no server is ever more than two picks off
    its due, where smooth weighted round robin is held to about the same."""
    draw = random.Random(7)
    weights = [draw.randrange(1, 60) for _ in range(1_000)]
    total = sum(weights)
    assert total * len(weights) > 20_000_000
    seen = [0] * len(weights)
    worst = 0.0
    for step, member in enumerate(pool_of(members_of(addresses(len(weights)), weights)).sequence(total), 1):
        seen[member] += 1
        worst = max(worst, abs(seen[member] - weights[member] * step / total))
    assert seen == weights
    assert worst < 2


@pytest.mark.parametrize(
    "weights",
    [(1,), (1, 1, 1), (5, 1, 1), (1, 2, 3, 4), (1,) * 40, tuple(range(1, 21))],
    ids=["one", "three", "5-1-1", "1-2-3-4", "forty", "weighted"],
)
def test_hash_is_ketama(weights: tuple[int, ...]) -> None:
    labels = addresses(len(weights))
    ring = Ring(list(zip(labels, weights, strict=True)))
    keys = [f"/some/path/{i}?q={i * i}".encode() for i in range(PICKS)]
    picked = pool_of(members_of(labels, weights), "hash").sequence(PICKS, [zlib.crc32(key) for key in keys])
    assert [labels[member] for member in picked] == [ring.pick(key) for key in keys]


def test_hash_without_servers_is_ketama_without_them() -> None:
    """Whether a pool was built without them, or they left since."""
    labels = addresses(9)
    members = members_of(labels)
    ring = Ring([(label, 1) for label in labels])
    keys = [f"key-{i}".encode() for i in range(PICKS)]
    crcs = [zlib.crc32(key) for key in keys]
    pool = pool_of(members, "hash")
    for gone in (2, 5):
        members[gone].server.set_down("health", True)
    expected = [ring.pick(key, frozenset([labels[2], labels[5]])) for key in keys]
    assert [labels[member] for member in pool.sequence(PICKS, crcs)] == expected
    assert [labels[member] for member in again(pool).sequence(PICKS, crcs)] == expected


@pytest.mark.parametrize("key", ["edge", "wrap"])
def test_keys_on_and_behind_the_last_point(key: str) -> None:
    """A key whose hash is a point belongs to it; one behind the last point to the first."""
    labels = addresses(3)
    on_ring = sorted((point, label) for label in labels for point in points(label, 1))
    hashes = [point for point, _ in on_ring] if key == "edge" else [on_ring[-1][0] + 1, 0xFFFFFFFF, 0]
    owners = [owner for _, owner in on_ring] if key == "edge" else [on_ring[0][1]] * 3
    picked = pool_of(members_of(labels), "hash").sequence(len(hashes), hashes)
    assert [labels[member] for member in picked] == owners


def test_least_conn_one_after_the_other_is_by_weight() -> None:
    """With nothing in flight all are equal: whoever waits longest for its weight. The shares of every period are exact, as with nginx; the
    order within it is not promised."""
    weights = (5, 1, 1)
    picked = pool_of(members_of(addresses(3), weights), "least_conn").sequence(PICKS - PICKS % 7)
    for period in range(0, len(picked), 7):
        assert Counter(picked[period : period + 7]) == {0: 5, 1: 1, 2: 1}
