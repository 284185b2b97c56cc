"""Sums over handles that come and go."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxyd.stats.figures import NOTHING, Figures
from proxyd.stats.sums import GONE_LIMIT, Sums


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def figures(self) -> Figures:
        return (self.count, *NOTHING[1:])


def sums() -> Sums[str, Counter]:
    return Sums(Counter.figures)


def firsts(rows: dict[str, Figures]) -> dict[str, int]:
    return {key: row[0] for key, row in rows.items()}


def test_only_what_counted_is_told() -> None:
    found, a, b = sums(), Counter(), Counter()
    found.serve([("a", a), ("b", b)])
    a.count = 3
    assert firsts(found.gained()) == {"a": 3}
    assert found.gained() == {}
    a.count, b.count = 4, 1
    assert firsts(found.gained()) == {"a": 1, "b": 1}
    assert firsts(found.totals()) == {"a": 4, "b": 1}


def test_what_a_handle_counted_before_it_was_seen_counts() -> None:
    found, a = sums(), Counter()
    a.count = 7
    found.serve([("a", a)])
    assert firsts(found.gained()) == {"a": 7}


def test_a_handle_that_left_counts_its_last_requests() -> None:
    found, old, new = sums(), Counter(), Counter()
    found.serve([("a", old)])
    old.count = 5
    found.gained()
    found.serve([("a", new)])
    old.count, new.count = 6, 2
    assert firsts(found.gained()) == {"a": 3}
    assert firsts(found.totals()) == {"a": 8}


def test_a_part_that_left_is_told_no_total_but_keeps_it() -> None:
    found, old = sums(), Counter()
    found.serve([("a", old)])
    old.count = 5
    found.gained()
    found.serve([])
    assert found.totals() == {}
    found.serve([("a", old)])
    assert (found.gained(), firsts(found.totals())) == ({}, {"a": 5})


def test_two_handles_of_one_part() -> None:
    found, one, two = sums(), Counter(), Counter()
    found.serve([("a", one), ("a", two)])
    one.count, two.count = 1, 2
    assert firsts(found.gained()) == {"a": 3}
    found.serve([("a", two)])
    assert firsts(found.totals()) == {"a": 3}


def test_parts_that_left_are_bounded() -> None:
    found = sums()
    for number in range(GONE_LIMIT + 10):
        found.serve([(f"part {number}", Counter())])
    found.serve([])
    assert len(found._past) == GONE_LIMIT
    assert len(found._last) == GONE_LIMIT


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans())))
def test_totals_are_the_sum_of_what_was_gained(steps: list[tuple[str, int, bool]]) -> None:
    found, handles, gained = sums(), {"a": Counter(), "b": Counter()}, {"a": 0, "b": 0}
    for key, count, replace in steps:
        handles[key].count += count
        if replace:
            handles[key] = Counter()
        found.serve(handles.items())
        for part, gain in firsts(found.gained()).items():
            assert gain > 0
            gained[part] += gain
    found.serve(handles.items())
    for part, gain in firsts(found.gained()).items():
        gained[part] += gain
    assert firsts(found.totals()) == gained
