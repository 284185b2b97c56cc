"""Every family that `/metrics` can have, told by the collector itself: it yields all of them on every page, those without series too."""
from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import ProcessCollector

from proxyd.metrics.collector import Collector
from proxyd.metrics.exposition import bound_families, process_families
from proxyd.metrics.families import Family
from proxyd.metrics.source import Capture

NOTHING = Capture(
    config_hash="", reloads={}, last_reload_at=0.0, last_reload_ok=True, max_series=0, phase="serving", listeners=(),
    routes=(), upstreams=(), engines=(), logs=(),
)


@dataclass(frozen=True, slots=True)
class MetricDoc:
    name: str                      # as its series are called; those of a histogram have `_bucket`, `_sum` or `_count` behind it
    type: str
    labels: tuple[str, ...]
    help: str


def metric_docs() -> tuple[MetricDoc, ...]:
    """In the order of the page."""
    families: list[Family] = [*Collector("").collect(NOTHING), *process_families(ProcessCollector(registry=None)), *bound_families()]
    return tuple(MetricDoc(family.name, family.kind, family.labels, family.text) for family in families)
