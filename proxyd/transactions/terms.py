"""On what terms a config is taken: who asks for it, and what it is tried by."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proxyd.transactions.guard import Guard, seconds_text

How = Literal["start", "reload", "api", "watch", "signal", "rollback", "guard", "confirm"]


@dataclass(frozen=True, slots=True)
class By:
    """Who orders something, from where, and by which way."""

    who: str = "proxyd"
    origin: str = "self"
    how: How = "api"


BY_ITSELF = By()
SIGNAL = By("signal", "SIGHUP", "signal")
WATCH = By("watch", "file", "watch")


@dataclass(frozen=True, slots=True)
class Terms:
    """A config with neither is taken for good."""

    guard: Guard | None = None
    confirm: float | None = None       # seconds within which somebody must confirm it

    def __bool__(self) -> bool:
        return self.guard is not None or self.confirm is not None

    def __str__(self) -> str:
        parts = [f"guard {self.guard}"] if self.guard is not None else []
        return ", ".join([*parts, *([f"to be confirmed within {seconds_text(self.confirm)}"] if self.confirm is not None else [])])


UNCONDITIONAL = Terms()
