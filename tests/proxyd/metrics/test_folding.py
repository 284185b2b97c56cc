from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.metrics.families import Family, Histograms, Labels, Numbers, counter, gauge, histogram
from proxyd.metrics.folding import GONE_LIMIT, OTHER, Fold, lines_of
from proxyd.metrics.text import BOUNDS, HISTOGRAM_LINES


def requests(**routes: float) -> Numbers:
    """A counter by route and code; `a=1`: one of route `a` with 200."""
    family = counter("requests_total", "R.", ("route", "code"))
    for route, value in routes.items():
        family.add((route, "200"), value)
    return family


def fold(families: list[Family], limit: int, state: Fold | None = None) -> Fold:
    state = state or Fold()
    state.apply(families, limit)
    return state


def test_what_fits_is_left_alone() -> None:
    family = requests(a=1, b=2)
    assert fold([family], 2).folded == 0
    assert family.series == {("a", "200"): 1, ("b", "200"): 2}


def test_the_least_used_are_folded_and_words_stay() -> None:
    family = requests(a=1, b=20, c=3, d=20)
    family.add(("a", "503"), 2)
    state = fold([family], 4)
    assert family.series == {("b", "200"): 20, ("d", "200"): 20, (OTHER, "200"): 4, (OTHER, "503"): 2}
    assert state.folded == 1


def test_equals_are_chosen_by_their_labels() -> None:
    for order in ("abcd", "dcba"):
        family = requests(**dict.fromkeys(order, 5))
        fold([family], 3)
        assert family.series == {("a", "200"): 5, ("b", "200"): 5, (OTHER, "200"): 10}


def test_what_was_shown_stays_and_what_was_folded_stays_folded() -> None:
    state = fold([requests(a=1, b=2)], 3)
    family = requests(a=1, b=2, c=50, d=60)
    fold([family], 3, state)
    assert family.series == {("a", "200"): 1, ("b", "200"): 2, (OTHER, "200"): 110}
    family = requests(b=2, c=51, d=61)
    fold([family], 3, state)
    assert family.series == {("b", "200"): 2, (OTHER, "200"): 112}, "there is room, but the sum must not fall"


def test_what_left_stays_in_the_sum() -> None:
    state = fold([requests(a=10, b=9, c=8, d=7)], 3)
    family = requests(a=10)
    fold([family], 3, state)
    assert family.series == {("a", "200"): 10, (OTHER, "200"): 8 + 7}


def test_histograms_cost_what_their_lines_cost() -> None:
    def seconds(*counts: int) -> Histograms:
        family = histogram("seconds", "S.", ("route",))
        for index, count in enumerate(counts):
            family.add((f"r{index}",), {"buckets": [count, *([0] * (len(BOUNDS) - 1))], "count": count, "sum": count / 2})
        return family

    family = seconds(4, 9, 2)
    fold([family], 2 * HISTOGRAM_LINES)
    assert {labels: (value["count"], value["sum"], value["buckets"][0]) for labels, value in family.series.items()} == {
        ("r1",): (9, 4.5, 9), (OTHER,): (6, 3.0, 6)}


def test_gauges_have_half_of_the_room_and_no_past() -> None:
    def up(*names: str) -> Numbers:
        family = gauge("up", "U.", ("server",))
        for name in names:
            family.add((name,), 1)
        return family

    state, family = Fold(), up("a", "b", "c", "d", "e", "f")
    fold([family, requests(x=1)], 6, state)
    assert family.series == {("a",): 1, ("b",): 1, (OTHER,): 4}
    family = up("a", "b", "c")
    fold([family, requests(x=1)], 6, state)
    assert family.series == {("a",): 1, ("b",): 1, (OTHER,): 1}, "those that left are not up any more"


def test_families_without_names_are_never_folded() -> None:
    fixed = counter("reloads_total", "R.", ("result",))
    for index in range(10):
        fixed.add((f"word{index}",), 1)
    fold([fixed, requests(a=1, b=1)], 5)
    assert len(fixed.series) == 10


def test_a_route_that_is_called_so_is_counted_in() -> None:
    family = requests(a=9, b=1, c=1)
    family.add((OTHER, "200"), 5)
    fold([family], 2)
    assert sum(family.series.values()) == 16


def test_memory_is_bounded_and_no_count_is_lost() -> None:
    state = fold([requests(a=1, b=1)], 1)
    for number in range(3):
        names = {f"r{number}x{index}": 1.0 for index in range(GONE_LIMIT // 2)}
        family = requests(**names)
        fold([family], 1, state)
    assert family.series == {(OTHER, "200"): 2 + 3 * (GONE_LIMIT // 2)}


PAGES = st.lists(st.dictionaries(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["200", "503"])), st.integers(0, 9)), max_size=8)


@settings(max_examples=40)
@given(pages=PAGES, limit=st.integers(3, 10))
def test_no_counter_falls_and_nothing_is_counted_twice(pages: list[dict[Labels, int]], limit: int) -> None:
    """Each page counts on from the last; a series that is not in it has left, with what it had."""
    state, reached, seen = Fold(), dict[Labels, int](), dict[Labels, float]()
    ever_folded = False
    for page in pages:
        family = counter("requests_total", "R.", ("route", "code"))
        for labels, growth in page.items():
            reached[labels] = reached.get(labels, 0) + growth
            family.add(labels, reached[labels])
        whole: dict[Any, float] = dict(family.series)
        fold([family], limit, state)
        for labels, value in family.series.items():
            assert value >= seen.get(labels, 0)
            seen[labels] = value
        ever_folded |= any(labels[0] == OTHER for labels in family.series)
        assert lines_of(family) <= limit + len({code for _, code in reached})
        if not ever_folded:
            assert family.series == whole
