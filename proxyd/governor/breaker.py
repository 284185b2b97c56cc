"""The circuit breaker by error ratio: when most of what an upstream does fails, stop asking it for a while, then try with a few requests.

    closed     -- failed / finished >= error_ratio over the window, of min_requests at least --> open
    open       -- open_for, doubled with each failed trial, eight times at most -------------> half_open
    half_open  -- `probes` trial requests went well -----------------------------------------> closed
    half_open  -- one of them failed --------------------------------------------------------> open

(The states are those of M. Nygard, "Release It!", chapter "Circuit Breaker".) While it is open the engines refuse with `circuit_open`;
while it is half open they let `probes` requests through and refuse the others.

A trial request may end without telling anything (its client went away). So when a trial has told nothing new for `open_for`, the rest of
it is granted again; otherwise a breaker whose last probe got lost would refuse for ever.
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

CircuitState = Literal["closed", "open", "half_open"]

GROWTH_MAX = 8


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    error_ratio: float             # 0 to 1
    window: float = 10.0           # seconds
    min_requests: int = 20
    open_for: float = 10.0         # seconds
    probes: int = 3

    @property
    def period(self) -> float:
        """Seconds from one look to the next: the window slides in fifty steps, but nobody looks more often than ten times a second."""
        return min(max(self.window / 50, 0.1), 1.0)


@dataclass(frozen=True, slots=True)
class Counts:
    """What the upstream did; the difference of two is what it did in between."""

    finished: int                  # tries that ended, trials included
    failed: int                    # of those: 5xx, or no answer
    probes_ok: int
    probes_failed: int

    def __sub__(self, before: Counts) -> Counts:
        return Counts(
            self.finished - before.finished, self.failed - before.failed,
            self.probes_ok - before.probes_ok, self.probes_failed - before.probes_failed,
        )


@dataclass(frozen=True, slots=True)
class Order:
    """What the engines are to be told."""

    state: CircuitState
    probes: int = 0                # trial requests granted, with half_open


@dataclass(slots=True)
class Breaker:
    """`now` is of any clock that never goes back; each call is to bring a `now` that is not earlier than the last."""

    policy: BreakerPolicy
    state: CircuitState = "closed"
    reason: str = ""               # why it is in this state, in plain words; "" while closed
    _recent: deque[tuple[float, int, int]] = field(default_factory=deque)    # (at, finished, failed) of each look
    _moved: float = 0.0            # when the state changed, a trial told something, or one was granted again
    _good: int = 0                 # trial requests that went well
    _growth: int = 1               # of open_for

    def on_look(self, now: float, did: Counts) -> Order | None:
        """`did`: what happened since the last call. Returns what is new for the engines."""
        match self.state:
            case "closed":
                return self._judge(now, did)
            case "open":
                if now - self._moved >= self.open_seconds:
                    self._good = 0
                    return self._enter("half_open", now, f"trying {self.policy.probes} requests")
            case "half_open":
                return self._judge_trial(now, did)
        return None

    @property
    def open_seconds(self) -> float:
        """How long it stays open, or stayed last time."""
        return self.policy.open_for * self._growth

    def _judge(self, now: float, did: Counts) -> Order | None:
        policy, recent = self.policy, self._recent
        recent.append((now, did.finished, did.failed))
        while recent[0][0] <= now - policy.window:
            recent.popleft()
        finished, failed = sum(count for _, count, _ in recent), sum(count for _, _, count in recent)
        if finished < max(policy.min_requests, 1) or failed / finished < policy.error_ratio:
            return None
        self._growth = 1
        return self._enter("open", now, f"{failed / finished * 100:.0f} % of {finished} requests failed within {policy.window:g} s")

    def _judge_trial(self, now: float, did: Counts) -> Order | None:
        if did.probes_failed:
            self._growth = min(self._growth * 2, GROWTH_MAX)
            return self._enter("open", now, "a trial request failed")
        self._good += did.probes_ok
        if self._good >= self.policy.probes:
            return self._enter("closed", now, "")
        if did.probes_ok:
            self._moved = now
        elif now - self._moved >= self.policy.open_for:
            self._moved = now
            return self._order()
        return None

    def _enter(self, state: CircuitState, now: float, reason: str) -> Order:
        self.state, self.reason, self._moved = state, reason, now
        self._recent.clear()
        return self._order()

    def _order(self) -> Order:
        return Order(self.state, self.policy.probes - self._good if self.state == "half_open" else 0)
