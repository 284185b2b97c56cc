from collections.abc import Sequence
from typing import Literal, TypedDict

from proxyd_ext.core.stats import Histogram
from proxyd_ext.snapshot.spec import Balance, UpstreamSpec

Circuit = Literal["closed", "open", "half_open"]

class PoolDescription(TypedDict):
    balance: Balance
    panic: bool
    ignores_health: bool
    tier: int                                # of the members that are drawn from; -1: there are none
    levels: int                              # sets of members to fall back on, this one included
    active: list[tuple[str, float]]          # (label, weight as it counts now)

class Hedges(TypedDict):
    begun: int
    won: int

class Probes(TypedDict):
    ok: int
    failed: int

class MirrorSkipped(TypedDict):
    in_flight: int                # too many copies were under way
    body: int                     # not every byte of the request was at hand

class MirrorStats(TypedDict):     # copies made for this upstream
    sent: int                     # given to a server
    answered: int
    failed: int                   # no server, or no whole answer in time
    skipped: MirrorSkipped

class UpstreamStats(TypedDict):
    response_seconds: Histogram
    connect_seconds: Histogram
    retries: dict[str, int]                  # by the fault word or status that caused them
    refused: dict[str, int]                  # by fault word
    finished: int                            # tries that ended
    failed: int                              # of them, with a 5xx or a fault
    hedges: Hedges
    in_flight: int
    retries_in_flight: int
    pending: int
    limit: int
    hedge_ms: int
    circuit: Circuit
    probes: Probes
    mirror: MirrorStats
    copies_in_flight: int

class Pool:
    spec: UpstreamSpec
    def __init__(self, spec: UpstreamSpec, engines: int = 0) -> None: ...
    @property
    def ramping(self) -> bool: ...
    def describe(self) -> PoolDescription: ...
    def named(self, sticky_id: bytes) -> int: ...
    @property
    def max_ejected(self) -> int: ...
    def pick(
        self, key: int = 0, now_ms: int | None = None, tried: Sequence[int] = (), seed: int = 0, by_key: bool = False, sticky: int = -1
    ) -> int: ...
    def done(self, number: int, took_us: int | None = None, now_ms: int | None = None) -> None: ...
    def sequence(self, count: int, keys: Sequence[int] | None = None, seed: int = 1) -> list[int]: ...
    def cost(self, count: int, busy: int = 0) -> float: ...

class UpstreamState:
    name: str
    pool: Pool | None
    def __init__(self, name: str) -> None: ...
    def use(self, pool: Pool) -> None: ...
    def set_on_down(self, close: bool) -> None: ...
    def set_max_requests(self, most: int) -> None: ...
    def set_limit(self, most: int) -> None: ...
    def set_circuit(self, circuit: Circuit, probes: int = 0) -> None: ...
    def set_hedge_ms(self, ms: int) -> None: ...
    def set_shedding(self, target_us: int, interval_us: int) -> None: ...
    @property
    def shedding(self) -> tuple[int, int]:
        """(target_us, interval_us)"""
    def stats(self) -> UpstreamStats: ...
    def times(self) -> tuple[int, ...]:
        """Of answers, to their head: (sum in us, a count per bucket), for a reader that comes every second."""
