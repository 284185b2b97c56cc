from __future__ import annotations

import pytest

from proxyd.limits.leases import SharedLimit, ShareSettings, beyond_burst, lasting_us, lease_tokens, local_share
from tests.support.leases import FakeLimit

S = 1_000_000


def rule(requests: int, per_us: int, burst: int) -> SharedLimit:
    return SharedLimit("p", FakeLimit(), requests, per_us, burst)


@pytest.mark.parametrize(
    ("requests", "per_us", "burst", "nodes", "lease", "expected"),
    [
        (10_000, S, 20_000, 2, 0, 500),      # what 100 ms bring to one of two
        (10_000, S, 20_000, 1, 0, 1_000),
        (1_000, S, 9, 2, 0, 5),              # no more than its part of the burst
        (10, 60 * S, 1_000, 3, 0, 64),       # what a client may send at once
        (10, 60 * S, 40, 3, 0, 13),
        (10, S, 0, 3, 0, 1),                 # one at least
        (10_000, S, 20_000, 2, 7, 7),
        (10_000, S, 3, 2, 7, 2),
        (1_000_000, S, 1_000_000, 1, 999_999, 500_000),
    ],
)
def test_a_lease(requests: int, per_us: int, burst: int, nodes: int, lease: int, expected: int) -> None:
    found = lease_tokens(rule(requests, per_us, burst), ShareSettings("redis://a", lease=lease), nodes)
    assert found == expected
    assert beyond_burst(found, nodes) <= max(burst + 1, nodes)


def test_how_long_it_lasts() -> None:
    assert lasting_us(rule(1_000, S, 9), 5, 2) == S, "a second at least"
    assert lasting_us(rule(10, 60 * S, 9), 1, 3) == 180 * S, "ten times the 18 s in which the rate brings three"
    assert lasting_us(rule(1, 86_400 * S, 0), 1, 3) == 86_400 * S, "a day at most"


def test_the_share_of_one() -> None:
    assert local_share(rule(20, S, 40), 3) == (20, 3 * S, 12)
    assert local_share(rule(20, S, 0), 3) == (20, 3 * S, 0)
    assert local_share(rule(20, S, 40), 1) == (20, S, 40)


def test_lowest_terms() -> None:
    assert rule(20, S, 0).lowest == (1, 50_000)
    assert rule(3, S, 0).lowest == (3, S)
