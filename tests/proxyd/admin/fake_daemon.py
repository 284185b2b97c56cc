"""A small daemon that has no engines: it keeps what it was asked, and answers from plain values."""
from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from proxyd import codes
from proxyd.audit.trail import Audit
from proxyd.cachetier.counters import TierCounters
from proxyd.caching.purge import Purge, Purged, urls_of
from proxyd.caching.report import (
    CacheView,
    ObjectView,
    RouteCacheView,
    RouteOfUrl,
    SnapshotView,
    WhyView,
    build_view,
    hit_ratio,
    object_view,
    why,
)
from proxyd.clock import SystemClock
from proxyd.compress.compressor import Counters as Compressed
from proxyd.config import Config, load_text
from proxyd.diagnostics import Diagnostic, Source, Span
from proxyd.events.ring import Events
from proxyd.gateway.usage import UsageView
from proxyd.gateway.views import AuthView, ConsumerUsage, KeysView, PolicyView, UsageOfQuotas
from proxyd.limits.service import LimitError
from proxyd.limits.sharing import LeaseView
from proxyd.limits.views import KeyView, LaneView, LimitsView, LimitView, PlacesView, ResetView, StoreView, TopKey
from proxyd.metrics.admin import AdminCounts
from proxyd.metrics.exposition import Exposition
from proxyd.overrides import OverrideError
from proxyd.process.upgrade import Upgraded, UpgradeError
from proxyd.records.flight import Flight
from proxyd.records.tap import Tap
from proxyd.snapshot.explain import Question
from proxyd.snapshot.explain_flow import FlowQuestion
from proxyd.state import (
    CacheEntry,
    CandidateView,
    Change,
    CheckView,
    Difference,
    EngineEntry,
    EngineView,
    FlowView,
    LeavingView,
    LimitEntries,
    ListenerEntry,
    ListenerView,
    LogEntry,
    OverrideView,
    Phase,
    PolicyVerdict,
    ReloadResult,
    RouteDecision,
    RouteEntry,
    RouteView,
    ServerChange,
    ServerState,
    ServerView,
    ServingView,
    StatusView,
    TargetView,
    TierEntry,
    TraceEntry,
    TrialView,
    UpstreamEntry,
    UpstreamView,
)
from proxyd.stats.history import History
from proxyd.tally import Tallies
from proxyd.transactions.entry import Entry
from proxyd.transactions.service import TransactionError
from proxyd.transactions.terms import BY_ITSELF, UNCONDITIONAL, By, Terms
from tests.support.store import FakeStore, as_cache, as_object

BROKEN = Source("proxyd.yaml", "listen: :8080\ntoo: x\n")
UNKNOWN_KEY = Diagnostic("PXD-021", "unknown option `too`", Span(BROKEN, 1, 0, 1, 3), "did you mean `to`?")


def server_view(label: str, *, state: ServerState = "up", reason: str = "", requests: int = 0) -> ServerView:
    return ServerView(
        label=label, source=label, state=state, reason=reason, since=900.0,
        usable=state == "up", weight=1, backup=False, down=(), ejected_for_ms=0,
        ejections=0, consecutive_failures=0, in_flight=0, connections_active=0, connections_idle=0, requests=requests, errors={},
        checks=(CheckView("http", "GET /healthz", "up", "passed", "", 1_000.0, 0.002, 3, 0, 3),),
    )


