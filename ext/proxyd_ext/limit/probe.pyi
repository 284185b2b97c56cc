"""For tests: requests at the gate and in the table of requests in flight, one at a time or by threads."""
from collections.abc import Sequence
from typing import Literal

from proxyd_ext.limit.gate import Lane
from proxyd_ext.limit.inflight import Inflight

class GateProbe:
    """A request of a lane. ValueError where a request cannot do that now. What it holds it gives back when it goes."""

    def __init__(self, lane: Lane, *, intruder: bool = False) -> None:
        """intruder: whenever it is woken, somebody else tries to enter the lane."""
    def enter(self) -> bool: ...
    def wait(self, priority: int, now_us: int) -> Literal["in", "waits", "full"]: ...
    def told(self) -> Literal["", "granted", "shed"]: ...
    def abandon(self, now_us: int) -> None: ...
    def leave(self, now_us: int) -> None: ...
    @property
    def woken(self) -> int:
        """How often."""
    @property
    def intruded(self) -> int:
        """How many got in so."""

class Churn:
    """Requests that come, wait, are granted or shed, give up and leave at random, 24 of each worker; a worker is for one thread."""

    def __init__(self, lanes: Sequence[Lane], most: Sequence[int], total: int, *, workers: int = 4, seed: int = 0) -> None:
        """most: of each lane, and total: what is never to be exceeded; 0: not checked."""
    def run(self, worker: int, rounds: int) -> bool:
        """Without the GIL. At the end all of the worker's requests leave or are waited for; False: one was never told anything."""
    def counts(self) -> dict[str, int]:
        """entered (at once), granted, shed, full, gave_up (before they were told), too_late (after), woken (times), over (times that more
        were inside than the bounds allow), inside. When all have ended."""

class InflightChurn:
    """Threads that take and give at random."""

    def __init__(self, inflight: Inflight, keys: Sequence[int], most: int) -> None: ...
    def run(self, rounds: int, seed: int) -> dict[str, int]:
        """Without the GIL; all is given back at the end. taken, refused."""
    @property
    def overs(self) -> int:
        """How often more than `most` of a key were in flight."""
