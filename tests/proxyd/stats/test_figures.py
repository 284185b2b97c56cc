"""Rows of figures, read from what handles tell, and told again."""
from __future__ import annotations

import pytest

from proxyd.stats.figures import BUCKETS, NOTHING, SUM_US, WIDTH, of_server, of_upstream, plus, total, totals_of, without_times
from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server as NativeServer
from proxyd_ext.core.stats import BUCKETS_SECONDS
from proxyd_ext.route.stats import RouteStats
from tests.proxyd.stats.world import Server, Upstream


def times(**buckets: int) -> tuple[int, ...]:
    """`b3=2`: two answers in the fourth bucket."""
    return tuple(buckets.get(f"b{index}", 0) for index in range(len(BUCKETS_SECONDS) + 1))


def test_a_route_gives_rows_of_this_width() -> None:
    assert RouteStats("web", "api").figures() == NOTHING
    assert len(NOTHING) == WIDTH


def test_rows_are_summed_column_by_column() -> None:
    assert total([]) == NOTHING
    row = (*range(BUCKETS), *times(b1=4))
    assert total([row, row, row]) == plus(plus(row, row), row) == tuple(3 * value for value in row)


def test_answers_of_routes_and_their_errors() -> None:
    row = (1, 90, 4, 3, 2, 0, 2, 700, 9_000, 10, 7, 2_500_000, *times(b2=100))
    found = totals_of(row, 10.0)
    assert (found.requests, found.errors, found.proxy_errors) == (100, 2, 2)
    assert found.classes == {"1xx": 1, "2xx": 90, "3xx": 4, "4xx": 3, "5xx": 2}
    assert (found.bytes_in, found.bytes_out, found.cache_asked, found.cache_answered) == (700, 9_000, 10, 7)
    assert found.mean_seconds == pytest.approx(0.025)


def test_a_try_without_an_answer_is_a_request_of_the_upstream_and_an_error() -> None:
    server = Server("app", "10.0.0.1:80")
    server.requests, server.errors = {200: 6, 503: 2, 404: 1}, {"connect_refused": 3}
    found = totals_of(of_server(server.figures()), 1.0, tries=True)
    assert (found.requests, found.errors, found.proxy_errors) == (12, 5, 3)
    assert found.classes == {"2xx": 6, "4xx": 1, "5xx": 2}
    assert found.quantile(0.5) is None, "a server has no histogram"


def test_native_servers_and_upstreams_give_rows_of_this_width() -> None:
    assert of_server(NativeServer("app", "10.0.0.1:80", ("10.0.0.1", 80)).figures()) == NOTHING
    assert of_upstream(UpstreamState("app").times()) == NOTHING


def test_an_upstream_has_times_alone() -> None:
    upstream = Upstream("app")
    upstream.buckets[0] = 2
    found = totals_of(of_upstream(upstream.times()), 1.0, tries=True)
    assert found.requests == 0
    assert found.quantile(1.0) == 0.0005


def test_what_servers_did_is_taken_without_their_times() -> None:
    assert without_times((*range(BUCKETS), *times(b1=4))) == (*range(SUM_US), *NOTHING[SUM_US:])


def test_quantiles_are_interpolated_within_their_bucket() -> None:
    found = totals_of((*NOTHING[:BUCKETS], *times(b3=50, b9=50)), 1.0)
    assert found.quantile(0.25) == pytest.approx(0.00375)
    assert found.quantile(0.99) == pytest.approx(0.25 + 0.25 * 0.98)
    assert totals_of(NOTHING, 1.0).quantile(0.5) is None
    assert totals_of(NOTHING, 1.0).mean_seconds is None
