from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.health.outliers import Latency, OutlierPolicy, SuccessRate, Totals, find_outliers, totals_of

RATE = OutlierPolicy(error_rate=0.5, min_requests=20)
SUCCESS = OutlierPolicy(success_rate=SuccessRate())
LATENCY = OutlierPolicy(latency=Latency())


def did(*failed_of: tuple[int, int], seconds: float = 0.01) -> dict[str, Totals]:
    """Servers a, b, ...: (failed, requests)."""
    return {chr(97 + index): Totals(total, failed, total * seconds, total) for index, (failed, total) in enumerate(failed_of)}


def took(*means: float, count: int = 100) -> dict[str, Totals]:
    return {chr(97 + index): Totals(count, 0, mean * count, count) for index, mean in enumerate(means)}


def labels(policy: OutlierPolicy, what: dict[str, Totals]) -> str:
    return "".join(outlier.label for outlier in find_outliers(policy, what))


@pytest.mark.parametrize(
    ("what", "found"),
    [
        (did((10, 20)), "a"),
        (did((9, 20)), ""),
        (did((19, 19)), ""),                       # too few requests
        (did((0, 0)), ""),
        (did((60, 100), (0, 100), (90, 100)), "ca"),
    ],
)
def test_error_rate(what: dict[str, Totals], found: str) -> None:
    assert labels(RATE, what) == found


def test_zero_requests_wanted_is_still_one() -> None:
    assert labels(OutlierPolicy(error_rate=0.0, min_requests=0), did((0, 0), (1, 2))) == "b"


@pytest.mark.parametrize(
    ("what", "found"),
    [
        (did((29, 100), (0, 100), (1, 100), (0, 100), (0, 100)), "a"),
        (did((29, 100), (0, 100), (1, 100), (0, 100)), ""),                    # four servers say too little
        (did((29, 100), (0, 100), (1, 100), (0, 100), (0, 99)), ""),           # so do 99 requests
        (did((1, 100), (0, 100), (0, 100), (0, 100), (0, 100)), ""),           # one failed request is no outlier
        (did((50, 100), (50, 100), (50, 100), (50, 100), (50, 100)), ""),      # all alike: it is not the server
        (did((30, 100), *[(0, 100)] * 8, (80, 100)), "j"),                     # one deviation hides another
    ],
)
def test_success_rate(what: dict[str, Totals], found: str) -> None:
    assert labels(SUCCESS, what) == found


@pytest.mark.parametrize(
    ("what", "found"),
    [
        (took(0.1, 0.1, 0.301), "c"),
        (took(0.1, 0.1, 0.3), ""),
        (took(0.1, 0.301), ""),                    # two servers say too little
        (took(0.1, 0.1, 0.9, count=99), ""),
        (took(0.1, 0.5, 0.1, 0.9, 0.1), "db"),
        (took(0.0, 0.0, 0.0), ""),
    ],
)
def test_latency(what: dict[str, Totals], found: str) -> None:
    assert labels(LATENCY, what) == found


def test_reasons_in_plain_words() -> None:
    (by_rate,) = find_outliers(RATE, did((211, 340)))
    assert (by_rate.kind, by_rate.reason) == ("error_rate", "error rate 62 % of 340 requests")
    (by_success,) = find_outliers(SUCCESS, did((288, 1000), *[(6, 1000)] * 4))
    assert (by_success.kind, by_success.reason) == ("success_rate", "success rate 71.2 %, the others 99.4 %")
    (by_latency,) = find_outliers(LATENCY, took(0.095, 0.095, 0.812))
    assert (by_latency.kind, by_latency.reason) == ("latency", "answers take 812 ms, those of the median server 95 ms")
    (slow,) = find_outliers(LATENCY, took(0.5, 0.5, 2.25))
    assert slow.reason == "answers take 2.2 s, those of the median server 500 ms"


def test_a_server_is_named_once() -> None:
    policy = OutlierPolicy(error_rate=0.5, success_rate=SuccessRate(), latency=Latency())
    what = did((90, 100), *[(0, 100)] * 5) | {"a": Totals(100, 90, 50.0, 100)}
    assert [(outlier.label, outlier.kind) for outlier in find_outliers(policy, what)] == [("a", "error_rate")]
    assert find_outliers(OutlierPolicy(), what) == []


def test_what_a_server_counts() -> None:
    requests = {0: 1, 200: 10, 404: 2, 500: 3, 503: 4}
    stats = {"requests": requests, "errors": {"connect_refused": 5}, "flows": 0, "latency_sum_seconds": 1.5, "latency_count": 20}
    assert totals_of(stats) == Totals(25, 12, 1.5, 20)
    assert totals_of(stats) - Totals(5, 2, 0.5, 10) == Totals(20, 10, 1.0, 10)


def test_flows_that_a_server_took_count_as_requests() -> None:
    stats = {"requests": {}, "errors": {"connect_refused": 5}, "flows": 95, "latency_sum_seconds": 0.0, "latency_count": 0}
    assert totals_of(stats) == Totals(100, 5, 0.0, 0, 95)
    assert find_outliers(OutlierPolicy(error_rate=0.06), {"a": totals_of(stats)}) == []
    outlier, = find_outliers(OutlierPolicy(error_rate=0.05), {"a": totals_of(stats)})
    assert outlier.reason == "error rate 5 % of 100 flows"


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500), st.floats(0, 100)), max_size=12))
def test_never_all_by_comparison(rows: list[tuple[int, int, float]]) -> None:
    """Whatever the numbers: a comparison of siblings leaves at least one of them, and nobody is named twice."""
    what = {str(index): Totals(good + bad, bad, total, good) for index, (good, bad, total) in enumerate(rows)}
    policy = OutlierPolicy(success_rate=SuccessRate(0.1, 2, 1), latency=Latency(1.01, 2, 1))
    for each in (OutlierPolicy(success_rate=policy.success_rate), OutlierPolicy(latency=policy.latency)):
        found = labels_of(each, what)
        assert len(found) < max(len(what), 1)
        assert len(set(found)) == len(found)


def labels_of(policy: OutlierPolicy, what: dict[str, Totals]) -> list[str]:
    return [outlier.label for outlier in find_outliers(policy, what)]
