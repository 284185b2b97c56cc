from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.diagnostics.suggest import closest, distance

WORDS = ["address", "backup", "weight", "zone", "least_conn", "round_robin", "to", "use"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("wieght", "weight"),
        ("leastconn", "least_conn"),
        ("least-conn", "least_conn"),
        ("adress", "address"),
        ("Weight", "weight"),
        ("ot", "to"),
    ],
)
def test_a_slip_is_recognised(word: str, meant: str) -> None:
    assert closest(word, WORDS) == meant


@pytest.mark.parametrize("word", ["colour", "x", "", "w" * 1000, "servers"])
def test_what_is_far_from_all_is_not_guessed(word: str) -> None:
    assert closest(word, WORDS) is None


def test_swapped_neighbours_count_once() -> None:
    assert distance("wieght", "weight", 5) == 1


def naive(left: str, right: str) -> int:
    """The definition, by recursion on the last characters."""
    if not left or not right:
        return len(left) + len(right)
    best = min(naive(left[:-1], right) + 1, naive(left, right[:-1]) + 1, naive(left[:-1], right[:-1]) + (left[-1] != right[-1]))
    if len(left) > 1 and len(right) > 1 and left[-1] == right[-2] and left[-2] == right[-1]:
        best = min(best, naive(left[:-2], right[:-2]) + 1)
    return best


@given(st.text("abc", max_size=5), st.text("abc", max_size=5), st.integers(0, 6))
def test_distance_is_the_definition_cut_at_the_limit(left: str, right: str, limit: int) -> None:
    assert distance(left, right, limit) == min(naive(left, right), limit + 1)


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("minimum", ["min", "max"], "min"),
        ("respond_body", ["redirect", "respond"], "respond"),
        ("time", ["timeout", "to"], "timeout"),
        ("time", ["timeout", "timer"], "timer"),        # one more letter is nearer than three
        ("connect", ["connect_failure", "connection"], None),
        ("to", ["total"], None),
        ("upstreams.app.x", ["upstreams"], None),
    ],
)
def test_a_beginning_is_meant_where_there_is_one(word: str, known: list[str], found: str | None) -> None:
    assert closest(word, known) == found
