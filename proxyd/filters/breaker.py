"""When a filter that fails again and again is left alone: after so many failures in a row, for a pause; then it is tried, and one more
failure is enough. Each pause is twice as long as the one before, until a call succeeds."""
from __future__ import annotations

from dataclasses import dataclass

PAUSE_MAX = 600.0      # seconds


@dataclass(slots=True)
class Breaker:
    """The state, without the clock: the pool waits."""

    after: int                 # failures in a row; 0: never
    first_pause: float         # seconds
    failures: int = 0
    pauses: int = 0            # in a row
    disabled: bool = False

    def on_success(self) -> None:
        if not self.disabled:      # a call that was under way when it was disabled says nothing about the next trial
            self.failures = self.pauses = 0

    def on_failure(self) -> bool:
        """True: it is disabled now."""
        self.failures += 1
        if self.disabled or not self.after or self.failures < self.after:
            return False
        self.disabled = True
        self.pauses += 1
        return True

    @property
    def pause(self) -> float:
        return float(min(self.first_pause * 2 ** (self.pauses - 1), PAUSE_MAX))

    def on_pause_over(self) -> None:
        self.disabled = False
        self.failures = max(self.after - 1, 0)
