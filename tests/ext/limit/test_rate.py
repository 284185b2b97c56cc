"""What Python sees of a rate limit (ext/proxyd_ext/limit/rate.pyx); its arithmetic is in test_gcra, test_leaky and test_lease."""

from __future__ import annotations

from typing import Any

import pytest

from proxyd_ext.limit.rate import RateLimit, count_decision, note, now_us

SECOND = 1_000_000


def limit_of(**changes: Any) -> RateLimit:
    return RateLimit("per-ip", **{"requests": 10, "per_us": SECOND, "burst": 2, "capacity": 10, **changes})


def test_stats() -> None:
    limit = limit_of()
    limit.try_take(1, now_us())
    for engine, decision in [(0, "passed"), (1, "passed"), (63, "refused"), (0, "delayed"), (2, "delayed_dry_run"), (2, "refused_dry_run")]:
        count_decision(limit, engine, decision)
    assert limit.name == "per-ip"
    assert limit.stats() == {
        "keys": 1, "capacity": 10, "memory_bytes": limit.stats()["memory_bytes"], "evictions": 0, "passed": 2, "delayed": 1, "refused": 1,
        "delayed_dry_run": 1, "refused_dry_run": 1, "lease_wants_lost": 0, "on_local_share": 0,
    }


def test_reset_of_a_key_and_of_all() -> None:
    limit = limit_of(burst=0)
    for key in (1, 2, 2**64 - 1):
        assert limit.try_take(key, 0)[0] == "passed"
        note(limit, key, f"key {key}".encode(), False)
    assert (limit.reset(2), limit.reset(2)) == (1, 0)
    assert [text for text, _, _ in limit.top()] == ["key 1", "key 18446744073709551615"]
    assert (limit.try_take(2, 0)[0], limit.try_take(1, 0)[0]) == ("passed", "refused")
    assert (limit.reset(), limit.top(), limit.peek(1, 0)) == (3, [], None)
    assert limit.try_take(1, 0)[0] == "passed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests": 0}, "a limit has requests"),
        ({"per_us": 0}, "a limit has requests"),
        ({"burst": -1}, "a limit has requests"),
        ({"capacity": 0}, "a limit has requests"),
        ({"algorithm": "guess"}, "there is no algorithm 'guess'"),
        ({"requests": 10**10, "per_us": 1}, "cannot be counted"),
        ({"requests": 1, "per_us": 86_400 * SECOND, "burst": 10**7}, "cannot be counted"),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        limit_of(**changes)


@pytest.mark.parametrize("hash", [0, -1, 2**64])
def test_hashes(hash: int) -> None:
    with pytest.raises(ValueError, match="a hash has 64 bits"):
        limit_of().try_take(hash, 0)


def test_a_limit_that_is_not_leased() -> None:
    limit = limit_of()
    assert limit.fileno() == -1
    calls = limit.take_wants, lambda: limit.grant(1, 1, 0, 0, 0), lambda: limit.set_lease(1), lambda: limit.set_local_share(True, 1, 1)
    for call in calls:
        with pytest.raises(ValueError, match="per-ip is not leased"):
            call()
