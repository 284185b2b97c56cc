"""The adaptive limit on requests at a time: finds by response times how much an upstream can take.

After Gradient2 of Netflix's concurrency-limits (github.com/Netflix/concurrency-limits, `Gradient2Limit`), with the formulas

    gradient = max(0.5, min(1, tolerance * long / short))
    limit'   = (1 - s) * limit + s * (gradient * limit + queue),   s = 0.2,  queue = sqrt(limit)

where `short` is the mean response time of the last sample and `long` what it usually is. While responses take up to `tolerance` times as
long as usual, the gradient is 1 and the limit grows by a part of the queue that is granted; when they take longer, requests wait inside the
upstream, and the limit shrinks in proportion. A limit that is not even half used says nothing about more and stays. Theirs, too: an
upstream that has recovered would be held against a `long` from its bad time, so that `long` falls by 5 % a sample while it is more than
twice `short`.

Two things are otherwise. Theirs lets `long`, an exponential average over about 600 samples, follow every sample; under an overload that
lasts it then follows the queueing that the limit itself admits, and the limit drifts to its maximum within minutes. Here `long` rises ten
times more slowly by samples in which the limit is half used or more: slow enough for an overload of minutes, and still an upstream that has
become slower for good is given its due within the hour. And the limit does not crawl up from its start: as long as it has never had to
shrink it doubles with each sample, as TCP does (RFC 5681 section 3.1).
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field

START = 20
SAMPLE_MIN = 10          # answers that make a sample
LONG_WINDOW = 600        # samples
USED_WINDOW = 6_000      # samples, for those that make `long` rise while the limit is used
SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class AdaptivePolicy:
    min: int = 10
    max: int = 1000
    tolerance: float = 2.0


@dataclass(slots=True)
class Gradient:
    policy: AdaptivePolicy
    limit: float = field(init=False)
    _long: float = math.inf        # seconds
    _samples: int = 0
    _doubling: bool = True         # it has never had to shrink

    def __post_init__(self) -> None:
        self.limit = self._bounded(START)

    def on_sample(self, short: float, in_flight: int) -> int:
        """`short`: mean response time in seconds of SAMPLE_MIN answers or more. Returns the limit from now on."""
        used = in_flight >= self.limit / 2
        self._remember(short, used)
        if used and short > 0:
            gradient = max(0.5, min(1.0, self.policy.tolerance * self._long / short))
            self._doubling &= gradient == 1.0
            wanted = gradient * self.limit + math.sqrt(self.limit)
            self.limit = self._bounded(2 * self.limit if self._doubling else (1 - SMOOTHING) * self.limit + SMOOTHING * wanted)
        return int(self.limit)

    def _remember(self, short: float, used: bool) -> None:
        self._samples += 1
        if self._samples == 1:
            self._long = short
        window = USED_WINDOW if used and short > self._long else LONG_WINDOW
        self._long += (short - self._long) * 2 / (window + 1)
        if self._long > 2 * short:
            self._long *= 0.95

    def _bounded(self, limit: float) -> float:
        return min(max(limit, self.policy.min), self.policy.max)
