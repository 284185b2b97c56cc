"""The table of keys (ext/proxyd_ext/limit/table.pyx), through the limits that are kept in it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from proxyd_ext.limit.rate import RateLimit, hammer, late_swap, take
from tests.reference.zipf import mix64, splitmix64

SECOND = 1_000_000
PLACES = 256      # of the smallest table


def small(burst: int = 1, capacity: int = 1) -> RateLimit:
    """One request a second, by default two at once, and 256 places."""
    return RateLimit("x", requests=1, per_us=SECOND, burst=burst, capacity=capacity)


def in_threads(*works: Callable[[], int]) -> list[int]:
    """What they return; they begin together."""
    begin = Barrier(len(works))

    def run(work: Callable[[], int]) -> int:
        begin.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@pytest.mark.parametrize("burst", [0, 99, 54_321])
def test_exactly_so_many_pass_on_four_threads(burst: int) -> None:
    limit = small(burst=burst)
    assert sum(in_threads(*[lambda: hammer(limit, 1, 1, 200_000, 0)] * 4)) == burst + 1


def test_exactly_so_many_pass_of_each_of_many_keys() -> None:
    """The keys come for the first time on all threads at once."""
    limit = small(burst=9, capacity=2000)
    assert sum(in_threads(*[lambda: hammer(limit, 1, 1000, 20_000, 0)] * 4)) == 1000 * 10


def test_what_is_given_back_on_four_threads_passes_once_more() -> None:
    """All at one time, so that what is given back is whole."""
    limit = small(burst=199_999)
    kept = sum(in_threads(*[lambda: hammer(limit, 1, 1, 50_000, 0, 3)] * 4))
    left = limit.peek(mix64(1), 0)
    assert left is not None
    assert kept + left["remaining"] == 200_000
    assert kept == 4 * (50_000 - 50_000 // 3)


def test_keys_that_change_hands_all_the_time_do_not_touch_those_that_stay() -> None:
    """Two threads spend the limits of 64 keys, while two others push thousands of keys of an earlier time through the same places: those
    have less left, so that they push out each other."""
    limit = small(burst=99)
    passed = in_threads(
        *[lambda: hammer(limit, 1, 64, 60_000, 10 * SECOND)] * 2,
        *[lambda: hammer(limit, 10_000, 5_000, 60_000, -1000 * SECOND)] * 2,
    )
    assert sum(passed[:2]) == 64 * 100
    assert limit.stats(-1000 * SECOND)["evictions"] > 10_000


def test_a_million_keys_in_32_mebibytes() -> None:
    limit = RateLimit("x", requests=1, per_us=SECOND, burst=10)
    page = resource.getpagesize()
    before = int(Path("/proc/self/statm").read_text().split()[1]) * page
    assert hammer(limit, 1, 1_000_000, 1_000_000, 0) == 1_000_000
    grown = int(Path("/proc/self/statm").read_text().split()[1]) * page - before
    stats = limit.stats(0)
    assert stats["keys"] + stats["evictions"] == 1_000_000
    assert stats["evictions"] <= 20
    assert stats["memory_bytes"] <= 32 << 20
    assert grown <= 32 << 20


def test_memory_is_taken_as_it_is_touched() -> None:
    before = int(Path("/proc/self/statm").read_text().split()[1])
    limits = [RateLimit("x", requests=1, per_us=SECOND, burst=10) for _ in range(20)]
    assert all(limit.stats()["keys"] == 0 for limit in limits)
    grown = (int(Path("/proc/self/statm").read_text().split()[1]) - before) * resource.getpagesize()
    assert grown < 20 << 20 < sum(limit.stats()["memory_bytes"] for limit in limits) // 10


def test_what_has_drained_makes_room_and_is_no_eviction() -> None:
    limit = small()
    keys = splitmix64(1)
    for turn in range(20):
        for _ in range(100):
            assert limit.try_take(next(keys), turn * 2 * SECOND)[0] == "passed"
    assert limit.stats(38 * SECOND)["evictions"] == 0
    assert limit.stats(38 * SECOND)["keys"] == 100


def test_the_nearest_to_drained_is_given_up() -> None:
    """Half of the keys are in deep, the others have taken once; the table is flooded by others that have taken once."""
    limit = small(burst=9)
    keys = splitmix64(1)
    deep, shallow = [next(keys) for _ in range(40)], [next(keys) for _ in range(40)]
    for key in deep:
        for _ in range(10):
            assert limit.try_take(key, 1000)[0] == "passed"
    for key in shallow:
        limit.try_take(key, 1000)
    for _ in range(2000):
        limit.try_take(next(keys), 2000)
    assert all(limit.peek(key, 2000) == {"remaining": 0, "retry_us": 999_000, "reset_us": 9_999_000} for key in deep)
    assert all(limit.peek(key, 2000) is None for key in shallow)
    stats = limit.stats(2000)
    assert (stats["keys"], stats["evictions"]) == (PLACES, 2080 - PLACES)


def test_counting_removes_what_has_been_drained_for_a_minute() -> None:
    limit = small()
    limit.try_take(1, 0)
    assert limit.stats(SECOND)["keys"] == 0
    taken = take(limit, 2, 0)[2]
    assert limit.stats(61 * SECOND + 1)["keys"] == 0
    taken.give_back(0)
    assert limit.reset() == 0
    limit.try_take(3, 0)
    assert (limit.stats(60 * SECOND)["keys"], limit.reset()) == (0, 1)


# ---- places that change hands ----

def evict(limit: RateLimit, key: int) -> int:
    """Fill the table with keys that have more left, until the place of `key` has another one: that one."""
    for other in splitmix64(99):
        limit.try_take(other, SECOND)
        if limit.peek(key, 0) is None:
            return other
    raise AssertionError("splitmix64 does not end")


def test_a_late_swap_charges_nobody_else() -> None:
    limit = small()
    limit.try_take(5, 0)
    assert late_swap(limit, 5, 0, lambda: None)
    limit.reset()
    limit.try_take(5, 0)
    found: list[int] = []
    assert not late_swap(limit, 5, 0, lambda: found.append(evict(limit, 5)))
    assert limit.peek(found[0], SECOND) == {"remaining": 1, "retry_us": 0, "reset_us": SECOND}


def test_a_late_swap_fails_when_the_key_itself_left_and_came_back() -> None:
    """With the very word that it had, but for the version."""
    limit = small(burst=5)
    limit.try_take(8, 0)

    def again() -> None:
        assert limit.reset(8) == 1
        limit.try_take(8, 0)

    assert not late_swap(limit, 8, 0, again)
    assert limit.peek(8, 0) == {"remaining": 5, "retry_us": 0, "reset_us": SECOND}


def test_a_late_swap_fails_when_another_request_came_between() -> None:
    limit = small(burst=5)
    limit.try_take(8, 0)
    assert not late_swap(limit, 8, 0, lambda: limit.try_take(8, 0))
    assert limit.peek(8, 0) == {"remaining": 4, "retry_us": 0, "reset_us": 2 * SECOND}


def test_nothing_is_given_back_to_whoever_has_the_place_now() -> None:
    limit = small()
    taken = take(limit, 1, 0)[2]
    other = evict(limit, 1)
    taken.give_back(SECOND)
    assert limit.peek(other, SECOND) == {"remaining": 1, "retry_us": 0, "reset_us": SECOND}


def test_nothing_is_given_back_to_a_key_that_began_anew() -> None:
    limit = small()
    taken = take(limit, 1, 0)[2]
    limit.reset(1)
    limit.try_take(1, 0)
    taken.give_back(0)
    assert limit.peek(1, 0) == {"remaining": 1, "retry_us": 0, "reset_us": SECOND}


def test_reset_on_one_thread_while_others_take() -> None:
    limit = small(burst=10**6)

    def forget() -> int:
        return sum(limit.reset(mix64(1 + i % 50)) for i in range(20_000))

    passed = in_threads(*[lambda: hammer(limit, 1, 50, 100_000, 0)] * 3, forget)
    assert passed[:3] == [100_000] * 3
    keys = limit.stats(0)["keys"]
    assert keys <= 50
    assert (limit.reset(), limit.stats(0)["keys"]) == (keys, 0)
