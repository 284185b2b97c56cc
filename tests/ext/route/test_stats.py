"""What a route counts of its cache; the rest is held by the tests of exchanges."""
from __future__ import annotations

import pytest

from proxyd_ext.core.stats import BUCKETS_SECONDS
from proxyd_ext.route.stats import RouteStats, count_cache

WORDS = ("hit", "miss", "stale", "expired", "revalidated", "bypass", "coalesced", "uncacheable")


def test_a_route_without_a_cache_counts_none() -> None:
    stats = RouteStats("web", "api").stats()
    assert (stats["cache"], stats["cache_bytes"]) == ({}, 0)


def test_results_are_summed_over_engines_by_their_words() -> None:
    route = RouteStats("web", "api")
    for engine in (0, 3, 63):
        for result in range(1, 9):
            for _ in range(result):
                count_cache(route, engine, result, 100)
    stats = route.stats()
    assert stats["cache"] == {word: 3 * (number + 1) for number, word in enumerate(WORDS)}
    assert stats["cache_bytes"] == 3 * 36 * 100


def test_the_first_result_shows_every_word() -> None:
    route = RouteStats("web", "api")
    count_cache(route, 0, 2)
    assert route.stats()["cache"] == dict.fromkeys(WORDS, 0) | {"miss": 1}


@pytest.mark.parametrize(("engine", "result"), [(0, 0), (0, 9), (0, -1), (64, 1), (-1, 1)])
def test_no_such_counter(engine: int, result: int) -> None:
    with pytest.raises(ValueError, match=f"engine {engine}"):
        count_cache(RouteStats("web", "api"), engine, result)


# ---------------------------------------------------------------------- figures
def test_figures_are_the_same_in_short() -> None:
    route = RouteStats("web", "api")
    for engine in (0, 3):
        for result in range(1, 9):
            count_cache(route, engine, result)
    figures = route.figures()
    assert len(figures) == 12 + len(BUCKETS_SECONDS) + 1
    assert figures[9:11] == (2 * 7, 2 * 3), "looked up: all but bypass; answered: hit, stale, coalesced"
