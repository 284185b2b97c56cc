"""What can be asked of a daemon: views for people and the admin API, native handles for those who read counters. Nothing here changes
anything."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from proxyd.caching.purge import urls_of
from proxyd.snapshot.explain import Question, explain
from proxyd.snapshot.explain_flow import FlowQuestion, explain_flow
from proxyd.state import EngineEntry, StatusView
from proxyd.words import one_line, own_version

if TYPE_CHECKING:
    from proxyd.audit.trail import Audit
    from proxyd.caching.report import CacheView, ObjectView, WhyView
    from proxyd.caching.service import Caching
    from proxyd.clock import Clock
    from proxyd.config.model import Config
    from proxyd.engines import EngineSet
    from proxyd.gateway.views import AuthView, UsageOfQuotas
    from proxyd.limits.views import KeyView, LimitsView, LimitView
    from proxyd.metrics.exposition import Exposition
    from proxyd.policing import Policing
    from proxyd.records.tap import Tap
    from proxyd.serverstate import ServerState
    from proxyd.serving import Serving
    from proxyd.state import (
        CacheEntry,
        LimitEntries,
        ListenerEntry,
        LogEntry,
        Phase,
        RouteDecision,
        RouteEntry,
        RouteView,
        TraceEntry,
        UpstreamEntry,
        UpstreamView,
    )
    from proxyd.tally import Tallies
    from proxyd.tracing.exporter import Exporter
    from proxyd.transactions.reloading import Reloading
    from proxyd.transactions.service import Transactions

class Facts:
    """The half of `Daemon` that answers. What it asks is declared here, and made by the other half."""

    metrics: Exposition
    records: Tap
    audit: Audit
    _path: Path | None
    _clock: Clock
    _phase: Phase
    _started_at: float
    _threads: int
    _engines: EngineSet
    _serving: Serving
    _reloading: Reloading
    _transactions: Transactions
    _caching: Caching
    _policing: Policing
    _traces: Exporter
    _server_state: ServerState

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def config(self) -> Config:
        """The config that serves now (canonical form)."""
        return self._serving.compiled.config

    @property
    def config_text(self) -> str:
        """The text that the running config was loaded from (main file only)."""
        return self._reloading.loaded.text

    @property
    def config_path(self) -> Path | None:
        return self._path

    @property
    def config_hash(self) -> str:
        return self._serving.compiled.config_hash

    @property
    def generation(self) -> int:
        return self._serving.compiled.generation

    def status(self) -> StatusView:
        views, now = self._serving.views, self._clock.wall()
        upstreams = views.upstreams()
        not_ready = self._not_ready(upstreams)
        return StatusView(
            version=own_version(),
            pid=os.getpid(),
            phase=self._phase,
            started_at=self._started_at,
            uptime_seconds=now - self._started_at,
            config_path=str(self._path or ""),
            config_hash=self.config_hash,
            generation=self.generation,
            threads=self._threads,
            ready=not not_ready,
            not_ready=not_ready,
            last_reload=self._reloading.last,
            listeners=views.listeners(),
            upstreams=upstreams,
            engines=self._engines.views(),
            warnings=(
                *map(one_line, self._reloading.findings()),
                *self._server_state.warnings(self._serving.overrides),
                *self._transactions.warnings(), *self.metrics.warnings(), *self._traces.warnings(),
            ),
            serving=self._transactions.view(),
            audit=self.audit.view(),
        )

    def upstreams(self) -> tuple[UpstreamView, ...]:
        return self._serving.views.upstreams()

    def upstream(self, name: str) -> UpstreamView | None:
        return self._serving.views.upstream(name) if name in self.config.upstreams else None

    def routes(self) -> tuple[RouteView, ...]:
        return self._serving.views.routes()

    def not_ready(self) -> tuple[str, ...]:
        """What keeps the daemon from being ready, as sentences; empty = ready (`/ready`)."""
        return self._not_ready(self.upstreams() if self._phase == "serving" else ())

    def _not_ready(self, upstreams: tuple[UpstreamView, ...]) -> tuple[str, ...]:
        if self._phase != "serving":
            return (f"proxyd is {self._phase}",)
        return tuple(self._serving.views.not_ready(upstreams))

    def explain(self, question: Question) -> tuple[RouteDecision, ...]:
        """What a request would meet, one decision for every listener address (or those of one listener).

        For a dry run without a daemon: `proxyd.snapshot.explain.explain_config(config, question)` gives the same.
        """
        return explain(self._serving.compiled, question, self._serving.views, self._policing.limits.peek)

    def explain_flow(self, question: FlowQuestion) -> tuple[RouteDecision, ...]:
        """What a connection, or a datagram, would meet at each listener address that it could go to."""
        return explain_flow(self._serving.compiled, question, self._serving.views)

    def cache(self) -> CacheView:
        return self._caching.view(self.route_entries())

    def cache_objects(self, url: str) -> tuple[ObjectView, ...]:
        """What is stored under the URL, markers too. ValueError where it is none."""
        return self._caching.find(tuple(urls_of(url)))

    def cache_why(self, url: str, question: Question) -> WhyView:
        """What is stored under the URL, or why nothing is. `question`: a GET for it. ValueError where it is none."""
        return self._caching.why(tuple(urls_of(url)), self._serving.compiled, self.explain(question))

    def auth(self) -> AuthView:
        return self._policing.gateway.view()

    def auth_usage(self) -> UsageOfQuotas:
        return self._policing.gateway.usage_view()

    def limits(self) -> LimitsView:
        return self._policing.limits.view()

    def limit(self, policy: str) -> LimitView:
        """LimitError: there is none."""
        return self._policing.limits.one(policy)

    def limit_key(self, policy: str, key: Sequence[str]) -> KeyView:
        """What a limit says to a key, one text for each of its parts. LimitError."""
        return self._policing.limits.key(policy, key)

    # ------------------------------------------------------------------ native handles, for the metrics collector
    @property
    def tallies(self) -> Tallies:
        return self._serving.store.tallies

    def listener_entries(self) -> tuple[ListenerEntry, ...]:
        return self._serving.views.listener_entries()

    def route_entries(self) -> tuple[RouteEntry, ...]:
        return self._serving.views.route_entries()

    def upstream_entries(self) -> tuple[UpstreamEntry, ...]:
        return self._serving.views.upstream_entries()

    def engine_entries(self) -> tuple[EngineEntry, ...]:
        return tuple(EngineEntry(index, engine) for index, engine in enumerate(self._engines.engines))

    def cache_entry(self) -> CacheEntry | None:
        return self._caching.entry()

    def limit_entries(self) -> LimitEntries:
        return self._policing.limits.entries()

    def log_entries(self) -> tuple[LogEntry, ...]:
        return self._serving.sink.entries() if self._serving.sink is not None else ()

    def trace_entry(self) -> TraceEntry | None:
        return self._traces.entry()

    @property
    def records_dropped(self) -> int:
        return self.records.dropped

    @property
    def records_held(self) -> dict[str, int]:
        return self.records.held

    @property
    def reloads(self) -> dict[str, int]:
        """Count of reloads by result: "ok", "unchanged", "failed". Dry runs are not counted."""
        return dict(self._reloading.counts)

    @property
    def last_reload_at(self) -> float:
        """Wall time of the last config that was taken (the start counts)."""
        return self._reloading.loaded_at

    @property
    def last_reload_ok(self) -> bool:
        return self._reloading.last is None or self._reloading.last.ok

    @property
    def audit_failed(self) -> int:
        """Audit records that could not be written when they were due."""
        return self.audit.failed

    @property
    def max_series(self) -> int:
        return self.config.metrics.max_series
