"""Metric families with our prefix."""
from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Labels = tuple[str, ...]


def counter(name: str, text: str, labels: Labels = ()) -> CounterMetricFamily:
    return CounterMetricFamily(f"proxyd_{name}", text, labels=labels)


def gauge(name: str, text: str, labels: Labels = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"proxyd_{name}", text, labels=labels)


def histogram(name: str, text: str, labels: Labels) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"proxyd_{name}", text, labels=labels)
