from collections.abc import Sequence

class Gate:
    """The places of all routes; outlives snapshots."""

    def __init__(self) -> None: ...
    def configure(
        self, total: int, lanes: Sequence[tuple[Lane, int, int, int, int]], *, target_us: int = 20_000, interval_us: int = 100_000
    ) -> None:
        """Take new bounds for everything at once: total places (0: no bound) and, of each lane, (lane, reserved, max, max_pending,
        queue_ms). max 0: as many as there are. Lanes that are not named have no reservation and no max. What is in flight beyond new bounds
        finishes."""
    def stats(self) -> dict[str, int]:
        """total, reserved, shared, shared_in_use, in_use, waiting, oldest_wait_us, standing (1: CoDel sheds)."""

class Lane:
    name: str
    def __init__(self, gate: Gate, name: str) -> None: ...
    def stats(self) -> dict[str, int]:
        """reserved, max, in_use, shared_in_use, waiting, admitted, queued, full, timeout, shed."""
