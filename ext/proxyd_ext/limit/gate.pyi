from collections.abc import Sequence

class Gate:
    """The places of all routes; outlives snapshots. Times in microseconds of the engines' clock (CLOCK_MONOTONIC), which is read where
    `now_us` is not given."""

    def __init__(self) -> None: ...
    def configure(
        self,
        total: int,
        lanes: Sequence[tuple[Lane, int, int, int, int]],
        *,
        target_us: int = 20_000,
        interval_us: int = 100_000,
        now_us: int | None = None,
    ) -> None:
        """Take new bounds for everything at once: total places (0: no bound) and, of each lane, (lane, reserved, max, max_pending,
        queue_ms). max 0: as many as there are. Lanes that are not named have no reservation and no max, and nobody may wait there. What is
        in flight beyond new bounds finishes; who waits stays, and gets a place at once if there is one now. target_us 0: nothing is shed.

        ValueError, and nothing has changed: a bound is negative, more is reserved than there is, or than a lane may have.
        """
    def stats(self, now_us: int | None = None) -> dict[str, int]:
        """total, reserved, shared, shared_in_use, in_use, waiting, oldest_wait_us, standing (1: some queue is shed from)."""

class Lane:
    gate: Gate
    name: str
    def __init__(self, gate: Gate, name: str) -> None: ...
    def stats(self) -> dict[str, int]:
        """reserved, max, in_use, shared_in_use, waiting, admitted, queued, full, timeout, shed."""

def audit(gate: Gate) -> str:
    """What is wrong with counts, rings and queues; "": nothing. For tests, while nobody is at work."""

def count(lane: Lane, engine: int, result: int) -> None:
    """lane_count: LANE_* of gate.pxd. For tests and tools."""
