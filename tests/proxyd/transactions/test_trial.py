"""When a config on trial is kept, and when it is gone back from."""
from __future__ import annotations

import pytest

from proxyd.transactions.entry import Tried
from proxyd.transactions.guard import parse_guard
from proxyd.transactions.terms import Terms
from proxyd.transactions.trial import Trial, Verdict, missed
from tests.proxyd.transactions.test_guard import FakeFigures, FakeTotals

GOOD, BAD, FEW = FakeTotals(1_000, 1), FakeTotals(1_000, 100), FakeTotals(5, 1)


def terms(guard: str = "", confirm: float | None = None) -> Terms:
    return Terms(parse_guard(guard) if guard else None, confirm)


def trial(guard: str = "", confirm: float | None = None, elapsed: float | None = None) -> Trial:
    return Trial(7, Tried(6, terms(guard, confirm)), now=100.0, wall=5_000.0, elapsed=elapsed)


@pytest.mark.parametrize(("after", "totals", "verdict"), [
    (0.0, GOOD, None),
    (29.9, GOOD, None),
    (30.0, GOOD, Verdict(True, "the guard held for 30s")),
    (1.3, BAD, Verdict(False, "10% errors among 1000 requests, the guard allows 2%, after 1.3s")),
    (29.9, FEW, None),
    (30.0, FEW, Verdict(False, "20% errors among 5 requests, the guard allows 2%, after 30s")),
    (30.0, FakeTotals(), Verdict(True, "the guard held for 30s")),
])
def test_a_guard(after: float, totals: FakeTotals, verdict: Verdict | None) -> None:
    assert trial("errors > 2% for 30s").look(100.0 + after, FakeFigures(totals)) == verdict


def test_each_condition_has_its_own_time() -> None:
    tried = trial("errors > 2% for 5s or p99 > 1s for 20s")
    slow = FakeTotals(1_000, 0, quantiles={0.99: 2.0})
    assert tried.look(106.0, FakeFigures(GOOD)) is None
    assert tried.look(107.0, FakeFigures(BAD)) is None, "errors are watched no more"
    assert tried.look(110.0, FakeFigures(slow)) == Verdict(False, "p99 2s over 1000 requests, the guard allows 1s, after 10s")
    assert tried.look(120.0, FakeFigures(GOOD)) == Verdict(True, "the guard held for 20s")


def test_without_a_confirmation_it_is_gone_back_from() -> None:
    tried = trial(confirm=120.0)
    assert tried.look(219.9, FakeFigures(BAD)) is None
    assert tried.look(220.0, FakeFigures(GOOD)) == Verdict(False, "nobody confirmed it within 2m", by_guard=False)


def test_a_guard_that_held_does_not_confirm() -> None:
    tried = trial("errors > 2% for 5s", confirm=60.0)
    assert tried.view().guard_until == 5_005.0
    assert tried.look(110.0, FakeFigures(GOOD)) is None
    assert (tried.view().guard_until, tried.view().confirm_until) == (0.0, 5_060.0)
    verdict = tried.look(160.0, FakeFigures(GOOD))
    assert verdict is not None
    assert not verdict.kept


def test_the_guard_comes_before_the_confirmation() -> None:
    verdict = trial("errors > 2% for 30s", confirm=60.0).look(110.0, FakeFigures(BAD))
    assert verdict is not None
    assert (verdict.kept, verdict.by_guard) == (False, True)


def test_figures_begin_with_the_trial() -> None:
    figures = FakeFigures(GOOD)
    trial("errors of route api > 2%").look(101.0, figures)
    assert figures.asked == [(100.0, "api", "")]


@pytest.mark.parametrize(("elapsed", "until"), [(-5.0, 5_060.0), (0.0, 5_060.0), (30.0, 5_030.0), (59.0, 5_010.0)])
def test_another_process_goes_on_with_the_rest_and_ten_seconds_at_least(elapsed: float, until: float) -> None:
    tried = trial(confirm=60.0, elapsed=elapsed)
    assert (tried.resumed, tried.view().confirm_until) == (True, until)
    assert tried.look(100.0 + until - 5_000.0 - 0.1, FakeFigures(GOOD)) is None
    assert tried.look(100.0 + until - 5_000.0, FakeFigures(GOOD)) is not None


def test_a_short_one_begins_anew() -> None:
    assert trial(confirm=4.0, elapsed=3.0).view().confirm_until == 5_004.0


@pytest.mark.parametrize(("tried", "elapsed", "why"), [
    (terms(confirm=60.0), 59.9, ""),
    (terms(confirm=60.0), 60.0, "nobody confirmed it within 1m"),
    (terms("errors > 2% for 30s", confirm=60.0), 59.0, ""),
    (terms("errors > 2% for 30s"), 39.9, ""),
    (terms("errors > 2% for 30s"), 40.0, "the daemon ended, and the 30s of the guard were over before it was back"),
])
def test_one_whose_time_is_over_is_gone_back_from(tried: Terms, elapsed: float, why: str) -> None:
    verdict = missed(tried, elapsed)
    assert (verdict.why if verdict is not None else "") == why
    assert verdict is None or (verdict.kept, verdict.by_guard) == (False, tried.confirm is None)
