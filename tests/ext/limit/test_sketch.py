"""The busiest keys (ext/proxyd_ext/limit/sketch.pyx)."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from proxyd_ext.limit.rate import RateLimit, note
from tests.reference.zipf import exact

SAMPLE = 32
SIZE = 128
AGE = 131_072


def limit() -> RateLimit:
    return RateLimit("x", requests=1, per_us=1, burst=0, capacity=1)


def test_heavy_hitters_of_zipfs_law() -> None:
    """Whoever has more than a 128th is there; no count is too low, and none too high by more than a 128th."""
    busy, real = limit(), Counter[str]()
    for rank in islice(exact(5000, 1.0, 7), 30_000):
        real[f"key {rank}"] += 1
        note(busy, rank + 1, f"key {rank}".encode(), rank % 2 == 0)
    found = busy.top(SIZE)
    counts = {text: requests for text, requests, _ in found}
    assert len(found) == SIZE
    assert [requests for _, requests, _ in found] == sorted(counts.values(), reverse=True)
    assert all(key in counts for key, count in real.items() if count > 30_000 / SIZE)
    assert all(real[key] <= requests // SAMPLE <= real[key] + 30_000 / SIZE for key, requests in counts.items())
    expected = [(f"key {rank}", real[f"key {rank}"] * SAMPLE) for rank in range(5)]
    assert busy.top(5) == [(text, count, count * (rank % 2 == 0)) for rank, (text, count) in enumerate(expected)]
    assert len(busy.top()) == 100


def test_text_is_cut_and_read_whatever_it_is() -> None:
    busy = limit()
    note(busy, 1, b"x" * 100, False)
    note(busy, 2, b"\xff\xfe", False)
    note(busy, 2, b"", True)
    assert busy.top() == [("\ufffd\ufffd", 2 * SAMPLE, SAMPLE), ("x" * 64, SAMPLE, 0)]


def test_the_past_fades() -> None:
    busy = limit()
    for _ in range(AGE - 1):
        note(busy, 1, b"old", True)
    assert busy.top() == [("old", (AGE - 1) * SAMPLE, (AGE - 1) * SAMPLE)]
    note(busy, 2, b"new", False)
    assert busy.top() == [("old", (AGE - 1) // 2 * SAMPLE, (AGE - 1) // 2 * SAMPLE), ("new", 0, 0)]
