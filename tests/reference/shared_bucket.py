"""A bucket that several proxies share, as the store of leases keeps it: what was used is charged whatever there is, of what is asked as
much is given as there is. Exact fractions, times in microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil


@dataclass(slots=True)
class SharedBucket:
    requests: int
    per_us: int
    burst: int
    spent: Fraction = Fraction(0)      # tokens that are missing; more than burst + 1: debt
    at_us: int = 0

    def settle(self, used: int, asked: int, now_us: int) -> tuple[int, int]:
        """(tokens given, microseconds until there is one more)."""
        self.spent = max(self.spent - Fraction((now_us - self.at_us) * self.requests, self.per_us), Fraction(0)) + used
        self.at_us = now_us
        given = max(min(asked, int(self.burst + 1 - self.spent)), 0)
        self.spent += given
        return given, max(ceil((self.spent + 1 - (self.burst + 1)) * self.per_us / self.requests), 0)
