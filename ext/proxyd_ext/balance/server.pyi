from typing import Literal, TypedDict

DownReason = Literal["health", "maint", "drain", "pending"]

class ServerState(TypedDict):
    usable: bool
    down: list[DownReason]
    ejected_for_ms: int
    ejections: int
    ejections_in_row: int
    consecutive_failures: int

class ServerStats(TypedDict):
    in_flight: int
    connections_active: int
    connections_idle: int
    opened: int
    flows: int                    # connections and UDP flows of L4 listeners that it took
    requests: dict[int, int]      # by status code; 0: codes that found no room in the table
    errors: dict[str, int]        # by fault word
    bytes_in: int
    bytes_out: int
    ejections: int
    latency_count: int            # answers
    latency_sum_seconds: float    # from the request given to the head of the answer
    ewma_seconds: float           # peak EWMA of the same; 0: nothing known

class Server:
    def __init__(self, upstream: str, label: str, address: tuple[str, int] | str) -> None: ...
    @property
    def upstream(self) -> str: ...
    @property
    def label(self) -> str: ...
    def set_down(self, reason: DownReason, on: bool) -> None: ...
    def eject(self, ms: int) -> None: ...
    def readmit(self) -> None: ...
    def forgive(self) -> None: ...
    def ramp(self) -> None: ...
    def state(self) -> ServerState: ...
    def stats(self) -> ServerStats: ...
    def figures(self) -> tuple[int, ...]:
        """Counters in short, for a reader that comes every second: (answers 1xx, 2xx, 3xx, 4xx, 5xx, other, failures, bytes in, bytes out,
        sum of times to the head of the answer in us)."""
