"""Percentiles of recent response times, from histograms that only grow: after how long a hedged request sends its second try."""
from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

WINDOW = 10.0            # seconds that "recent" spans
SAMPLES_MIN = 100        # fewer answers within it tell nothing about a tail


@dataclass(slots=True)
class HedgeDelay:
    share: float                               # 0.95: the 95th percentile
    bounds: Sequence[float]                    # upper bounds of the buckets in seconds; one more bucket has none
    _looks: deque[tuple[float, list[int]]] = field(default_factory=deque)

    def on_look(self, now: float, buckets: Sequence[int]) -> int:
        """The delay in milliseconds, given the histogram's counts at this moment; 0 = not known, do not hedge."""
        self._looks.append((now, list(buckets)))
        # The newest look that is a window old (or the oldest there is) is where the window begins.
        while len(self._looks) > 1 and self._looks[1][0] <= now - WINDOW:
            self._looks.popleft()
        recent = [after - before for before, after in zip(self._looks[0][1], buckets, strict=True)]
        if sum(recent) < SAMPLES_MIN:
            return 0
        return max(round(percentile(recent, self.bounds, self.share) * 1000), 1)


def percentile(buckets: Sequence[int], bounds: Sequence[float], share: float) -> float:
    """Seconds that `share` of the observations do not exceed, taken as evenly spread within their bucket. `buckets` are not all zero; those
    beyond the last bound count as being on it."""
    rank, below = share * sum(buckets), 0
    low = 0.0
    for count, bound in zip(buckets, bounds, strict=False):
        if count and below + count >= rank:
            return low + (bound - low) * (rank - below) / count
        below += count
        low = bound
    return bounds[-1]
