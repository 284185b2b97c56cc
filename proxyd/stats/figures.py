"""One row of figures: what a route, a server, an upstream or all of them together counted, as a flat tuple of integers.

A second of a thousand routes is a thousand such rows, so they are tuples and not objects; here is what stands where, and how rows are read
from native handles, added up and told (`Totals`).
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add, sub

from proxyd.governor.percentile import percentile
from proxyd_ext.core.stats import BUCKETS_SECONDS

Figures = tuple[int, ...]
"""As `RouteStats.figures` gives them: answers by class (CLASSES), failures, bytes in, bytes out, looked up in the cache, answered by it,
sum of response times in us, a count per bucket of response times."""

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
CLASS_5XX = 4
FAILURES, BYTES_IN, BYTES_OUT, CACHE_ASKED, CACHE_ANSWERED, SUM_US = range(len(CLASSES), len(CLASSES) + 6)
BUCKETS = SUM_US + 1
WIDTH = BUCKETS + len(BUCKETS_SECONDS) + 1
NOTHING: Figures = (0,) * WIDTH


def plus(a: Figures, b: Figures) -> Figures:
    return tuple(map(add, a, b))


def minus(a: Figures, b: Figures) -> Figures:
    return tuple(map(sub, a, b))


def total(rows: Iterable[Figures]) -> Figures:
    """The sum of rows, column by column."""
    return tuple(map(sum, zip(NOTHING, *rows, strict=True)))


def of_server(row: Sequence[int]) -> Figures:
    """Answers of a server, tries that failed, times to the head of an answer (their sum alone), of what `Server.figures` tells."""
    return (*row[:CACHE_ASKED], 0, 0, row[-1], *NOTHING[BUCKETS:])


def of_upstream(row: Sequence[int]) -> Figures:
    """The times alone, of what `UpstreamState.times` tells. What was answered is known of its servers."""
    return (*NOTHING[:SUM_US], *row)


def without_times(figures: Figures) -> Figures:
    return (*figures[:SUM_US], *NOTHING[SUM_US:])


@dataclass(frozen=True, slots=True)
class Totals:
    """What happened within a time.

    Of routes: `requests` are answers to clients, `errors` those with a 5xx, whoever made it, `proxy_errors` the answers that proxyd made of
    a failure (4xx too), times are those from the first byte of the request to the last of the answer. Of upstreams and servers: `requests`
    are tries, `errors` a 5xx or no answer, `proxy_errors` tries without an answer, times are those to the head of the answer.
    """

    seconds: float                 # that it spans
    requests: int
    errors: int
    proxy_errors: int
    classes: Mapping[str, int]     # answers by class: "2xx"; only those that there were
    bytes_in: int
    bytes_out: int
    cache_asked: int               # requests that looked up the cache
    cache_answered: int            # of them, those that cost no server a request of their own
    sum_seconds: float             # of response times
    buckets: tuple[int, ...]       # response times per bucket of BUCKETS_SECONDS, and above the last

    def quantile(self, share: float) -> float | None:
        """Seconds that `share` (0.95) of the response times do not exceed, interpolated within a bucket; None: there were none."""
        return percentile(self.buckets, BUCKETS_SECONDS, share) if any(self.buckets) else None

    @property
    def mean_seconds(self) -> float | None:
        answers = sum(self.classes.values())
        return self.sum_seconds / answers if answers else None


def totals_of(figures: Figures, seconds: float, *, tries: bool = False) -> Totals:
    """`tries`: they are those of a server or an upstream."""
    answers, failures = sum(figures[:len(CLASSES)]), figures[FAILURES]
    return Totals(
        seconds=seconds,
        requests=answers + failures if tries else answers,
        errors=figures[CLASS_5XX] + (failures if tries else 0),
        proxy_errors=failures,
        classes={word: count for word, count in zip(CLASSES, figures, strict=False) if count},
        bytes_in=figures[BYTES_IN],
        bytes_out=figures[BYTES_OUT],
        cache_asked=figures[CACHE_ASKED],
        cache_answered=figures[CACHE_ANSWERED],
        sum_seconds=figures[SUM_US] / 1e6,
        buckets=figures[BUCKETS:],
    )
