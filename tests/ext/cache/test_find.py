"""Finding: who hears of it."""

from __future__ import annotations

from proxyd_ext.cache.store import Cache


def test_the_curve_sees_every_request() -> None:
    store = Cache(4 << 20)
    for number in range(3_000):
        store.put(f"{number % 500}", bytes(1_000), 60_000)
        store.get(f"{number % 500}")
    sizes = [point[0] for point in store.curve()]
    hits = [point[2] for point in store.curve()]
    assert sizes == sorted(sizes)
    assert hits == sorted(hits)
    assert all(found <= asked for _, asked, found in store.curve())
