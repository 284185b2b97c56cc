"""One scrape: handles are captured on the main thread, numbers read and text made on another, so that a big page delays no health check."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import ProcessCollector
from prometheus_client.exposition import choose_encoder

from proxyd.metrics.collector import Collector
from proxyd.metrics.families import Family, Numbers, gauge
from proxyd.metrics.folding import OTHER, Fold
from proxyd.metrics.source import Capture, MetricsSource, capture
from proxyd.metrics.text import Encoder
from proxyd.unhurried import unhurried


class Exposition:
    def __init__(self, source: MetricsSource, version: str) -> None:
        self._source = source
        self._collector = Collector(version)
        self._process = ProcessCollector(registry=None)
        self._fold, self._encoder = Fold(), Encoder()
        self._turn = asyncio.Lock()

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The page in the format that the Accept field asks for, and its media type."""
        _, content_type = choose_encoder(accept)
        openmetrics = content_type.startswith("application/openmetrics-text")
        async with self._turn:
            return await asyncio.to_thread(self._page, [capture(self._source)], openmetrics), content_type

    def warnings(self) -> tuple[str, ...]:
        """For status: a sentence when the last page was folded."""
        if not self._fold.folded:
            return ()
        return (f"metrics.max_series ({self._source.max_series}) is reached: {self._fold.folded} series are summed under `{OTHER}`",)

    def _page(self, captured: list[Capture], openmetrics: bool) -> bytes:
        """`captured` is emptied: the thread that runs this holds its arguments for a moment longer than we wait for it."""
        now = captured.pop()
        families = list(unhurried(self._collector.collect(now)))
        families += process_families(self._process)
        limit, over = bound_families()
        families += (limit, over)
        limit.add((), now.max_series)
        over.add((), 0)
        self._fold.apply(families, now.max_series)
        over.add((), self._fold.folded)
        return "".join(unhurried(self._encoder.encode(families, openmetrics=openmetrics))).encode()


def bound_families() -> list[Numbers]:
    """About the page itself."""
    return [
        gauge("metrics_series_limit", "Series that this page may have (metrics.max_series)."),
        gauge("metrics_series_folded", f"Series that are summed under `{OTHER}`, for want of room on this page."),
    ]


def process_families(process: ProcessCollector) -> Iterator[Family]:
    """The `process_` metrics that all exporters have."""
    for metric in process.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        family = Numbers(name, "counter" if metric.type == "counter" else "gauge", metric.documentation, ())
        for sample in metric.samples:
            family.add((), sample.value)
        yield family
