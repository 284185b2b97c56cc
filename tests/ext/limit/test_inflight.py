"""Requests in flight by key: exact, whatever bucket or chain a key stands in."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.limit.inflight import Inflight, count
from proxyd_ext.limit.probe import InflightChurn

ROOM_OF_ONE = 4 + 32             # the slots of a bucket and the least stock of nodes


def test_as_many_of_a_key_as_may_be() -> None:
    table = Inflight("a")
    assert [table.take(7, 2) for _ in range(3)] == [True, True, False]
    assert table.take(8, 2)
    table.give(7)
    assert (table.count(7), table.count(8), table.count(9)) == (1, 1, 0)
    assert table.take(7, 2)
    assert not table.take(7, 1)          # a bound that has become lower
    assert not table.take(9, 0)
    assert table.stats()["keys"] == 2


def test_a_key_without_a_request_has_no_entry() -> None:
    table = Inflight("a")
    for _ in range(100):
        assert table.take(7, 1)
        table.give(7)
    assert (table.stats()["keys"], table.stats()["in_flight"]) == (0, 0)
    with pytest.raises(KeyError):
        table.give(7)
    with pytest.raises(ValueError, match="0 is no key"):
        table.take(0, 1)


def test_a_full_table_refuses_new_keys_only() -> None:
    table = Inflight("a", capacity=1)
    assert all(table.take(key, 9) for key in range(1, ROOM_OF_ONE + 1))
    assert not table.take(99, 9)
    assert table.take(20, 9)
    assert (table.stats()["table_full"], table.stats()["keys"], table.stats()["in_flight"]) == (1, ROOM_OF_ONE, ROOM_OF_ONE + 1)
    table.give(3)
    assert table.take(99, 9)


def test_there_is_room_for_the_capacity() -> None:
    random = Random(1)
    table = Inflight("a", capacity=10_000)
    keys = {random.getrandbits(64) | 1 << 32 for _ in range(10_000)}
    assert all(table.take(key, 1) for key in keys)
    stats = table.stats()
    assert (stats["keys"], stats["capacity"], stats["table_full"]) == (len(keys), 10_000, 0)
    assert stats["memory_bytes"] <= 10_000 * 64
    for key in keys:
        table.give(key)
    assert table.stats()["keys"] == 0


@pytest.mark.parametrize("capacity", [0, -1, 1 << 40])
def test_capacities_that_cannot_be(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity is 1 to"):
        Inflight("a", capacity=capacity)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=200))
def test_is_a_counter(steps: list[tuple[bool, int]]) -> None:
    """All keys in one bucket: slots and chain change hands."""
    table, model = Inflight("a", capacity=1), Counter[int]()
    for takes, key in steps:
        if takes:
            assert table.take(key, 3) == (model[key] < 3)
            model[key] = min(model[key] + 1, 3)
        elif model[key]:
            table.give(key)
            model[key] -= 1
        model = +model
        assert {key: table.count(key) for key in range(1, 13) if table.count(key)} == model
    assert (table.stats()["keys"], table.stats()["in_flight"]) == (len(model), model.total())


@pytest.mark.parametrize(
    ("capacity", "keys", "most"), [(9, 1, 3), (1, 12, 3), (8, 36, 1), (64, 64, 3)], ids=["a key", "a bucket", "chains", "many"]
)
def test_threads(capacity: int, keys: int, most: int) -> None:
    table = Inflight("a", capacity=capacity)
    churn = InflightChurn(table, range(1, keys + 1), most)
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda seed: churn.run(500_000, seed), range(4)))
    assert churn.overs == 0
    assert sum(each["taken"] for each in done) > 0 < sum(each["refused"] for each in done)
    assert (table.stats()["keys"], table.stats()["in_flight"], table.stats()["table_full"]) == (0, 0, 0)


def test_counts_of_engines_are_added_up() -> None:
    table = Inflight("a")
    for engine, refused, dry in ((0, False, False), (63, False, True), (1, True, False), (1, True, True), (0, True, True)):
        count(table, engine, refused, dry)
    stats = table.stats()
    assert (stats["passed"], stats["refused"], stats["refused_dry_run"]) == (2, 1, 2)
