"""A server that may be ejected: the counters that a test sets, and the time of a clock that it moves."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.clock import FakeClock


@dataclass
class FakeServer:
    """Stands in for `proxyd_ext.balance.server.Server`."""

    clock: FakeClock
    requests: dict[int, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    flows: int = 0
    latency_sum: float = 0.0
    latency_count: int = 0
    failures: int = 5                  # in a row
    down: list[str] = field(default_factory=list)
    until: float = 0.0
    ejections: int = 0
    in_row: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def ejected_for_ms(self) -> int:
        return max(round((self.until - self.clock.monotonic()) * 1000), 0)

    def state(self) -> dict[str, Any]:
        left = self.ejected_for_ms
        return {
            "usable": not self.down and not left, "down": self.down, "ejected_for_ms": left, "ejections": self.ejections,
            "ejections_in_row": self.in_row, "consecutive_failures": self.failures,
        }

    def stats(self) -> dict[str, Any]:
        return {
            "requests": dict(self.requests), "errors": dict(self.errors), "flows": self.flows,
            "latency_sum_seconds": self.latency_sum, "latency_count": self.latency_count,
        }

    def eject(self, ms: int) -> None:
        self.told.append(f"eject {ms}")
        self.until = self.clock.monotonic() + ms / 1000
        self.ejections += 1
        self.in_row += 1

    def forgive(self) -> None:
        self.in_row = max(self.in_row - 1, 0)

    def ramp(self) -> None:
        self.told.append("ramp")

    def serve(self, good: int, bad: int = 0, seconds: float = 0.01) -> None:
        """Answer so many requests, each in so many seconds."""
        self.requests[200] = self.requests.get(200, 0) + good
        self.requests[503] = self.requests.get(503, 0) + bad
        self.latency_count += good + bad
        self.latency_sum += (good + bad) * seconds
