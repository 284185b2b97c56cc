"""What another size would bring: the live miss-ratio curve of the store, as ratios and as a sentence.

The curve is sampled (see `proxyd_ext/cache`): for a few sizes, how many of the sampled requests a store of that size would have answered.
Both sides of a comparison come from the curve, so that its error does not look like a gain.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SAMPLES_MIN = 200        # sampled requests below which nothing is said
WORTH = 0.001            # share of the requests from which a gain is told as one

Curve = Sequence[tuple[int, int, int]]      # size in bytes, requests, hits


@dataclass(frozen=True, slots=True)
class CurvePoint:
    size_bytes: int
    scale: float           # of the size that is set
    requests: int          # sampled
    hit_ratio: float


def points(curve: Curve, limit: int) -> tuple[CurvePoint, ...]:
    """By size; those that no request has met are left out."""
    return tuple(
        CurvePoint(size, round(size / limit, 3) if limit else 0.0, requests, hits / requests)
        for size, requests, hits in sorted(curve) if requests
    )


def ratio_at(found: Sequence[CurvePoint], size: float) -> float | None:
    """The hit ratio at a size, between two points on the line through them; None outside of the curve, and where too little was seen."""
    seen = [point for point in found if point.requests >= SAMPLES_MIN]
    for low, high in pairwise(seen):
        if low.size_bytes <= size <= high.size_bytes:
            share = (size - low.size_bytes) / (high.size_bytes - low.size_bytes) if high.size_bytes > low.size_bytes else 0.0
            return low.hit_ratio + share * (high.hit_ratio - low.hit_ratio)
    return seen[0].hit_ratio if len(seen) == 1 and seen[0].size_bytes == size else None


def sentence(found: Sequence[CurvePoint], limit: int) -> str:
    """`with 2 GiB instead of 1 GiB the hit ratio would be 93.0% instead of 88.0%`; "" where the curve does not tell."""
    now, more, less = ratio_at(found, limit), ratio_at(found, 2 * limit), ratio_at(found, limit / 2)
    if now is None:
        return ""
    if more is not None and more - now >= WORTH:
        return f"with {size_text(2 * limit)} instead of {size_text(limit)} the hit ratio would be {percent(more)} instead of {percent(now)}"
    if less is not None and now - less < WORTH:
        return f"half as much would do: with {size_text(limit / 2)} instead of {size_text(limit)} the hit ratio would stay {percent(less)}"
    if less is not None:
        return f"with {size_text(limit / 2)} instead of {size_text(limit)} the hit ratio would be {percent(less)} instead of {percent(now)}"
    return ""


def percent(share: float) -> str:
    return f"{share * 100:.1f}%"


def size_text(size: float) -> str:
    """`512 B`, `64 KiB`, `1.5 GiB`."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.3g} {unit}" if size < 1000 << bits else f"{size / (1 << bits):.0f} {unit}"
    return f"{size:.0f} B"
