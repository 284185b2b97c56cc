"""The generic cell rate algorithm in plain Python and exact fractions (ITU-T I.371, annex A)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil


@dataclass(slots=True)
class Gcra:
    """Times in microseconds. `tat`: when the next request of a key would come if all came evenly."""

    requests: int
    per_us: int
    burst: int
    delay: int = -1
    tat: dict[int, Fraction] = field(default_factory=dict)

    @property
    def interval(self) -> Fraction:
        return Fraction(self.per_us, self.requests)

    def level(self, key: int, now_us: int) -> Fraction:
        return max(self.tat.get(key, Fraction(0)) - now_us, Fraction(0)) if key in self.tat else Fraction(0)

    def view(self, level: Fraction) -> dict[str, int]:
        room = (self.burst + 1) * self.interval
        return {
            "remaining": max(int((room - level) / self.interval), 0),
            "retry_us": max(ceil(level + self.interval - room), 0),
            "reset_us": ceil(level),
        }

    def take(self, key: int, now_us: int) -> tuple[str, dict[str, int]]:
        level = self.level(key, now_us)
        if level + self.interval > (self.burst + 1) * self.interval:
            return "refused", {"delay_us": 0, **self.view(level)}
        level += self.interval
        self.tat[key] = now_us + level
        held = level - (self.delay + 1) * self.interval if self.delay >= 0 else Fraction(0)
        return "delayed" if held > 0 else "passed", {"delay_us": max(ceil(held), 0), **self.view(level)}
