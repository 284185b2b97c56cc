from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.governor.breaker import GROWTH_MAX, Breaker, BreakerPolicy, Counts, Order

POLICY = BreakerPolicy(error_ratio=0.5, window=10, min_requests=20, open_for=10, probes=3)


def did(finished: int = 0, failed: int = 0, ok: int = 0, bad: int = 0) -> Counts:
    return Counts(finished, failed, ok, bad)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    assert breaker.on_look(now, did(20, 20)) == Order("open")
    return breaker


def on_trial(now: float = 0.0) -> Breaker:
    """Half open since `now` + 10."""
    breaker = opened(now)
    assert breaker.on_look(now + 10, did()) == Order("half_open", 3)
    return breaker


# ---------------------------------------------------------------------- closed
@pytest.mark.parametrize(
    ("finished", "failed", "opens"),
    [(20, 10, True), (20, 9, False), (19, 19, False), (20, 20, True), (0, 0, False), (1_000, 499, False), (1_000, 500, True)],
)
def test_it_opens_at_the_ratio_with_enough_requests(finished: int, failed: int, opens: bool) -> None:
    order = Breaker(POLICY).on_look(0, did(finished, failed))
    assert order == (Order("open") if opens else None)


def test_a_ratio_is_met_exactly() -> None:
    """0.55 · 20 is more than 11 in binary fractions; 11 of 20 is 55 % all the same."""
    assert Breaker(BreakerPolicy(0.55)).on_look(0, did(20, 11)) == Order("open")


def test_no_request_wanted_is_still_one() -> None:
    breaker = Breaker(BreakerPolicy(0.5, min_requests=0))
    assert breaker.on_look(0, did()) is None
    assert breaker.on_look(1, did(1, 1)) == Order("open")


def test_the_window_slides() -> None:
    breaker = Breaker(POLICY)
    assert breaker.on_look(0, did(10, 10)) is None
    assert breaker.on_look(9.9, did(9, 9)) is None
    assert breaker.on_look(10, did(10, 10)) is None, "what is ten seconds old no longer counts"
    assert breaker.on_look(10.1, did(1, 1)) == Order("open")
    assert breaker.reason == "100 % of 20 requests failed within 10 s"


def test_failures_are_spread_over_looks() -> None:
    breaker = Breaker(POLICY)
    orders = [breaker.on_look(second, did(4, 2)) for second in range(6)]
    assert orders[:5] == [None, None, None, None, Order("open")]
    assert orders[5] is None, "it is told once"


# ---------------------------------------------------------------------- open
def test_open_until_its_time_is_over_whatever_happens() -> None:
    breaker = opened()
    assert breaker.on_look(9.99, did(1000, 0, 5, 5)) is None
    assert breaker.state == "open"
    assert breaker.on_look(10, did(0, 0, 0, 5)) == Order("half_open", 3)
    assert breaker.reason == "trying 3 requests"


# ---------------------------------------------------------------------- half open
def test_all_probes_good_closes() -> None:
    breaker = on_trial()
    assert breaker.on_look(11, did(2, 0, ok=2)) is None
    assert breaker.on_look(12, did(1, 0, ok=1)) == Order("closed")
    assert breaker.reason == ""


def test_closed_again_with_a_clean_window() -> None:
    breaker = on_trial()
    assert breaker.on_look(11, did(3, 0, ok=3)) == Order("closed")
    assert breaker.on_look(11.2, did(19, 19)) is None
    assert breaker.on_look(11.4, did(1, 0)) == Order("open")


def test_what_is_no_probe_does_not_decide_a_trial() -> None:
    breaker = on_trial()
    assert breaker.on_look(11, did(500, 500)) is None
    assert breaker.state == "half_open"


def test_one_failed_probe_opens_again_for_longer() -> None:
    breaker, now, lasted = opened(), 0.0, []
    for _ in range(6):
        began = now
        while breaker.state == "open":
            now += 1
            breaker.on_look(now, did())
        lasted.append(now - began)
        assert breaker.on_look(now, did(3, 1, ok=2, bad=1)) == Order("open")
        assert breaker.reason == "a trial request failed"
    assert lasted == [10, 20, 40, 80, 80, 80]


def test_a_trial_that_went_well_forgets_the_failed_ones() -> None:
    breaker = on_trial()
    breaker.on_look(10, did(bad=1))
    assert breaker.open_seconds == 20
    breaker.on_look(30, did())
    assert breaker.on_look(31, did(ok=3)) == Order("closed")
    breaker.on_look(32, did(20, 20))
    assert breaker.open_seconds == 10


def test_probes_that_got_lost_are_granted_again() -> None:
    breaker = on_trial()
    assert breaker.on_look(12, did(ok=1)) is None
    assert breaker.on_look(21.9, did()) is None
    assert breaker.on_look(22, did()) == Order("half_open", 2)
    assert breaker.on_look(22.1, did()) is None
    assert breaker.on_look(23, did(ok=2)) == Order("closed")


def test_a_second_trial_wants_all_its_probes() -> None:
    breaker = on_trial()
    breaker.on_look(11, did(ok=2))
    breaker.on_look(12, did(bad=1))
    assert breaker.on_look(32, did()) == Order("half_open", 3)
    assert breaker.on_look(33, did(ok=2)) is None


@pytest.mark.parametrize(("window", "period"), [(1, 0.1), (10, 0.2), (50, 1.0), (600, 1.0)])
def test_how_often_it_is_looked_at(window: float, period: float) -> None:
    policy = BreakerPolicy(0.5, window=window)
    assert policy.period == period
    assert 0.1 <= policy.period <= max(window / 10, 0.1)


# ---------------------------------------------------------------------- all of it
LOOK = st.tuples(st.floats(0.1, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 4), st.integers(0, 1))
LEGAL = {("closed", "open"), ("open", "half_open"), ("half_open", "closed"), ("half_open", "open"), ("half_open", "half_open")}


@given(st.lists(LOOK, max_size=80))
def test_only_legal_moves_each_for_its_reason(looks: list[tuple[float, int, int, int, int]]) -> None:
    breaker, now, entered, failed_trials = Breaker(POLICY), 0.0, 0.0, 0
    for wait, finished, failed, ok, bad in looks:
        now += wait
        before = breaker.state
        order = breaker.on_look(now, did(finished + failed, failed, ok, bad))
        if order is None:
            assert breaker.state == before
            assert before != "open" or now - entered < 10 * min(2**failed_trials, GROWTH_MAX)
            assert before != "half_open" or not bad
            continue
        assert order.state == breaker.state
        assert (before, order.state) in LEGAL
        if (before, order.state) == ("open", "half_open"):
            assert now - entered >= 10 * min(2**failed_trials, GROWTH_MAX)
            assert order.probes == 3
        elif (before, order.state) == ("half_open", "open"):
            assert bad
            failed_trials += 1
        elif order.state == "open":
            failed_trials = 0
        elif order.state == "half_open":
            assert 1 <= order.probes <= 3
        if order.state != before:
            entered = now
        assert (order.probes > 0) == (order.state == "half_open")
