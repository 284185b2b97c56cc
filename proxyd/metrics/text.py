"""Families as text: Prometheus' own format (version 0.0.4) and OpenMetrics 1.0, which differ in three details.

Sources: prometheus.io/docs/instrumenting/exposition_formats, github.com/prometheus/OpenMetrics (specification/OpenMetrics.md).

What stands before a value (`name{label="value"} `) hardly ever changes, so it is made once for each series and kept from page to page.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import accumulate

from proxyd.metrics.families import Family, Histograms, Labels, Numbers
from proxyd_ext.core.stats import BUCKETS_SECONDS

BOUNDS = (*(str(float(bound)) for bound in BUCKETS_SECONDS), "+Inf")
HISTOGRAM_LINES = len(BOUNDS) + 2
CHUNK = 100        # series a piece of text: well below a millisecond

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Encoder:
    """Makes pages; one at a time."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[Labels, str]] = {}
        self._histograms: dict[str, dict[Labels, tuple[str, ...]]] = {}

    def encode(self, families: Iterable[Family], *, openmetrics: bool = False) -> Iterator[str]:
        """The page in pieces, so that whoever joins them can make room for others in between."""
        for family in families:
            yield head(family, openmetrics=openmetrics)
            if isinstance(family, Histograms):
                yield from self._encode_histograms(family)
            else:
                yield from self._encode_numbers(family)
        if openmetrics:
            yield "# EOF\n"

    def _encode_numbers(self, family: Numbers) -> Iterator[str]:
        before = self._numbers.get(family.name, {})
        known = self._numbers[family.name] = {}
        lines: list[str] = []
        for labels, value in family.series.items():
            known[labels] = start = before.get(labels) or f"{family.name}{braces(family.labels, labels)} "
            lines.append(f"{start}{value if type(value) is int else number(value)}\n")
            if len(lines) == CHUNK:
                yield "".join(lines)
                lines.clear()
        yield "".join(lines)

    def _encode_histograms(self, family: Histograms) -> Iterator[str]:
        before = self._histograms.get(family.name, {})
        known = self._histograms[family.name] = {}
        for labels, value in family.series.items():
            known[labels] = starts = before.get(labels) or histogram_starts(family, labels)
            figures = (*accumulate(value["buckets"]), value["count"], number(value["sum"]))
            yield "".join([f"{start}{figure}\n" for start, figure in zip(starts, figures, strict=True)])


def head(family: Family, *, openmetrics: bool) -> str:
    """OpenMetrics calls the family of a counter by its name without `_total`, and escapes quotes in what it means."""
    name = family.name.removesuffix("_total") if openmetrics and family.kind == "counter" else family.name
    text = family.text.translate(_LABEL_ESCAPES if openmetrics else _HELP_ESCAPES)
    return f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n"


def histogram_starts(family: Histograms, labels: Labels) -> tuple[str, ...]:
    names = (*family.labels, "le")
    buckets = (f"{family.name}_bucket{braces(names, (*labels, bound))} " for bound in BOUNDS)
    plain = braces(family.labels, labels)
    return (*buckets, f"{family.name}_count{plain} ", f"{family.name}_sum{plain} ")


def braces(names: Labels, values: Labels) -> str:
    """Sorted by name, as prometheus-client does, so that a series can be searched for as a text."""
    if not names:
        return ""
    pairs = (f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in sorted(zip(names, values, strict=True)))
    return f"{{{','.join(pairs)}}}"


def number(value: float) -> str:
    """As both formats spell it, and as short as it comes back the same."""
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
