"""The words of the bench: what is run (workload), by whom (contestant), where (placement), and what came out (run)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Family = Literal["nginx", "haproxy", "varnish", "proxyd", "floor"]
FAMILIES: tuple[Family, ...] = ("nginx", "haproxy", "varnish", "proxyd", "floor")
PEERS: tuple[Family, ...] = ("nginx", "haproxy", "varnish")
# family -> its program, where that has another name
BINARIES: Mapping[Family, str] = {"varnish": "varnishd"}
# What the origin sends, by the last segment of the path.
ANSWER_BYTES: Mapping[str, int] = {"64": 64, "10k": 10 * 1024, "1m": 1024 * 1024}
# Variants that do less than the others do: shown for whoever asks what it would change, never "the best peer".
# leanid: nginx's X-Request-ID from counters. Its own $request_id, 128 random bits as in the others, costs it 1 to 2 µs.
# open: without the policy that the others have.
LESSER_VARIANTS = frozenset({"leanid", "open"})
# What a route has beside its upstream. refused: a limit that every request is over; limited: one that none is; keys: one by a header field,
# of which a hundred come in turn (variant "100"), or a million ("1m"); jwt: tokens that are verified.
Policy = Literal["", "refused", "limited", "keys", "jwt"]
# Bytes of every answer where requests are refused: proxyd's own, the longest; the others are padded (templates.py).
REFUSED_BYTES = 423


@dataclass(frozen=True, slots=True)
class L4:
    """What the flows of a workload below HTTP do. Their number is the workload's `connections`; load/l4load.c says how."""

    protocol: Literal["tcp", "udp"] = "tcp"
    message: int = 64  # bytes of a request
    answer: int = 0  # bytes of its answer; 0: the request comes back
    fresh: bool = False  # a connection for each request
    window: int = 0  # flows that may wait for an answer at a time; 0: all
    unit: str = "round trip"  # what an answered request is called


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    title: str
    path: str = "/64"
    connections: int = 64
    script: str = "report.lua"
    script_args: tuple[str, ...] = ()
    close: bool = False  # a new client connection for every request
    servers: int = 1
    routes: int = 0  # 0: one route that takes everything
    access_log: bool = False
    from_memory: bool = False  # the proxy answers by itself; the origin must not be asked
    cached: bool = False  # the proxy has stored the origin's answer; it must not be asked again
    big: bool = False  # bodies worth splicing
    idle_connections: int = 0  # > 0: memory is measured, not CPU
    policy: Policy = ""
    fields: tuple[str, ...] = ()  # field lines that every request brings
    warm_up_seconds: float = 1.0
    l4: L4 | None = None  # no HTTP
    baseline: str = ""  # the variant that a program's other ways are held against, e.g. "open"
    # Ways in which a contestant may be tuned for this workload. Each is run; the best peer is the cheapest of them all.
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def variants_of(self, family: Family) -> tuple[str, ...]:
        if family == "varnish" and not self.cached:
            return ()  # a cache is not what its users put in front of what is not cached
        return self.variants.get(family, ("",))

    @property
    def unit(self) -> str:
        """What CPU is counted for."""
        return self.l4.unit if self.l4 else "request"

    @property
    def status(self) -> int:
        """Of every answer."""
        return 429 if self.policy == "refused" else 200

    @property
    def answer_bytes(self) -> int | None:
        """Size of the body that is asked for, where the path names one."""
        return ANSWER_BYTES.get(self.path.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Placement:
    """Which CPU runs what. S: load, proxy and origin share one. D: the proxy has one alone."""

    name: str
    proxy: frozenset[int]
    rest: frozenset[int]

    @property
    def title(self) -> str:
        if self.proxy == self.rest:
            return f"{self.name}: load, proxy and origin on CPU {_cpus(self.proxy)}"
        return f"{self.name}: proxy alone on CPU {_cpus(self.proxy)}, load and origin on CPU {_cpus(self.rest)}"


def _cpus(cpus: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk counted. `errors` holds connect, read, write, timeout and status (an answer with another status than all should have)."""

    requests: int
    duration_us: int
    bytes: int
    p50_us: float
    p99_us: float
    max_us: float
    errors: dict[str, int]
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.duration_us * 1e6


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant under one workload in one round."""

    contestant: str
    round: int
    cpu_seconds: float  # of the proxy's whole process group
    load: Load
    steal_percent: float  # of the CPUs used
    foreign_percent: float  # what others used of them, percent of one CPU
    ksoftirqd_percent: float  # kernel threads that may do the proxy's work without being charged to it
    faults: tuple[str, ...]  # why the run does not count; empty: it does

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / self.load.requests * 1e6 if self.load.requests else float("inf")

    @property
    def proxy_percent(self) -> float:
        return self.cpu_seconds / (self.load.duration_us / 1e6) * 100


@dataclass(frozen=True, slots=True)
class IdleMemory:
    """Process memory of one contestant without and with idle client connections, in bytes."""

    contestant: str
    connections: int
    rss_before: int
    rss_after: int
    pss_before: int
    pss_after: int
    faults: tuple[str, ...]

    @property
    def rss_each(self) -> float:
        return (self.rss_after - self.rss_before) / max(1, self.connections)

    @property
    def pss_each(self) -> float:
        return (self.pss_after - self.pss_before) / max(1, self.connections)


@dataclass(slots=True)
class WorkloadResult:
    workload: Workload
    placement: Placement
    runs: list[Run] = field(default_factory=list)
    idle: list[IdleMemory] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # contestant -> why it did not take part
    discarded: dict[int, str] = field(default_factory=dict)  # round -> why it does not count
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Environment:
    facts: dict[str, Any]
    command: Sequence[str]
