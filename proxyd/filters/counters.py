"""What a filter has done, for metrics and `proxyd status`."""
from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal, get_args

from proxyd.filters.process import GoneWord
from proxyd.filters.protocol import HOOKS, HookWord

Result = Literal["passed", "changed", "replied", "error", "timeout", "crash", "refused"]
RESULTS: tuple[Result, ...] = get_args(Result)
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)      # seconds
RESTARTS: tuple[GoneWord, ...] = ("crash", "stuck", "garbage")
Reload = Literal["ok", "failed"]


@dataclass(slots=True)
class Durations:
    """Of calls, from the engine's question to the answer, waiting for a worker included. `counts`: one for each bucket, and the rest."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    sum: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True)
class FilterCounters:
    """Written on the loop, read on any thread: no dict ever gets another key. They outlive redefinitions of the policy.

    A call ends in exactly one of the results. refused: more were pending than `max_pending` allows. What became of the request of a call
    that failed is the engine's to count (`Hooks.stats`), as are the requests that nobody was asked about while the filter was disabled.
    """

    calls: dict[tuple[HookWord, Result], int] = field(default_factory=lambda: {(hook, result): 0 for hook in HOOKS for result in RESULTS})
    durations: dict[HookWord, Durations] = field(default_factory=lambda: {hook: Durations() for hook in HOOKS})
    restarts: dict[GoneWord, int] = field(default_factory=lambda: dict.fromkeys(RESTARTS, 0))
    reloads: dict[Reload, int] = field(default_factory=lambda: {"ok": 0, "failed": 0})      # for a changed file
    disabled: int = 0                      # how often it was


@dataclass(frozen=True, slots=True)
class FilterEntry:
    """One policy. `workers`: those that answer now; `wanted`: how many there should be."""

    policy: str
    counters: FilterCounters
    workers: int
    wanted: int
    pending: int
    disabled: bool
    stats: dict[str, int]                  # Hooks.stats
