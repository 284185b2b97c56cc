from typing import TypedDict

from proxyd_ext.core.stats import Histogram

class RouteCounters(TypedDict):
    requests: dict[tuple[str, int], int]   # by (method, status code)
    errors: dict[str, int]                 # by fault word
    duration_seconds: Histogram
    ttfb_seconds: Histogram
    bytes_in: int
    bytes_out: int

class RouteStats:
    listener: str
    route: str
    def __init__(self, listener: str, route: str) -> None: ...
    def stats(self) -> RouteCounters: ...
