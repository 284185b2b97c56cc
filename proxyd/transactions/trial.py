"""A config on trial: from the reload until it is kept or gone back from. Arithmetic only; `service.py` looks at it, and acts.

It is gone back from as soon as a condition of its guard holds, or when nobody has confirmed it in time. It is kept when somebody confirms
it (which ends the guard, too: a person has decided), or when the guard's time is over and no confirmation was asked for.
"""
from __future__ import annotations

from dataclasses import dataclass

from proxyd.state import TrialView
from proxyd.transactions.guard import Condition, Figures, seconds_text
from proxyd.transactions.terms import Terms


@dataclass(frozen=True, slots=True)
class Verdict:
    kept: bool
    why: str                     # "the guard held for 30s", "10.2% errors among 512 requests, the guard allows 2%"
    by_guard: bool = True


class Trial:
    def __init__(self, entry: int, back_to: int, terms: Terms, *, now: float, wall: float) -> None:
        """`entry` serves since `now` (monotonic; `wall` for people), and `back_to` did before; both are numbers in the history."""
        self.entry, self.back_to, self.terms = entry, back_to, terms
        self._began, self._wall = now, wall
        self._watched: list[Condition] = list(terms.guard.conditions) if terms.guard is not None else []

    def look(self, now: float, figures: Figures) -> Verdict | None:
        """None: it goes on."""
        elapsed = now - self._began
        for condition in list(self._watched):
            over = elapsed >= condition.seconds
            reason = condition.judge(figures, self._began, at_end=over)
            if reason:
                return Verdict(False, f"{reason}, after {seconds_text(elapsed)}")
            if over:
                self._watched.remove(condition)
        confirm = self.terms.confirm
        if confirm is not None:
            late = elapsed >= confirm
            return Verdict(False, f"nobody confirmed it within {seconds_text(confirm)}", by_guard=False) if late else None
        if self._watched or self.terms.guard is None:
            return None
        return Verdict(True, f"the guard held for {seconds_text(self.terms.guard.seconds)}")

    def view(self) -> TrialView:
        guard, confirm = self.terms.guard, self.terms.confirm
        return TrialView(
            entry=self.entry,
            back_to=self.back_to,
            guard=str(guard or ""),
            guard_until=self._wall + guard.seconds if guard is not None and self._watched else 0.0,
            confirm_until=self._wall + confirm if confirm is not None else 0.0,
        )
