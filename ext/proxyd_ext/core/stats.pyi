from typing import TypedDict

BUCKETS_SECONDS: tuple[float, ...]

class Histogram(TypedDict):
    """Counts per bucket (not cumulative): one per bound of BUCKETS_SECONDS and one above the last."""

    buckets: list[int]
    sum: float
    count: int
