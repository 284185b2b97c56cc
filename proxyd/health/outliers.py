"""Which servers do so much worse than they should, or than their siblings, that they are better left out for a while.

Judged from what each server did in one window. Three tests, each switched on by itself:

    error_rate     the share of its requests that failed reaches a fixed limit
    success_rate   the share that succeeded lies more than k standard deviations below the mean of all servers (after Envoy's outlier
                   detection). Finds the server that fails 10 % where the others fail none, and none of ten that all fail 10 %.
    latency        its answers take `factor` times as long, on average, as those of the median server

A success-rate test by standard deviations alone would be nervous where servers do well: of five, one that fails a single request more than
its siblings already lies two deviations out. So a deviation counts as one percentage point at least.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean, median, pstdev
from typing import Any

from proxyd.health.ejections import OutlierKind

DEVIATION_MIN = 0.01


@dataclass(frozen=True, slots=True)
class SuccessRate:
    deviations: float = 1.9
    min_servers: int = 5           # with enough requests; fewer tell nothing about one another
    min_requests: int = 100        # of a server in the window, to be looked at


@dataclass(frozen=True, slots=True)
class Latency:
    factor: float = 3.0
    min_servers: int = 3
    min_requests: int = 100


@dataclass(frozen=True, slots=True)
class OutlierPolicy:
    window: float = 10.0           # seconds
    eject: float = 30.0            # seconds; times the number of ejections in a row, of which each window spent well forgives one
    eject_max: float = 300.0
    max_ejected: float = 0.5       # share of the servers that may be out at a time, whoever ejected them
    error_rate: float | None = None        # share, 0 to 1
    min_requests: int = 20                 # for error_rate
    success_rate: SuccessRate | None = None
    latency: Latency | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters of one server; the difference of two is what it did in between."""

    requests: int                  # tries that ended, with an answer or without; flows that it took
    failed: int                    # 5xx, or no answer
    latency_sum: float             # seconds
    latency_count: int
    flows: int = 0                 # of the requests: those that are none

    def __sub__(self, before: Totals) -> Totals:
        return Totals(
            self.requests - before.requests, self.failed - before.failed,
            self.latency_sum - before.latency_sum, self.latency_count - before.latency_count, self.flows - before.flows,
        )


@dataclass(frozen=True, slots=True)
class Outlier:
    label: str
    kind: OutlierKind
    reason: str


def totals_of(stats: Mapping[str, Any]) -> Totals:
    """From what a native server counts."""
    faults = sum(stats["errors"].values())
    failed = sum(count for code, count in stats["requests"].items() if code >= 500)
    requests = sum(stats["requests"].values()) + stats["flows"] + faults
    return Totals(requests, failed + faults, stats["latency_sum_seconds"], stats["latency_count"], stats["flows"])


def find_outliers(policy: OutlierPolicy, did: Mapping[str, Totals]) -> list[Outlier]:
    """`did`: label -> what it did in the window. Each server at most once, the worst of the first test first."""
    found: dict[str, Outlier] = {}
    for outlier in (*_by_error_rate(policy, did), *_by_success_rate(policy, did), *_by_latency(policy, did)):
        found.setdefault(outlier.label, outlier)
    return list(found.values())


def _by_error_rate(policy: OutlierPolicy, did: Mapping[str, Totals]) -> Iterator[Outlier]:
    if policy.error_rate is None:
        return
    rates = {label: each.failed / each.requests for label, each in did.items() if each.requests >= max(policy.min_requests, 1)}
    for label in sorted(rates, key=lambda label: -rates[label]):
        if rates[label] >= policy.error_rate:
            what = f"{did[label].requests} {'flows' if did[label].flows else 'requests'}"
            yield Outlier(label, "error_rate", f"error rate {rates[label] * 100:.0f} % of {what}")


def _by_success_rate(policy: OutlierPolicy, did: Mapping[str, Totals]) -> Iterator[Outlier]:
    test = policy.success_rate
    if test is None:
        return
    rates = {label: 1 - each.failed / each.requests for label, each in did.items() if each.requests >= max(test.min_requests, 1)}
    if len(rates) < max(test.min_servers, 2):
        return
    limit = fmean(rates.values()) - test.deviations * max(pstdev(rates.values()), DEVIATION_MIN)
    for label in sorted(rates, key=lambda label: rates[label]):
        if rates[label] < limit:
            others = fmean(rate for other, rate in rates.items() if other != label)
            yield Outlier(label, "success_rate", f"success rate {rates[label] * 100:.1f} %, the others {others * 100:.1f} %")


def _by_latency(policy: OutlierPolicy, did: Mapping[str, Totals]) -> Iterator[Outlier]:
    test = policy.latency
    if test is None:
        return
    means = {label: each.latency_sum / each.latency_count for label, each in did.items() if each.latency_count >= max(test.min_requests, 1)}
    if len(means) < max(test.min_servers, 2):
        return
    middle = median(means.values())
    for label in sorted(means, key=lambda label: -means[label]):
        if means[label] > test.factor * middle:
            yield Outlier(label, "latency", f"answers take {_duration(means[label])}, those of the median server {_duration(middle)}")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.9995 else f"{seconds * 1000:.3g} ms"
