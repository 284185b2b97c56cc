"""A config on trial: from the reload until it is kept or gone back from. Arithmetic only; `service.py` looks at it, and acts.

It is gone back from as soon as a condition of its guard holds, or when nobody has confirmed it in time. It is kept when somebody confirms
it (which ends the guard, too: a person has decided), or when the guard's time is over and no confirmation was asked for.

A daemon that ends does not end it: the next process goes on with what is left of its time. What a guard saw is lost then, so one whose time
is over by then has not held: a config that kills its daemon again and again is gone back from, too.
"""
from __future__ import annotations

from dataclasses import dataclass

from proxyd.state import TrialView
from proxyd.transactions.entry import Tried
from proxyd.transactions.guard import Condition, Figures, seconds_text
from proxyd.transactions.terms import Terms

GRACE = 10.0      # seconds that a trial has at least when another process goes on with it


@dataclass(frozen=True, slots=True)
class Verdict:
    kept: bool
    why: str                     # "the guard held for 30s", "10.2% errors among 512 requests, the guard allows 2%"
    by_guard: bool = True


class Trial:
    def __init__(self, entry: int, tried: Tried, *, now: float, wall: float, elapsed: float | None = None) -> None:
        """`entry`, a number in the history, serves since `now` (monotonic; `wall` for people); or, under another process at first, since
        `elapsed` seconds."""
        self.entry, self.back_to, self.terms = entry, tried.back_to, tried.terms
        self.resumed = elapsed is not None
        elapsed = max(min(elapsed or 0.0, _seconds(self.terms) - GRACE), 0.0)
        self._began, self._wall = now - elapsed, wall - elapsed
        self._watched: list[Condition] = list(self.terms.guard.conditions) if self.terms.guard is not None else []

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


def missed(terms: Terms, elapsed: float) -> Verdict | None:
    """Of a trial that a process finds `elapsed` seconds after its beginning: None, it can go on."""
    if terms.confirm is not None:
        late = elapsed >= terms.confirm
        return Verdict(False, f"nobody confirmed it within {seconds_text(terms.confirm)}", by_guard=False) if late else None
    if elapsed < _seconds(terms) + GRACE:
        return None
    return Verdict(False, f"the daemon ended, and the {seconds_text(_seconds(terms))} of the guard were over before it was back")


def _seconds(terms: Terms) -> float:
    """Until it is decided at the latest."""
    return terms.confirm if terms.confirm is not None else terms.guard.seconds if terms.guard is not None else 0.0
