"""Walks over the store, through its Python face."""

from __future__ import annotations

from collections import Counter

import pytest

from proxyd_ext.cache.store import Cache


def walked(store: Cache, most: int) -> Counter[str]:
    """How often each URL was met."""
    found: Counter[str] = Counter()
    cursor, objects = store.export(0, most)
    while True:
        found.update(stored.url for stored in objects)
        if cursor == 0:
            return found
        cursor, objects = store.export(cursor, most)


@pytest.mark.parametrize("most", [1, 7, 256])
def test_a_walk_meets_everything_once_however_far_the_tables_have_grown(most: int) -> None:
    """Buckets are moved a few at a time while a table grows, so that most sizes are met in the midst of it."""
    store, there = Cache(8 << 20, shards=1), set()
    for number in range(700):
        assert store.put(f"k{number}", b"", 60_000)
        there.add(f"aside:k{number}")
        if number % 37 == 0:
            assert walked(store, most) == Counter(there)


def test_a_walk_does_not_meet_what_has_gone() -> None:
    """What was moved to another bucket and freed since stands nowhere."""
    store, there = Cache(8 << 20, shards=1), set()
    for number in range(900):
        assert store.put(f"k{number}", b"x" * 100, 60_000)
        there.add(f"aside:k{number}")
        if number % 3:
            gone = f"k{number - number % 3}"
            assert store.delete(gone) == (number % 3 == 1)
            there.discard(f"aside:{gone}")
        if number % 31 == 0:
            assert walked(store, 16) == Counter(there)
