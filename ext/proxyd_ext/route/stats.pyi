from typing import TypedDict

from proxyd_ext.core.stats import Histogram

class RouteCounters(TypedDict):
    requests: dict[tuple[str, int], int]   # by (method, status code)
    errors: dict[str, int]                 # by fault word
    duration_seconds: Histogram
    ttfb_seconds: Histogram
    bytes_in: int
    bytes_out: int
    cache: dict[str, int]                  # by the cache's word; empty if no request met a cache
    cache_bytes: int                       # of the bytes out: bodies that came from memory

class RouteStats:
    listener: str
    route: str
    def __init__(self, listener: str, route: str) -> None: ...
    def stats(self) -> RouteCounters: ...
    def figures(self) -> tuple[int, ...]:
        """The same in short, for a reader that comes every second: (answers 1xx, 2xx, 3xx, 4xx, 5xx, other, failures, bytes in, bytes out,
        looked up in the cache, answered by it, sum of durations in us, a count per bucket of durations)."""

def count_cache(stats: RouteStats, engine: int, result: int, body_bytes: int = 0) -> None:
    """Count a request as an engine does, for tests; ValueError where CACHE_* has no such number."""
