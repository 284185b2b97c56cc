"""When to leave a server alone: `failures` in a row open the circuit, and while it is open nobody asks.

There is no half-open state in which a client's request is the one that tries: the link tries by itself once `open_s` have passed
(`retry_in`), so that with a dead server no client waits for it after the circuit has opened.
"""
from __future__ import annotations

from proxyd.clock import Clock


class Circuit:
    __slots__ = ("_clock", "_failures", "_in_a_row", "_retry_at", "open_s", "opened")

    def __init__(self, failures: int, open_s: float, clock: Clock) -> None:
        self._failures = failures
        self.open_s = open_s       # may be changed; the next time that it opens
        self._clock = clock
        self._in_a_row = 0
        self._retry_at: float | None = None
        self.opened = 0            # times

    @property
    def open(self) -> bool:
        return self._retry_at is not None

    def retry_in(self) -> float:
        """Seconds until it may be tried; 0.0 when it is closed or the time has come."""
        return 0.0 if self._retry_at is None else max(0.0, self._retry_at - self._clock.monotonic())

    def succeeded(self) -> None:
        self._in_a_row = 0
        self._retry_at = None

    def failed(self) -> bool:
        """True if this failure opened it. One more failure while it is open starts its time anew."""
        self._in_a_row += 1
        if self._in_a_row < self._failures and self._retry_at is None:
            return False
        newly = self._retry_at is None
        self._retry_at = self._clock.monotonic() + self.open_s
        self.opened += newly
        return newly
