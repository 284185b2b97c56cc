"""What the collector reads. `capture` takes it on the main thread; the numbers behind the handles may then be read on any thread."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxyd.metrics.admin import AdminCounts
from proxyd.state import CacheEntry, EngineEntry, LimitEntries, ListenerEntry, LogEntry, Phase, RouteEntry, TraceEntry, UpstreamEntry
from proxyd.tally import Stats, Tallies


class MetricsSource(Protocol):
    """The part of the daemon that metrics are made of."""

    @property
    def config_hash(self) -> str: ...

    @property
    def reloads(self) -> dict[str, int]: ...

    @property
    def last_reload_at(self) -> float: ...

    @property
    def last_reload_ok(self) -> bool: ...

    @property
    def max_series(self) -> int: ...

    @property
    def audit_failed(self) -> int: ...

    @property
    def admin_counts(self) -> AdminCounts: ...

    @property
    def phase(self) -> Phase: ...

    @property
    def tallies(self) -> Tallies: ...

    def listener_entries(self) -> tuple[ListenerEntry, ...]: ...

    def route_entries(self) -> tuple[RouteEntry, ...]: ...

    def upstream_entries(self) -> tuple[UpstreamEntry, ...]: ...

    def engine_entries(self) -> tuple[EngineEntry, ...]: ...

    def cache_entry(self) -> CacheEntry | None: ...

    def log_entries(self) -> tuple[LogEntry, ...]: ...

    def limit_entries(self) -> LimitEntries: ...

    def trace_entry(self) -> TraceEntry | None: ...

    @property
    def records_dropped(self) -> int: ...

    @property
    def records_held(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class Capture:
    """One moment of the daemon: which handles serve, and the facts that only the main thread may look up."""

    config_hash: str
    reloads: Mapping[str, int]
    last_reload_at: float
    last_reload_ok: bool
    max_series: int
    phase: Phase
    listeners: tuple[ListenerEntry, ...]
    routes: tuple[RouteEntry, ...]
    upstreams: tuple[UpstreamEntry, ...]
    engines: tuple[EngineEntry, ...]
    logs: tuple[LogEntry, ...]
    cache: CacheEntry | None = None
    limits: LimitEntries = field(default_factory=LimitEntries)
    traces: TraceEntry | None = None
    records_dropped: int = 0
    records_held: Mapping[str, int] = field(default_factory=dict)      # by class
    audit_failed: int = 0
    admin: AdminCounts = field(default_factory=AdminCounts)
    gone: Mapping[tuple[str, str], Stats] = field(default_factory=dict)      # what listeners counted with sockets that they have no more


def capture(source: MetricsSource) -> Capture:
    return Capture(
        config_hash=source.config_hash,
        reloads=dict(source.reloads),
        last_reload_at=source.last_reload_at,
        last_reload_ok=source.last_reload_ok,
        max_series=source.max_series,
        phase=source.phase,
        listeners=source.listener_entries(),
        routes=source.route_entries(),
        upstreams=source.upstream_entries(),
        engines=source.engine_entries(),
        logs=source.log_entries(),
        cache=source.cache_entry(),
        limits=source.limit_entries(),
        traces=source.trace_entry(),
        records_dropped=source.records_dropped,
        records_held=source.records_held,
        audit_failed=source.audit_failed,
        admin=source.admin_counts,
        gone={key: past.stats for key, past in source.tallies.listeners.pasts().items()},
    )
