"""The store: who goes when there is no room, and what stays within its bounds."""

from __future__ import annotations

import random

from proxyd_ext.cache.store import Cache
from tests.support.blobs import page_blob


def test_what_is_asked_for_stays() -> None:
    store = Cache(8 << 20)
    for number in range(20):
        assert store.put(f"kept {number}", bytes(30_000), 600_000)
    for number in range(1_000):
        assert store.put(f"{number}", bytes(30_000), 600_000)
        for kept in range(20):
            store.get(f"kept {kept}")
    assert sum(store.get(f"kept {kept}") is not None for kept in range(20)) >= 19
    assert store.stats()["evictions_capacity"] + store.stats()["evictions_reclaimed"] > 700


def test_the_size_holds_everything_whatever_is_stored() -> None:
    draw = random.Random(3)
    store = Cache(4 << 20)
    for number in range(4_000):
        size = draw.choice([0, 100, 500, 3_000, 20_000, 33_000, 70_000, 400_000] if number % 50 == 0 else [0, 100, 500, 3_000])
        assert store.put(f"{draw.randrange(3_000)}", bytes(size), 60_000, [f"{draw.randrange(50)}"]), number
        stats = store.stats()
        # What stands outside of the arena grows by a few KiB before it is counted in.
        assert stats["bytes"] <= stats["held_bytes"] <= stats["limit_bytes"] + 65_536
    assert store.stats()["refused_no_room"] == 0
    store.purge("all")
    assert (store.stats()["bytes"], store.stats()["bases"]) == (0, 0)


def test_small_ones_make_way_for_a_large_one() -> None:
    """Their memory is spread over many pages: some have to be emptied."""
    store = Cache(4 << 20)
    number = 0
    while store.stats()["evictions_capacity"] < 100:
        assert store.put(f"{number}", bytes(300), 60_000)
        number += 1
    for size in (500_000, 200_000, 70_000, 40_000):
        assert store.put(f"of {size}", bytes(size), 60_000)
        assert store.get(f"of {size}") == bytes(size)
    assert store.load(page_blob("http://test/", b"page", vary="accept-language", variant=b"de"))
    assert store.stats()["refused_no_room"] == 0


def test_what_somebody_holds_is_no_room() -> None:
    store = Cache(4 << 20)
    held = []
    number = 0
    while store.put(f"{number}", bytes(300_000), 60_000):
        held += store.export(0, 256)[1]
        number += 1
    assert 5 < number < 14
    assert all(found.body == bytes(300_000) for found in held if found.state == "complete")
    held.clear()
    assert store.put("a", bytes(300_000), 60_000)