@dataclass
class FakeDaemon:
    """A `proxyd.admin.control.Control`."""

    reasons: tuple[str, ...] = ()
    engine_alive: bool = True
    refusal: tuple[Diagnostic, ...] = ()
    changed: bool = True
    matches: bool = True
    busy: list[int] = field(default_factory=list)    # requests in flight on the first server, one figure a look; empty: none any more
    leaving: bool = False                            # the first server is no member any more
    flows: int = 0                                   # on a listener of its own, when there are some
    same: bool = False                               # a change of a server finds it so already
    overrides: tuple[OverrideView, ...] = ()
    holds: bool = False                              # a reload waits until `held` is set
    held: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    store: FakeStore | None = None                   # the cache
    tier: TierEntry | None = field(
        default_factory=lambda: TierEntry("redis", True, TierCounters(lookup_hit=12_345, failures=5), "timed out"))
    compress: Compressed | None = None
    spread: bool | None = None                       # whether a purge reached the shared tier
    limited: bool = False                            # there are limits
    store_away: bool = False                         # that of shared limits
    upgrade_fails: bool = False
    on_stop: Callable[[], None] = lambda: None
    on_trial: Callable[[], None] = lambda: None      # a config has just gone on trial
    config_text: str = "listen: :8080\nto: [127.0.0.1:9001]\n"
    config_path: Path | None = Path("/etc/proxyd/proxyd.yaml")
    config_hash: str = "abc123"
    generation: int = 4
    reloads: dict[str, int] = field(default_factory=lambda: {"ok": 1, "unchanged": 0, "failed": 2})
    last_reload_at: float = 1_000.0
    last_reload_ok: bool = True
    max_series: int = 20_000
    phase: Phase = "serving"
    records_dropped: int = 0
    records_held: dict[str, int] = field(default_factory=dict)
    audit: Audit = field(default_factory=lambda: Audit(None, SystemClock()))
    audit_failed: int = 0
    serving: ServingView = field(default_factory=lambda: ServingView(5))
    entries: list[Entry] = field(default_factory=lambda: [
        Entry(4, 900.0, "ops", "reload", "abc123", "served", "1 route added, no connection will drain", kept=True),
        Entry(5, 950.0, "ops", "reload", "def456", "serving", kept=True),
    ])
    config: Config = field(default_factory=lambda: loaded("listen: :8080\nto: [127.0.0.1:9001]\n"))
    history: History = field(init=False)
    tallies: Tallies = field(default_factory=Tallies)
    admin_counts: AdminCounts = field(default_factory=AdminCounts)
    events: Events = field(default_factory=lambda: Events(SystemClock()))
    left: asyncio.Event = field(default_factory=asyncio.Event)

    records: Tap = field(default_factory=Tap)
    flight: Flight = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(self, SystemClock())
        self.flight = Flight(self.records, SystemClock())

    async def until_leaving(self) -> None:
        await self.left.wait()

    @cached_property
    def metrics(self) -> Exposition:
        return Exposition(self, "0.1.0")

    def status(self) -> StatusView:
        return StatusView(
            version="0.1.0", pid=4242, phase="serving", started_at=900.0, uptime_seconds=100.0, config_path=str(self.config_path or ""),
            config_hash=self.config_hash, generation=self.generation, threads=1, ready=not self.reasons, not_ready=self.reasons,
            last_reload=None, listeners=tuple(self.listeners()), upstreams=self.upstreams(),
            engines=(EngineView(0, 99, 0.001, 1.5, 2, 1, self.generation, self.engine_alive, self.flows),),
            serving=self.serving, audit=self.audit.view(),
        )

    def listeners(self) -> Iterator[ListenerView]:
        yield ListenerView("web", "127.0.0.1:8080", 7, 2, 1, {"per_client": 3})
        if self.flows:
            flow = FlowView(self.flows, 2048, 5 << 20, 0, 0, {"client": 9, "idle": 0}, (("pg", "*", "to app"),))
            yield ListenerView("pg", ":5432", 12, self.flows, 0, {"denied": 4}, "tcp", flow)

    def upstreams(self) -> tuple[UpstreamView, ...]:
        in_flight = self.busy.pop(0) if self.busy else 0
        one = replace(server_view("10.0.0.1:80"), in_flight=in_flight, connections_active=in_flight, flows=self.flows)
        down = server_view("10.0.0.2:80", state="down", reason="connection refused")
        leaving = (LeavingView("10.0.0.1:80", in_flight, in_flight),) if self.leaving and in_flight else ()
        servers = (down,) if self.leaving else (one, down)
        return (UpstreamView("app", "p2c", servers, 1, "", leaving=leaving, overrides=self.overrides),)

    def upstream(self, name: str) -> UpstreamView | None:
        return self.upstreams()[0] if name == "app" else None

    async def diff(self, path: Path | None = None) -> Difference:
        self.asked.append(("diff", path))
        changes = (Change("changed", "server", "app/10.0.0.1:80", "server app/10.0.0.1:80: weight: 1 -> 2"),) if self.changed else ()
        text = "1 server changed, no connection will drain" if changes and not self.refusal else ""
        return Difference(str(path or self.config_path or ""), () if self.refusal else changes, self.refusal, self.overrides, text)

    async def set_server(self, upstream: str, server: str, orders: Mapping[str, Any], *, by: str, force: bool = False) -> ServerChange:
        self.asked.append(("set", upstream, server, dict(orders), by, force))
        if not force and server == "10.0.0.9:80":
            raise OverrideError(codes.LAST_SERVER, "app/10.0.0.9:80 is the last usable server of app")
        return self._answer(upstream, server, "changed")

    async def add_server(self, upstream: str, server: Mapping[str, Any], *, by: str) -> ServerChange:
        self.asked.append(("add", upstream, dict(server), by))
        return self._answer(upstream, str(server["address"]), "added")

    async def remove_server(self, upstream: str, server: str, *, by: str, force: bool = False) -> ServerChange:
        self.asked.append(("remove", upstream, server, by, force))
        self.leaving = True
        return self._answer(upstream, server, "removed")

    def _answer(self, upstream: str, server: str, done: str) -> ServerChange:
        if upstream != "app":
            raise OverrideError(codes.NO_UPSTREAM, f"there is no upstream `{upstream}`; there is `app`")
        return ServerChange(not self.same, f"{upstream}/{server} {done}", (server,), self.upstreams()[0])

    def routes(self) -> tuple[RouteView, ...]:
        return (RouteView("web", "api", 0, "/api/*", "to app", 12),)

    def not_ready(self) -> tuple[str, ...]:
        return self.reasons

    def explain(self, question: Question) -> tuple[RouteDecision, ...]:
        self.asked.append(("explain", question))
        if question.listener not in {"", "web"}:
            return ()
        if not self.matches:
            return (RouteDecision("web", "127.0.0.1:8080", question.path, None, "404 no route", (), (("api", ("host", "path")),)),)
        servers = (
            CandidateView("10.0.0.1:80", "10.0.0.1:80", 2, False, "up", "", 900.0),
            CandidateView("10.0.0.2:80", "app.internal:80", 1, True, "down", "check failed: connection refused", 900.0),
        )
        denied = (PolicyVerdict("office", "refuses: 403, access is denied", True), PolicyVerdict("marked", "not asked"))
        return (
            RouteDecision(
                "web", "127.0.0.1:8080", question.path, "api", "to app 95, next 5", ("app", "next"), (("shop", ("host",)),),
                denied if question.client == "192.0.2.1" else (PolicyVerdict("office", "lets the client pass"),),
                (TargetView("app", 95, 0.95, "p2c", servers), TargetView("next", 5, 0.05, "hash client.ip", servers[:1])),
            ),
        )

    def explain_flow(self, question: FlowQuestion) -> tuple[RouteDecision, ...]:
        self.asked.append(("explain_flow", question))
        if question.listener not in {"", "pg"} or question.kind == "udp":
            return ()
        if not self.matches:
            return (RouteDecision("pg", ":5432", "", None, "refused: no route takes this server name", (), mode="tls_passthrough"),)
        denied = question.client == "192.0.2.1"
        verdict = PolicyVerdict("allow/deny", "refuses: the connection is closed at once" if denied else "the client may connect", denied)
        target = TargetView("app", 1, 1.0, "p2c", (CandidateView("10.0.0.1:80", "10.0.0.1:80", 1, False, "up", "", 900.0),))
        return (RouteDecision("pg", ":5432", "", "pg", "to app", ("app",), (), (verdict,), (target,), (("timeout", "idle 600 s"),), "tcp"),)

    async def reload(
        self,
        text: str | None = None,
        *,
        path: Path | None = None,
        dry_run: bool = False,
        terms: Terms = UNCONDITIONAL,
        by: By = BY_ITSELF,
    ) -> ReloadResult:
        self.asked.append(("reload", text, path, dry_run, *([str(terms)] if terms else [])))
        if self.holds:
            await asyncio.to_thread(self.held.wait, 10)
        if self.refusal:
            return ReloadResult(False, False, dry_run, self.generation, self.config_hash, self.refusal)
        if not self.changed:
            return ReloadResult(True, False, dry_run, self.generation, self.config_hash)
        plan = (
            Change("added", "route", "web/new", "route web/new: to app"),
            Change("removed", "listener", "old", "listener old"),
            Change("changed", "runtime", "threads", "threads 1 -> 2", live=False),
        )
        entry, text = 0 if dry_run else 6, "1 route added, 3 connections will drain"
        result = ReloadResult(True, True, dry_run, 5, "def456", (), plan, 0.012, text, entry)
        if not terms or dry_run:
            return result
        now = time.time()
        trial = TrialView(6, 5, str(terms.guard or ""), now + 30 if terms.guard else 0.0, now + terms.confirm if terms.confirm else 0.0)
        self.serving = ServingView(6, trial=trial)
        self.entries.append(Entry(6, now, by.who, by.how, "def456", "on trial", result.summary, terms=str(terms), kept=True))
        self.on_trial()
        return replace(result, trial=trial)

    def end_trial(self, result: Literal["serving", "rolled back"], note: str) -> None:
        self.serving = ServingView(6) if result == "serving" else ServingView(7, 5, file_differs=True)
        self.entries[-1] = replace(self.entries[-1], result=result, note=note)

    async def rollback(self, number: int | None, *, by: By) -> ReloadResult:
        self.asked.append(("rollback", number, by.how))
        if number is not None and number > 5:
            raise TransactionError(codes.NO_ENTRY, f"the history has no entry {number}")
        if self.refusal:
            return ReloadResult(False, False, False, self.generation, self.config_hash, self.refusal)
        self.serving = ServingView(6, number or 4, file_differs=True)
        plan = (Change("removed", "route", "web/new", "route web/new removed"),)
        return ReloadResult(True, True, False, 6, "abc123", (), plan, 0.01, "1 route removed, no connection will drain", 6, number or 4)

    async def confirm(self, *, by: By) -> Entry:
        self.asked.append(("confirm", by.how))
        if self.serving.trial is None:
            raise TransactionError(codes.NO_TRIAL, "no config is on trial")
        self.end_trial("serving", f"confirmed by {by.who}")
        return self.entries[-1]

    def config_entries(self) -> tuple[Entry, ...]:
        return tuple(self.entries)

    async def config_entry(self, number: int) -> tuple[Entry, dict[str, str]]:
        for entry in self.entries:
            if entry.number == number:
                return entry, {"/etc/proxyd/proxyd.yaml": self.config_text} if entry.kept else {}
        raise TransactionError(codes.NO_ENTRY, f"the history has no entry {number}")

    def cache(self) -> CacheView:
        if self.store is None:
            return CacheView(False)
        requests = {"hit": 880, "miss": 100, "stale": 0, "expired": 0, "revalidated": 20, "bypass": 4, "coalesced": 0, "uncacheable": 0}
        routes = (RouteCacheView("web", "media", requests, hit_ratio(requests), 3 << 20),)
        snapshot = SnapshotView("/var/lib/proxyd/cache.snapshot", 900.0, 12, 0, 0.0, 0, "it ends too early")
        return build_view(CacheEntry(as_cache(self.store), self.tier, self.compress), routes, snapshot)

    def cache_objects(self, url: str) -> tuple[ObjectView, ...]:
        stored, urls = [] if self.store is None else self.store.objects, list(urls_of(url))
        return tuple(object_view(as_object(entry)) for entry in stored if entry.url in urls)

    def cache_why(self, url: str, question: Question) -> WhyView:
        self.asked.append(("why", url, question))
        caches = RouteOfUrl("web", "127.0.0.1:8080", "media", "to app", True, "app", (("cache key", "host, path"),))
        return why(next(urls_of(url)), (caches,), self.cache_objects(url), {})

    async def purge(self, orders: Sequence[Purge]) -> Purged:
        self.asked.append(("purge", tuple(orders)))
        return Purged(7, tuple(orders), 0.001, self.spread)

    def auth(self) -> AuthView:
        if not self.limited:
            return AuthView(())
        keys = KeysView("https://id.example.com", 2, 61.0, 4, 1, "status 500")
        return AuthView((
            PolicyView("sso", "jwt", 12, 100_000, 0, 340, 3, 1, 20, 2, (keys,)),
            PolicyView("partners", "api_key", 0, 100_000, 0, 0, 0, 0, 0, 0, ()),
        ))

    def auth_usage(self) -> UsageOfQuotas:
        file = UsageView("/var/lib/proxyd/usage.json", 10.0, 0.0, "no room")
        return UsageOfQuotas((ConsumerUsage("acme", "month", 24_000),), file) if self.limited else UsageOfQuotas((), None)

    def revoke(self, policy: str, user: str | None) -> int:
        self.asked.append(("revoke", policy, user))
        if policy != "sso":
            raise KeyError(policy)
        return 12 if user is None else 1

    def limits(self) -> LimitsView:
        if not self.limited:
            return LimitsView((), None, "none", None)
        lanes = (
            LaneView("api", 50, 200, 12, 3, {"admitted": 900, "queued": 40, "full": 0, "timeout": 0, "shed": 2}),
            LaneView("web", 0, 0, 30, 0, {"admitted": 100, "queued": 0, "full": 0, "timeout": 0, "shed": 0}),
        )
        places = PlacesView(1000, 50, 42, 3, 0.25, self.store_away, lanes)
        store = StoreView(self.store_away, 3, 0, "redis: refused", {"exchanges": 12_345, "failures": 2})
        return LimitsView((self.limit("per-ip"), self.limit("all"), self.limit("in"), self.limit("out")), places, "normal", store)

    def limit(self, policy: str) -> LimitView:
        counts = {"passed": 12_345, "delayed": 0, "refused": 40, "delayed_dry_run": 0, "refused_dry_run": 1}
        top = tuple(TopKey(f"192.0.2.{number}", 640 - number, 32 if number == 1 else 0) for number in range(1, 9))
        match policy:
            case "per-ip":
                rule = "20/s, burst 40, by client.ip"
                return LimitView(policy, "rate", rule, ("client.ip",), 1_234, 1_000_000, 32 << 20, 7, counts, top)
            case "all":
                lease = LeaseView(policy, 4, 12, 100, 3.0, 16)
                rule = "100/s, burst 50, of all proxies together, by host and path"
                return LimitView(policy, "rate", rule, ("host", "path"), 1, 1_000, 4_096, 0, dict.fromkeys(counts, 0), (), lease)
            case "in":
                decisions = {"passed": 5, "refused": 0, "refused_dry_run": 0, "table_full": 0}
                return LimitView(policy, "concurrency", "10 in flight, by client.ip", ("client.ip",), 2, 65_536, 1 << 20, 0, decisions)
            case "out":
                return LimitView(policy, "ban", "", ("client.ip",), 2, 100_000, 1 << 20, 0, {"bans": 3, "refused": 700})
        raise LimitError(codes.NO_LIMIT, f"no route uses a limit `{policy}`; there is: per-ip")

    def limit_key(self, policy: str, key: Sequence[str]) -> KeyView:
        if len(key) != len(self.limit(policy).key):
            raise LimitError(codes.LIMIT_KEY, "`per-ip` counts by client.ip: give one text")
        return KeyView(policy, "rate", tuple(key), "37 left, all 41 in 200 ms", True, 37, 0.0, 0.2)

    async def reset_limit(self, policy: str, key: Sequence[str]) -> ResetView:
        self.asked.append(("reset", policy, tuple(key)))
        if self.limit(policy).kind == "concurrency":
            raise LimitError(codes.LIMIT_KEPT, "`in` counts requests in flight; each is given back when it ends")
        everywhere = None if self.limit(policy).shared is None else not self.store_away
        return ResetView(policy, tuple(key), 1 if key else 1_234, everywhere)

    async def upgrade(self) -> Upgraded:
        self.asked.append(("upgrade",))
        if self.upgrade_fails:
            raise UpgradeError("the new program ended before it served: exit code 1", "ImportError: no such thing")
        return Upgraded(4243, 4242, 0.5)

    def stop(self, *, now: bool = False) -> None:
        self.asked.append(("stop", now))
        self.on_stop()

    def listener_entries(self) -> tuple[ListenerEntry, ...]:
        return ()

    def route_entries(self) -> tuple[RouteEntry, ...]:
        return ()

    def upstream_entries(self) -> tuple[UpstreamEntry, ...]:
        return ()

    def engine_entries(self) -> tuple[EngineEntry, ...]:
        return ()

    def cache_entry(self) -> CacheEntry | None:
        return None if self.store is None else CacheEntry(as_cache(self.store))

    def limit_entries(self) -> LimitEntries:
        return LimitEntries()

    def log_entries(self) -> tuple[LogEntry, ...]:
        return (LogEntry("access", 10, 0),)

    def trace_entry(self) -> TraceEntry | None:
        return None


def loaded(text: str) -> Config:
    config = load_text(text).config
    assert config is not None
    return config
