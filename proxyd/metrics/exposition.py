"""One scrape: handles are captured on the main thread, numbers read and text made on another, so that a big page delays no health check."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client import registry as prometheus_registry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from proxyd.metrics.collector import Collector
from proxyd.metrics.source import Capture, MetricsSource, capture

Encode = Callable[[prometheus_registry.Collector], bytes]


@dataclass(frozen=True, slots=True, eq=False)   # eq=False: the registry keeps it as a key
class _Scrape(prometheus_registry.Collector):
    """What prometheus-client asks for metrics, for one page. It goes with the page, and with it the references to native handles."""

    collector: Collector
    captured: Capture

    def collect(self) -> Iterator[Metric]:
        return self.collector.collect(self.captured)


class Exposition:
    def __init__(self, source: MetricsSource, version: str) -> None:
        self._source = source
        self._collector = Collector(version)
        self._process = ProcessCollector(registry=None)
        self._turn = asyncio.Lock()

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The page in the format that the Accept field asks for, and its media type."""
        encode, content_type = choose_encoder(accept)
        async with self._turn:
            return await asyncio.to_thread(self._page, encode, [capture(self._source)]), content_type

    def _page(self, encode: Encode, captured: list[Capture]) -> bytes:
        """`captured` is emptied: the thread that runs this holds its arguments for a moment longer than we wait for it."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Scrape(self._collector, captured.pop()))
        registry.register(self._process)
        return encode(registry)
