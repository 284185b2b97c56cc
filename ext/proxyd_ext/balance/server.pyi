from typing import Literal, TypedDict

from proxyd_ext.core.stats import Histogram

DownReason = Literal["health", "maint", "drain", "pending"]

class ServerState(TypedDict):
    usable: bool
    down: list[DownReason]
    ejected_for_ms: int
    ejections: int
    consecutive_failures: int

class ServerStats(TypedDict):
    in_flight: int
    connections_active: int
    connections_idle: int
    opened: int
    requests: dict[int, int]      # by status code; 0: codes that found no room in the table
    errors: dict[str, int]        # by fault word
    bytes_in: int
    bytes_out: int
    ejections: int

class UpstreamStats(TypedDict):
    response_seconds: Histogram
    connect_seconds: Histogram
    retries: dict[str, int]       # by the fault word that caused them

class Server:
    def __init__(self, upstream: str, label: str, address: tuple[str, int] | str) -> None: ...
    @property
    def upstream(self) -> str: ...
    @property
    def label(self) -> str: ...
    def set_down(self, reason: DownReason, on: bool) -> None: ...
    def eject(self, ms: int) -> None: ...
    def readmit(self) -> None: ...
    def state(self) -> ServerState: ...
    def stats(self) -> ServerStats: ...

class UpstreamState:
    name: str
    def __init__(self, name: str) -> None: ...
    def stats(self) -> UpstreamStats: ...
