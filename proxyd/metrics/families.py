"""Metric families as plain values: what a name means, and its series by their label values.

prometheus-client has such classes too. Its samples carry a mapping of labels each, which its encoder sorts and escapes anew at every
scrape: 37 ms for 5,000 series, nearly all of it with the GIL (`bench/metrics_page.py`). Label values here are plain tuples, so that
`text.py` can remember how they are written.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(slots=True)
class Numbers:
    """A family of counters or gauges."""

    name: str                      # as its series are called: with `_total`, if they are counters
    kind: Literal["counter", "gauge"]
    text: str                      # what it means, for people
    labels: Labels
    series: dict[Labels, float] = field(default_factory=dict)

    def add(self, labels: Labels, value: float) -> None:
        self.series[labels] = value

    def more(self, labels: Labels, value: float) -> None:
        """On top of what the series has: for one that several handles make."""
        self.series[labels] = self.series.get(labels, 0) + value


@dataclass(slots=True)
class Histograms:
    """A family of native histograms: counts of single buckets, as many as BUCKETS_SECONDS and one more."""

    name: str
    text: str
    labels: Labels
    series: dict[Labels, Mapping[str, Any]] = field(default_factory=dict)
    kind: Literal["histogram"] = "histogram"

    def add(self, labels: Labels, value: Mapping[str, Any]) -> None:
        """Nothing if it is empty: a thousand routes that nobody asks for would be twenty thousand lines of zeros."""
        if value["count"]:
            self.series[labels] = value


Family = Numbers | Histograms


def counter(name: str, text: str, labels: Labels = ()) -> Numbers:
    return Numbers(f"proxyd_{name}", "counter", text, labels)


def gauge(name: str, text: str, labels: Labels = ()) -> Numbers:
    return Numbers(f"proxyd_{name}", "gauge", text, labels)


def histogram(name: str, text: str, labels: Labels) -> Histograms:
    return Histograms(f"proxyd_{name}", text, labels)
