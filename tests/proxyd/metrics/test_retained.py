from __future__ import annotations

import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.metrics.retained import Ratchet, Retained, add, amount


class Counting:
    """A handle that tells what a test put into it."""

    def __init__(self, **stats: Any) -> None:
        self.values = stats

    def stats(self) -> dict[str, Any]:
        return self.values


def test_add_goes_into_depth() -> None:
    into: dict[str, Any] = {"n": 1, "by": {200: 2}, "buckets": [1, 0]}
    add(into, {"n": 2, "by": {200: 1, 404: 5}, "buckets": [0, 3], "new": [7]})
    assert into == {"n": 3, "by": {200: 3, 404: 5}, "buckets": [1, 3], "new": [7]}
    assert amount(into) == 3 + 8 + 4 + 7


def test_add_does_not_share_lists() -> None:
    source, into = {"buckets": [1, 2]}, dict[str, Any]()
    add(into, source)
    add(into, source)
    assert source == {"buckets": [1, 2]}
    assert into == {"buckets": [2, 4]}


def test_only_counters_are_kept() -> None:
    assert Retained[str](frozenset({"n"})).totals([("a", Counting(n=3, open=9))]) == {"a": {"n": 3}}


def test_what_left_stays_in_the_sum_of_its_group() -> None:
    retained = Retained[str](frozenset({"n"}))
    first, second = Counting(n=10), Counting(n=5)
    assert retained.totals([("web", first), ("web", second)]) == {"web": {"n": 15}}
    second.values = {"n": 6}
    assert retained.totals([("web", second)]) == {"web": {"n": 16}}


def test_a_group_that_left_is_not_shown_and_goes_on_when_it_returns() -> None:
    retained = Retained[str](frozenset({"n"}))
    old, new = Counting(n=10), Counting(n=2)
    retained.totals([("web", old)])
    assert retained.totals([]) == {}
    assert retained.totals([("web", new)]) == {"web": {"n": 12}}


def test_a_handle_that_comes_back_counts_once() -> None:
    retained = Retained[str](frozenset({"n"}))
    handle, other = Counting(n=10), Counting(n=1)
    retained.totals([("web", handle)])
    retained.totals([("web", other)])
    handle.values = {"n": 12}
    assert retained.totals([("web", handle), ("web", other)]) == {"web": {"n": 13}}


def test_another_object_at_the_same_address_is_told_apart() -> None:
    retained = Retained[str](frozenset({"n"}), keep=False)
    handle = Counting(n=10)
    retained.totals([("web", handle)])
    handle.values = {"n": 3}                         # as a new object would have it
    assert retained.totals([("web", handle)]) == {"web": {"n": 13}}
    retained.totals([])
    handle.values = {"n": 1}
    assert retained.totals([("web", handle)]) == {"web": {"n": 14}}


def test_memory_is_bounded() -> None:
    retained = Retained[int](frozenset({"n"}), groups_limit=3)
    kept = [Counting(n=1) for _ in range(10)]
    for number, handle in enumerate(kept):
        retained.totals([(number, handle)])
    assert retained.totals([(9, kept[9])]) == {9: {"n": 1}}
    assert retained.totals([(8, Counting(n=1))])[8]["n"] == 2, "one of the last three is remembered"
    assert retained.totals([(0, Counting(n=1))])[0]["n"] == 1, "the first is forgotten"


def test_a_handle_that_left_still_counts_its_last_exchanges() -> None:
    retained = Retained[str](frozenset({"n"}))
    old, new = Counting(n=10), Counting(n=1)
    retained.totals([("web", old)])
    retained.totals([("web", new)])
    old.values = {"n": 11}
    assert retained.totals([("web", new)]) == {"web": {"n": 12}}


def test_handles_are_kept_only_where_they_may_be() -> None:
    for keep in (True, False):
        retained, handle = Retained[str](frozenset({"n"}), keep=keep), Counting(n=1)
        gone = weakref.ref(handle)
        retained.totals([("web", handle)])
        retained.totals([])
        del handle
        assert (gone() is not None) is keep


def test_a_group_keeps_few_handles_and_all_counts() -> None:
    retained, alive = Retained[str](frozenset({"n"})), list[weakref.ref[Counting]]()
    for _ in range(10):
        handle = Counting(n=1)
        alive.append(weakref.ref(handle))
        last = retained.totals([("web", handle)])
        del handle
    assert last == {"web": {"n": 10}}
    assert sum(reference() is not None for reference in alive) == 3


CONFIGS = st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4)), max_size=6), max_size=12)


@pytest.mark.parametrize(("keep", "handles_a_group"), [(True, 2), (False, 5)])
@given(configs=CONFIGS)
def test_no_sum_ever_falls_while_handles_come_and_go(keep: bool, handles_a_group: int, configs: list[list[tuple[str, int]]]) -> None:
    """Each step is a config: which handles serve in which group. A handle counts on while it serves."""
    retained, last = Retained[str](frozenset({"n"}), keep=keep), dict[str, int]()
    handles = {(group, number): Counting(n=0) for group in "ab" for number in range(handles_a_group)}
    for config in configs:
        serving = {(group, number % handles_a_group): handles[group, number % handles_a_group] for group, number in config}
        for handle in serving.values():
            handle.values = {"n": handle.values["n"] + 1}
        for group, total in retained.totals((key[0], handle) for key, handle in serving.items()).items():
            assert total["n"] >= last.get(group, 0)
            last[group] = total["n"]
            assert total["n"] == sum(handle.values["n"] for key, handle in handles.items() if key[0] == group)


def test_ratchet_adds_what_was_reached() -> None:
    ratchet = Ratchet()
    assert [ratchet.total("k", value) for value in (1, 5, 2, 3, 0)] == [1, 5, 7, 8, 8]
    assert ratchet.total("other", 1) == 1


def test_a_ratchet_knows_another_owner_that_has_overtaken_the_last() -> None:
    ratchet = Ratchet()
    assert [ratchet.total("k", *told) for told in ((1, 7), (5, 7), (6, 8), (8, 8), (2, 8))] == [1, 5, 11, 13, 15]
