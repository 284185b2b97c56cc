"""The language of guards, and what it is judged by."""
from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.transactions.guard import GuardError, parse_duration, parse_guard, seconds_text


@dataclass
class FakeTotals:
    requests: int = 0
    errors: int = 0
    proxy_errors: int = 0
    quantiles: dict[float, float] = field(default_factory=dict)

    def quantile(self, q: float) -> float | None:
        return self.quantiles.get(q)


@dataclass
class FakeFigures:
    now: FakeTotals = field(default_factory=FakeTotals)
    asked: list[tuple[float | None, str, str]] = field(default_factory=list)

    def totals(self, since: float | None = None, *, route: str = "", upstream: str = "") -> FakeTotals:
        self.asked.append((since, route, upstream))
        return self.now


@pytest.mark.parametrize(("text", "canonical"), [
    ("errors > 2%", "errors > 2% for 30s"),
    ("errors>2% for 1m", "errors > 2% for 1m"),
    ("proxy_errors >= 0.5% for 1m30s", "proxy_errors >= 0.5% for 1m30s"),
    ("p99 of route shop-api > 800ms for 10s", "p99 of route shop-api > 800ms for 10s"),
    ("errors of upstream app > 0%", "errors of upstream app > 0% for 30s"),
    ("errors > 2% or p50 > 1.5s for 5s or p95 of route web/api > 1s",
     "errors > 2% for 30s or p50 > 1.5s for 5s or p95 of route web/api > 1s for 30s"),
])
def test_what_is_a_guard(text: str, canonical: str) -> None:
    guard = parse_guard(text)
    assert str(guard) == canonical
    assert parse_guard(canonical) == guard


@pytest.mark.parametrize(("text", "column", "width", "message", "help"), [
    ("", 0, 1, "expected a metric, but the guard ends", "errors, proxy_errors, p50, p95, p99"),
    ("latency > 2s", 0, 7, "expected a metric, got `latency`", "there is errors"),
    ("errors < 2%", 7, 1, "expected `>` or `>=`, got `<`", "write `errors > 2%`"),
    ("errors > 2", 9, 1, "expected a percentage, got `2`", "write `2%`"),
    ("errors > 200%", 9, 4, "no more than 100% can fail, not 200%", "write `2%`"),
    ("errors > 2% for 30", 16, 2, "expected a duration, got `30`", "write `30s` or `30m`"),
    ("errors > 2% for 2h", 16, 2, "a guard watches for 1s to 1h, not for 2h", "for 30s"),
    ("p99 > 2%", 6, 2, "expected a duration, got `2%`", "write `p99 > 300ms`"),
    ("errors of host a > 2%", 10, 4, "expected `route` or `upstream`, got `host`", "of upstream app"),
    ("errors of route", 15, 1, "expected the name of the route, but the guard ends", "errors of route api"),
    ("errors > 2% and p99 > 1s", 12, 3, "expected `for` or `or`, got `and`", "or p99 > 1s"),
    ("errors > 2% or", 14, 1, "expected a metric, but the guard ends", "errors > 2% for 30s"),
    ("errors !> 2%", 7, 1, "expected `>` or `>=`, got `!`", "write"),
])
def test_what_is_none_is_told_with_its_place(text: str, column: int, width: int, message: str, help: str) -> None:
    with pytest.raises(GuardError) as caught:
        parse_guard(text)
    error = caught.value
    assert (error.column, error.width, str(error)) == (column, width, message)
    assert help in error.help
    assert error.rendered().splitlines()[:2] == [f"  {text}", f"  {' ' * column}{'^' * width}"]


WORDS = st.sampled_from(["errors", "p99", "of", "route", ">", ">=", "2%", "1s", "for", "or", "x"])


def maybe_error(text: str) -> GuardError | None:
    try:
        guard = parse_guard(text)
    except GuardError as error:
        return error
    assert parse_guard(str(guard)).seconds == guard.seconds
    return None


@settings(max_examples=60)
@given(st.text(max_size=60) | st.lists(WORDS).map(" ".join))
def test_no_text_is_more_than_an_error(text: str) -> None:
    error = maybe_error(text)
    assert error is None or (0 <= error.column <= len(text) and error.help)


def test_a_long_text_is_refused() -> None:
    with pytest.raises(GuardError, match="longer than 1000"):
        parse_guard(" or ".join(["errors > 2%"] * 100))


@pytest.mark.parametrize(("guard", "totals", "reason"), [
    ("errors > 2%", FakeTotals(50, 2), "4% errors among 50 requests, the guard allows 2%"),
    ("errors > 2%", FakeTotals(100, 2), ""),
    ("errors >= 2%", FakeTotals(100, 2), "2% errors among 100 requests, the guard allows 2%"),
    ("errors > 2%", FakeTotals(49, 49), ""),
    ("errors > 2%", FakeTotals(0, 0), ""),
    ("proxy_errors of upstream app > 1%", FakeTotals(60, 60, 3),
     "5% errors that proxyd answered among 60 requests of upstream app, the guard allows 1%"),
    ("p99 of route api > 800ms", FakeTotals(60, quantiles={0.99: 1.2}), "p99 of route api 1.2s over 60 requests, the guard allows 800ms"),
    ("p99 > 800ms", FakeTotals(60, quantiles={0.95: 1.2}), ""),
])
def test_when_a_condition_holds(guard: str, totals: FakeTotals, reason: str) -> None:
    condition, = parse_guard(guard).conditions
    figures = FakeFigures(totals)
    assert condition.judge(figures, 7.0, at_end=False) == reason
    assert figures.asked == [(7.0, condition.route, condition.upstream)]


def test_few_requests_count_at_the_end_alone() -> None:
    condition, = parse_guard("errors > 2%").conditions
    assert condition.judge(FakeFigures(FakeTotals(3, 1)), 0.0, at_end=False) == ""
    assert condition.judge(FakeFigures(FakeTotals(3, 1)), 0.0, at_end=True) == "33.3% errors among 3 requests, the guard allows 2%"
    assert condition.judge(FakeFigures(FakeTotals(0, 0)), 0.0, at_end=True) == ""


@pytest.mark.parametrize(("text", "seconds"), [
    ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5_400), ("30", None), ("s", None), ("30 s", None), ("1m 30s", None), ("", None),
])
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@settings(max_examples=30)
@given(st.integers(1, 3_600))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert parse_duration(seconds_text(seconds)) == seconds


def test_durations_are_written_as_people_do() -> None:
    written = ["300ms", "30s", "1m30s", "2m", "1h", "90m", "24h"]
    assert [seconds_text(seconds) for seconds in (0.3, 30, 90, 120, 3_600, 5_400, 86_400)] == written
