"""The index of a shard, through the store: it grows by moving a few buckets with each insertion."""

from __future__ import annotations

from collections import Counter

import pytest

from proxyd_ext.cache.store import Cache


def walked(store: Cache, most: int) -> Counter[str]:
    cursor, found = store.export(0, most)
    seen = Counter(each.url for each in found)
    while cursor:
        cursor, found = store.export(cursor, most)
        assert len(found) <= most
        seen.update(each.url for each in found)
    return seen


@pytest.mark.parametrize("most", [1, 7, 256])
@pytest.mark.parametrize("shards", [2, 16])
def test_a_walk_meets_everything_once_however_far_the_index_has_grown(shards: int, most: int) -> None:
    store = Cache(8 << 20, shards=shards)
    keys: set[str] = set()
    for number in range(300):
        assert store.put(f"{number}", b"x", 60_000)
        keys.add(f"aside:{number}")
        if number % 9 == 0 or 126 < number < 136:
            assert walked(store, most) == Counter(keys)


def test_keys_are_found_and_forgotten_while_the_index_grows() -> None:
    store = Cache(16 << 20, shards=2)
    model: dict[str, bytes] = {}
    for number in range(3_000):
        model[f"{number}"] = b"%d" % number
        assert store.put(f"{number}", b"%d" % number, 60_000)
        if number % 3 == 0:
            gone = f"{number * 7 % 1_000}"
            assert store.delete(gone) == (model.pop(gone, None) is not None)
    assert [store.get(f"{number}") for number in range(3_000)] == [model.get(f"{number}") for number in range(3_000)]
    assert store.purge("all") == len(model)
    assert (store.stats()["objects"], store.stats()["bases"], store.stats()["bytes"]) == (0, 0, 0)


def test_the_index_of_tags_grows_and_is_emptied() -> None:
    store = Cache(8 << 20, shards=2)
    for number in range(1_000):
        assert store.put(f"{number}", b"x", 60_000, [f"t{number}", f"t{number // 2}", "all"])
    assert 1_001 <= store.stats()["tags"] <= 2_002, "each is one, or one a shard"
    assert store.purge("tag", "t7") == 3
    assert store.purge("tag", "all") == 997
    assert (store.stats()["tags"], store.stats()["bytes"]) == (0, 0)
