"""Sums over handles that come and go."""
from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxyd.tally import Past, Row, Tally, add, is_zero, with_past


class Counting:
    """A handle that tells what a test put into it."""

    def __init__(self, n: int = 0, in_flight: int = 0) -> None:
        self.n, self.in_flight = n, in_flight

    def stats(self) -> dict[str, Any]:
        return {"n": self.n, "by": {200: self.n} if self.n else {}, "in_flight": self.in_flight, "word": "closed"}

    def row(self) -> Row:
        return (self.n, 1)


def tally(limit: int = 100) -> Tally[str, Counting]:
    return Tally(("n", "by"), Counting.row, limit=limit)


def counted(found: Tally[str, Counting], key: str) -> int:
    """As all three ways tell it, which must be the same."""
    handle = found.live[key]
    stats, row = found.stats(key, handle), found.row(key, handle)
    assert stats == with_past(handle.stats(), found.past(key))
    assert stats["by"].get(200, 0) == stats["n"] == row[0] == dict(found.rows())[key][0]
    return row[0]


def test_add_goes_into_depth() -> None:
    into: dict[str, Any] = {"n": 1, "by": {200: 2}, "buckets": [1, 0]}
    add(into, {"n": 2, "by": {200: 1, 404: 5}, "buckets": [0, 3], "new": [7]})
    assert into == {"n": 3, "by": {200: 3, 404: 5}, "buckets": [1, 3], "new": [7]}


def test_add_does_not_share_lists() -> None:
    source, into = {"buckets": [1, 2]}, dict[str, Any]()
    add(into, source)
    add(into, source)
    assert source == {"buckets": [1, 2]}
    assert into == {"buckets": [2, 4]}


def test_nothing_is_counted_in_zeros() -> None:
    assert is_zero({"n": 0, "by": {}, "more": {"a": 0}, "buckets": [0, 0], "sum": 0.0})
    assert not any(is_zero(value) for value in ({"more": {"a": 1}}, [0, 2], 0.5))


def test_without_a_past_a_handle_is_read_as_it_is() -> None:
    told = Counting(3).stats()
    assert with_past(told, None) is told


def test_what_left_and_returned_goes_on() -> None:
    found = tally()
    found.live["a"] = Counting(10)
    found.let_go(["a"])
    assert (list(found.rows()), list(found.past_rows(late=False)), found.let_gos) == ([], [("a", (10, 1))], 1)
    found.live["a"] = Counting(2, in_flight=5)
    assert counted(found, "a") == 12
    assert found.stats("a", found.live["a"])["in_flight"] == 5, "no counter, and so not summed"
    assert list(found.past_rows(late=False)) == []


def test_a_handle_that_is_still_held_counts_on() -> None:
    found, held = tally(), Counting(10, in_flight=1)
    found.live["a"] = held
    found.let_go(["a"])
    held.n = 13
    assert list(found.past_rows(late=True)) == [("a", (13, 1))]
    found.live["a"] = Counting(1)
    assert counted(found, "a") == 14
    held.n, held.in_flight = 15, 0
    found.let_go([])
    assert found.past("a") == Past(("n", "by"), {"n": 15, "by": {200: 15}}, (15, 1))
    assert counted(found, "a") == 16


def test_what_a_thread_has_captured_does_not_change() -> None:
    found = tally()
    found.live["a"] = Counting(10)
    found.let_go(["a"])
    past = found.past("a")
    found.live["a"] = again = Counting(2)
    found.let_go(["a"])
    assert with_past(again.stats(), past)["n"] == 12
    assert found.past("a") != past


def test_what_counted_nothing_leaves_nothing() -> None:
    found, idle = tally(), Counting(0, in_flight=1)
    found.live |= {"a": Counting(), "b": idle}
    found.let_go(["a", "b"])
    assert list(found.pasts()) == ["b"]
    idle.in_flight = 0
    found.let_go([])
    assert not found.pasts()


def test_the_one_that_left_first_is_forgotten_first() -> None:
    found = tally(limit=2)
    for key in "abc":
        found.live[key] = Counting(1)
    found.let_go("a")
    found.live["a"] = Counting(1)
    found.let_go("bca")
    assert list(found.pasts()) == ["c", "a"]
    for key in "xyz":
        found.fold(key, Counting(1))
    assert list(found.pasts()) == ["y", "z"]


def test_what_serves_is_not_forgotten() -> None:
    found = tally(limit=1)
    found.live["a"] = Counting(1)
    found.let_go("a")
    found.live |= {"a": Counting(1), "b": Counting(1), "c": Counting(1)}
    found.let_go("bc")
    assert list(found.pasts()) == ["a", "c"]


WHAT = st.sampled_from(("stay", "leave", "leave late", "settle"))
STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), WHAT, st.booleans()))


@given(steps=STEPS)
def test_no_request_is_lost_or_counted_twice(steps: list[tuple[str, int, str, bool]]) -> None:
    found, true, late = tally(), {"a": 0, "b": 0}, dict[str, list[Counting]]()
    for key, count, what, hold in steps:
        handle = found.live.setdefault(key, Counting())
        handle.n += count
        true[key] += count
        for held in late.get(key, []) if hold else []:
            held.n += 1
            true[key] += 1
        if what.startswith("leave"):
            handle.in_flight = int(what == "leave late")
            found.let_go([key])
            late.setdefault(key, []).extend([handle] if handle.in_flight else [])
        elif what == "settle":
            for held in late.pop(key, []):
                held.in_flight = 0
            found.let_go([])
        told = {**{key: row[0] for key, row in found.past_rows(late=False)}, **{key: counted(found, key) for key in found.live}}
        assert {key: told.get(key, 0) for key in true} == true
