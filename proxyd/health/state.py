"""What a row of check results means: the state machine of one (server, check), without I/O and without time of its own.

    unknown --passed--> up          the first result decides at once: nothing is known that it could contradict
    unknown --failed--> down
    up      --failed x fall in a row--> down
    down    --passed x rise in a row--> up
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["unknown", "up", "down"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One result of one check. `reason` says in plain words why it failed ("" when it passed)."""

    passed: bool
    reason: str
    duration_seconds: float


@dataclass(slots=True)
class CheckState:
    rise: int
    fall: int
    verdict: Verdict = "unknown"
    last: Outcome | None = None
    at: float = 0.0                    # wall time of `last`
    passed: int = 0
    failed: int = 0
    streak: int = 0                    # equal results in a row, up to the last one

    def on_outcome(self, outcome: Outcome, at: float) -> bool:
        """Count a result. True when the verdict changed."""
        same = self.last is not None and self.last.passed == outcome.passed
        self.streak = self.streak + 1 if same else 1
        self.last, self.at = outcome, at
        if outcome.passed:
            self.passed += 1
        else:
            self.failed += 1
        before = self.verdict
        if before == "unknown":
            self.verdict = "up" if outcome.passed else "down"
        elif before == "up" and not outcome.passed and self.streak >= self.fall:
            self.verdict = "down"
        elif before == "down" and outcome.passed and self.streak >= self.rise:
            self.verdict = "up"
        return self.verdict != before
