"""The live miss-ratio curve, held against simulations of whole caches."""
from __future__ import annotations

import threading
from array import array

import pytest

from proxyd_ext.cache.replay import Replay, Zipf

ITEMS = 500_000
CAPACITY = 5_000


def ratios(replay: Replay) -> list[float]:
    """In per cent, for a quarter to four times the size."""
    return [100 * hits / requests for _, requests, hits in replay.points()]


def whole(capacity: int, zipf: Zipf, before: int, count: int, sizes: list[int] | None = None) -> float:
    replay = Replay(ITEMS, capacity, sizes=sizes)
    replay.draw(zipf, before)
    replay.forget()
    replay.draw(zipf, count)
    return 100 * replay.hits / count


def estimate(capacity: int, zipf: Zipf, before: int, count: int) -> Replay:
    replay = Replay(ITEMS, capacity, curve=True)
    replay.draw(zipf, before)
    replay.resize(capacity)           # so that it counts from here
    assert [requests for _, requests, _ in replay.points()] == [0] * 5
    replay.draw(zipf, count)
    return replay


def test_half_the_size_the_size_and_twice_the_size() -> None:
    found = ratios(estimate(CAPACITY, Zipf(ITEMS, 0.99), 200_000, 400_000))
    for i, capacity in ((1, CAPACITY // 2), (2, CAPACITY), (3, CAPACITY * 2)):
        assert found[i] == pytest.approx(whole(capacity, Zipf(ITEMS, 0.99), 200_000, 400_000), abs=1.5), capacity
    assert found == sorted(found)


def test_its_memory_is_fixed_and_the_rate_gives_way() -> None:
    zipf = Zipf(ITEMS, 0.8)
    replay = estimate(100_000, zipf, 500_000, 200_000)
    rate, live = replay.sampled
    assert rate < 1 / 8
    assert 16_384 * 0.7 < live <= 16_384
    assert ratios(replay)[2] == pytest.approx(whole(100_000, Zipf(ITEMS, 0.8), 500_000, 200_000), abs=1.5)
    replay.resize(1_000)              # a smaller cache may be looked at more closely
    assert replay.sampled[0] == 1 / 8
    assert 400 < replay.sampled[1] < 1_000


def test_what_was_not_asked_for_again_hits_nowhere() -> None:
    replay = Replay(ITEMS, 1_000, curve=True)
    replay.show(array("I", range(100_000)))
    points = replay.points()
    assert [size for size, _, _ in points] == [250, 500, 1_000, 2_000, 4_000]
    assert all(requests == 12_500 for _, requests, _ in points)
    assert all(hits < 250 for _, _, hits in points)      # the sample has some more or some less than an eighth


def test_a_loop_fits_or_does_not() -> None:
    replay = Replay(ITEMS, 8_000, curve=True)
    replay.show(array("I", list(range(12_000)) * 10))
    found = ratios(replay)
    assert found[1] < 55             # a cache of 4,000
    assert found[3:] == pytest.approx([90, 90], abs=1)


def test_sizes_count() -> None:
    """Twice the bytes for every object is half the room."""
    light, heavy = (Replay(20_000, 200_000, sizes=[size] * 20_000, curve=True) for size in (100, 200))
    for replay in (light, heavy):
        replay.draw(Zipf(20_000, 0.9), 200_000)
    assert ratios(heavy)[1:] == pytest.approx(ratios(light)[:4], abs=0.01)


def test_it_follows_the_present() -> None:
    replay = Replay(ITEMS, 8_000, curve=True)
    once, again = array("I", range(400_000)), array("I", list(range(400_000, 401_000)) * 500)
    for _ in range(4):
        replay.note(once)
    assert ratios(replay)[0] < 3
    for _ in range(4):
        replay.note(again)
        replay.points()
    replay.note(again)
    assert 88 < ratios(replay)[0] < 97      # 2.5 M requests that hit, behind 1.6 M that did not, halved four times


def test_another_size_moves_the_points_and_begins_anew() -> None:
    replay = Replay(ITEMS, 8_000, curve=True)
    zipf = Zipf(ITEMS, 0.9)
    replay.draw(zipf, 100_000)
    replay.resize(1_000)
    assert replay.points() == [(250, 0, 0), (500, 0, 0), (1_000, 0, 0), (2_000, 0, 0), (4_000, 0, 0)]
    assert replay.sampled[1] <= 8_000 / 8
    replay.draw(zipf, 400_000)
    assert ratios(replay)[2] == pytest.approx(whole(1_000, Zipf(ITEMS, 0.9), 100_000, 400_000), abs=1.5)


def test_several_threads_at_a_time() -> None:
    """Who finds the lock taken goes on after a while, and what was missed by that is no hit."""
    zipf = Zipf(ITEMS, 0.9)
    replay, alone = (Replay(ITEMS, CAPACITY, curve=True) for _ in range(2))
    warm, items = zipf.take(500_000), zipf.take(1_000_000)
    for each in (replay, alone):
        each.note(warm)
        each.resize(CAPACITY)
        each.points()
    threads = [threading.Thread(target=replay.note, args=(items[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone.note(items)
    assert replay.points()[0][1] <= alone.points()[0][1] == 125_000
    assert ratios(replay)[1:4] == pytest.approx(ratios(alone)[1:4], abs=2)
