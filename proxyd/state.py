"""What the parts of the control plane tell one another: plain values, read-only for everybody but the daemon.

Two families. *Views* (`ServerView`, `UpstreamView`, ...) are computed when asked, hold plain values only and turn into JSON with
`dataclasses.asdict`. *Entries* (`ServerEntry`, `RouteEntry`, ...) name the native handles themselves, for a reader of counters that
wants every number (the metrics collector).
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from proxyd.cachetier.counters import TierCounters
    from proxyd.compress.compressor import Counters as Compressed
    from proxyd.config.model import Config
    from proxyd.diagnostics import Diagnostic
    from proxyd.limits.sharing import ShareCounters
    from proxyd.sockets import Bound
    from proxyd.tally import Past
    from proxyd_ext.auth.verdict import Verdicts
    from proxyd_ext.balance.pool import UpstreamState
    from proxyd_ext.balance.server import Server
    from proxyd_ext.cache.store import Cache
    from proxyd_ext.engine import Engine
    from proxyd_ext.filter.hooks import Hooks
    from proxyd_ext.io.listener import Listener
    from proxyd_ext.limit.ban import Bans
    from proxyd_ext.limit.gate import Gate, Lane
    from proxyd_ext.limit.inflight import Inflight
    from proxyd_ext.limit.overload import Overload
    from proxyd_ext.limit.rate import RateLimit
    from proxyd_ext.route.stats import RouteStats

Phase = Literal["starting", "serving", "draining", "stopped"]
CheckResult = Literal["unknown", "passed", "failed"]
ServerState = Literal["up", "down", "pending", "ejected", "maint", "drain", "unresolved"]
OverrideWord = Literal["drain", "maint", "weight", "added", "removed"]

NO_ROUTE = "-"
"""The route name under which requests are counted that no route matched."""


def server_state(state: Mapping[str, Any]) -> ServerState:
    """One word for a native state: what an operator set comes before what was found out."""
    down = state["down"]
    if "maint" in down:
        return "maint"
    if "drain" in down:
        return "drain"
    if "health" in down:
        return "down"
    if state["ejected_for_ms"] > 0:
        return "ejected"
    return "pending" if "pending" in down else "up"


# ------------------------------------------------------------------ reload
@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two configs: `kind` of `thing` called `name`; `text` is the sentence for people."""

    kind: Literal["added", "removed", "changed"]
    thing: Literal["listener", "route", "upstream", "server", "runtime", "cache", "log", "admin"]
    name: str                      # "web 127.0.0.1:8080", "web/shop-api", "api", "api/10.0.1.12:8000"
    text: str                      # "server api/10.0.1.12:8000: weight 1 -> 2"
    live: bool = True              # False: cannot change in a running daemon; takes effect at the next start


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The answer to a reload. `ok` False: nothing was changed and `diagnostics` holds the errors."""

    ok: bool
    changed: bool                  # False with ok: same config, nothing to do
    dry_run: bool
    generation: int                # of the snapshot that serves now
    config_hash: str               # of the config that serves now (of the candidate, when dry_run)
    diagnostics: tuple[Diagnostic, ...] = ()     # errors, or warnings of an accepted config
    plan: tuple[Change, ...] = ()
    seconds: float = 0.0           # from the call to the last engine's acknowledgement
    summary: str = ""              # the plan in one line: "2 routes changed, 37 connections will drain, caches kept"
    entry: int = 0                 # of the history, that it made; 0: none
    restores: int = 0              # of a rollback: the entry whose config serves
    trial: TrialView | None = None


@dataclass(frozen=True, slots=True)
class TrialView:
    """A config on trial."""

    entry: int                     # that serves
    back_to: int                   # the entry that it is gone back to
    guard: str                     # "errors > 2% for 30s"; "": there is none
    guard_until: float             # epoch seconds; 0.0: it watches no more
    confirm_until: float           # epoch seconds; 0.0: nobody has to confirm it


@dataclass(frozen=True, slots=True)
class ServingView:
    """Which config serves, as the history knows it."""

    entry: int = 0                 # 0: none yet
    restores: int = 0              # the entry that it is gone back to
    file_differs: bool = False     # the daemon's file says something else, because of a rollback, or since it is broken
    trial: TrialView | None = None


@dataclass(frozen=True, slots=True)
class AuditView:
    """The end of the audit trail: what an attacker who shortens the file cannot change if it was noted elsewhere."""

    file: str                      # "": in memory only
    records: int
    head: str                      # the hash of the last
    failed: int                    # that could not be written when they were due
    waiting: int                   # that could not be written yet


@dataclass(frozen=True, slots=True)
class Difference:
    """What a reload would change, and what operators have changed already (`proxyd diff`)."""

    path: str                      # the file that was read; "" when the daemon was started from a text
    changes: tuple[Change, ...]    # from the running config to the file
    diagnostics: tuple[Diagnostic, ...]        # of the file; with an error among them a reload would be refused
    overrides: tuple[OverrideView, ...]
    summary: str = ""              # the changes in one line


@dataclass(frozen=True, slots=True)
class ServerChange:
    """The answer to a change of a server at run time. `changed` False: it was so before."""

    changed: bool
    text: str                      # "app/10.0.0.1:80 drained"
    servers: tuple[str, ...]       # the labels that it speaks of: one, or all those of a name
    upstream: UpstreamView


# ------------------------------------------------------------------ views
@dataclass(frozen=True, slots=True)
class CheckView:
    """An active check of one server. `result` is the last one alone, `verdict` what it and those before it mean."""

    kind: Literal["http", "tcp", "udp", "dns", "redis", "postgres"]
    title: str                     # "GET /healthz", "tcp at port 9000", "redis primary"
    verdict: Literal["unknown", "up", "down"]
    result: CheckResult
    reason: str                    # "connection refused", "status 503, expected 200-299"; "" when passed
    at: float                      # wall time (epoch seconds) of the last result; 0.0 before the first
    duration_seconds: float
    passed: int                    # results since the check exists
    failed: int
    streak: int                    # equal results in a row, the last one counted


@dataclass(frozen=True, slots=True)
class ServerView:
    label: str                     # "10.0.1.12:8000"
    source: str                    # as the config spells it: "app.internal:8000"
    state: ServerState
    reason: str                    # why it is not up, in plain words; "" when up
    since: float                   # epoch seconds of the change to this state; of its first appearance when there was none
    usable: bool
    weight: int
    backup: bool
    down: tuple[str, ...]          # native reasons: "health", "maint", "drain", "pending"
    ejected_for_ms: int
    ejections: int                 # for whatever reason
    consecutive_failures: int
    in_flight: int
    connections_active: int
    connections_idle: int
    requests: int                  # all codes
    errors: Mapping[str, int]      # fault word -> count
    checks: tuple[CheckView, ...]  # all must pass
    latency_seconds: float = 0.0   # to the head of an answer: peak EWMA where the balancer keeps one, else the mean; 0.0: none yet
    flows: int = 0                 # connections and UDP flows of L4 listeners that it took; `in_flight` has those of now


@dataclass(frozen=True, slots=True)
class CircuitView:
    """The breaker of an upstream."""

    state: Literal["closed", "open", "half_open"]
    since: float                   # epoch seconds
    reason: str                    # "62 % of 340 requests failed within 10 s"; "" when closed


@dataclass(frozen=True, slots=True)
class GovernorView:
    """What is decided for an upstream from its traffic as a whole."""

    circuit: CircuitView | None = None     # None: it has no breaker
    limit: int = 0                         # requests at a time, as found by response times; 0: no such limit
    hedge_ms: int = 0                      # after so long a hedged request sends its second try; 0: not known, or a fixed time


@dataclass(frozen=True, slots=True)
class OverrideView:
    """What an operator changed at run time, on top of the config."""

    upstream: str
    server: str                    # its label, or the config's spelling of a name
    change: OverrideWord
    text: str                      # "drained", "weight 3", "added, backup"
    by: str                        # who: a user's name, an address
    at: float                      # epoch seconds


@dataclass(frozen=True, slots=True)
class LeavingView:
    """A server that is no member any more, while requests may still be under way on it."""

    label: str
    in_flight: int
    connections_active: int


@dataclass(frozen=True, slots=True)
class UpstreamView:
    name: str
    balance: str
    servers: tuple[ServerView, ...]
    usable: int                    # how many servers are
    warning: str                   # "" or a sentence: "no server is usable", "app.internal does not resolve: ..."
    governor: GovernorView = field(default_factory=GovernorView)
    leaving: tuple[LeavingView, ...] = ()
    overrides: tuple[OverrideView, ...] = ()


@dataclass(frozen=True, slots=True)
class FlowView:
    """What a listener has passed on; both directions as seen from its clients."""

    open: int                      # flows now
    bytes_in: int
    bytes_out: int
    packets_in: int                # of UDP
    packets_out: int
    ended: Mapping[str, int]       # flows by why they ended: "client", "idle", ...
    routes: tuple[tuple[str, str, str], ...] = ()      # (name, what it matches, what it does): ("internal", "*.internal", "to app")


@dataclass(frozen=True, slots=True)
class ListenerView:
    name: str
    address: str                   # "127.0.0.1:8080", "[::]:8080", "unix:/run/x.sock"
    accepted: int                  # connections; of UDP: flows
    open: int                      # the same, now
    in_flight: int                 # requests
    rejected: Mapping[str, int]
    mode: str = "http"
    flow: FlowView | None = None   # of the modes that pass on what comes
    leaving: bool = False          # not in the config any more: what it accepted is served out. Its mode is then the kind of its socket


@dataclass(frozen=True, slots=True)
class RouteView:
    listener: str
    route: str
    index: int                     # position in the listener's table; -1 for NO_ROUTE
    match: str                     # "GET,HEAD media.example.com/*", "*" for any
    action: str                    # "to api", "to api 95, api-canary 5", "respond 200", "redirect 308"
    requests: int


@dataclass(frozen=True, slots=True)
class EngineView:
    index: int
    heartbeat: int
    loop_lag_seconds: float
    cpu_seconds: float
    connections: int
    exchanges: int
    snapshot: int                  # generation that it serves
    alive: bool
    flows: int = 0


@dataclass(frozen=True, slots=True)
class LastReload:
    ok: bool
    at: float                      # epoch seconds
    summary: str                   # "3 changes", "unchanged", "2 errors: proxyd.yaml:5:3 ..."


@dataclass(frozen=True, slots=True)
class StatusView:
    version: str
    pid: int
    phase: Phase
    started_at: float              # epoch seconds
    uptime_seconds: float
    config_path: str               # "" when the config was given as text
    config_hash: str
    generation: int
    threads: int
    ready: bool
    not_ready: tuple[str, ...]     # sentences: "upstream api has no usable server"
    last_reload: LastReload | None
    listeners: tuple[ListenerView, ...]
    upstreams: tuple[UpstreamView, ...]
    engines: tuple[EngineView, ...]
    warnings: tuple[str, ...] = ()
    serving: ServingView = field(default_factory=ServingView)
    audit: AuditView | None = None


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """What one policy of a route says to a request."""

    name: str
    text: str                      # "lets the client pass", "refuses: 403, access is denied", "sets X-Env on the request"
    refuses: bool = False


@dataclass(frozen=True, slots=True)
class CandidateView:
    """A server that a request could go to. Without a daemon nothing is known of its state."""

    label: str
    source: str
    weight: int
    backup: bool
    state: ServerState | Literal["unknown"]
    reason: str
    since: float                   # 0.0: unknown
    tier: int = 0                  # the lowest with a usable server gets the requests
    zone: str = ""                 # "": none is told
    local: bool = True             # of proxyd's own zone, or there are no zones
    effective_weight: float | None = None      # as the balancer counts it now; 0.0: not drawn from; None: unknown
    in_flight: int = 0
    latency_seconds: float = 0.0   # to the head of an answer, as in ServerView
    max_requests: int = 0          # at a time; 0: no bound


@dataclass(frozen=True, slots=True)
class BalancerView:
    """What an upstream's balancer draws from at the moment."""

    panic: bool                    # too little is usable: health is ignored
    fail_open: bool                # nothing is usable: health is ignored
    tier: int                      # that gets the requests; -1: none has a member that could
    circuit: Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class TargetView:
    """An upstream that a route's requests may go to: one of its `to`, or its failover (share 0.0)."""

    upstream: str
    weight: int
    share: float                   # of the route's requests, 0.0 to 1.0
    balance: str                   # "round_robin", "hash client.ip"
    servers: tuple[CandidateView, ...]
    role: Literal["target", "failover"] = "target"
    balancer: BalancerView | None = None       # None: nobody knows, without a daemon
    facts: tuple[tuple[str, str], ...] = ()    # ("retry", "up to 2 more tries on ..."), ("sticky", "by cookie pxd_server")


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """What a request, or a flow, would meet, told by the native route table itself (`proxyd route`, `/route/explain`)."""

    listener: str
    address: str
    path: str                      # normalised; as given when it cannot be; "" of a flow
    route: str | None              # None: no route matches (404), or the path is refused (400)
    action: str                    # as in RouteView; "404 no route", "400 <why>"
    upstreams: tuple[str, ...]     # empty unless the action proxies
    why_not: tuple[tuple[str, tuple[str, ...]], ...] = ()   # earlier routes, each with the parts that did not match: ("shop", ("host",))
    policies: tuple[PolicyVerdict, ...] = ()    # of the route, in the order in which they act
    targets: tuple[TargetView, ...] = ()        # empty unless the action proxies
    facts: tuple[tuple[str, str], ...] = ()     # of the route: ("timeout", ...), ("mirror", ...), ("failover", ...), ("hedge", ...)
    mode: str = "http"             # of the listener


# ------------------------------------------------------------------ entries (native handles)
@dataclass(frozen=True, slots=True)
class ServerEntry:
    upstream: str
    label: str
    weight: int
    backup: bool
    server: Server
    check_results: Mapping[str, int] = field(default_factory=dict)   # "passed" / "failed" -> count of active checks
    ejections: Mapping[str, int] = field(default_factory=dict)       # "consecutive", "error_rate", ... -> times it was ejected
    past: Past[Server] | None = None         # what was counted before by handles under these names; None: nothing


@dataclass(frozen=True, slots=True)
class UpstreamEntry:
    name: str
    state: UpstreamState
    servers: tuple[ServerEntry, ...]
    departed_opened: int           # connections opened to servers that have left, so that the upstream's total never goes back
    unresolved: tuple[tuple[str, int], ...] = ()       # (label, weight) of servers that have no address
    governor: GovernorView = field(default_factory=GovernorView)
    used: bool = True              # something can go there
    past: Past[UpstreamState] | None = None


@dataclass(frozen=True, slots=True)
class ListenerEntry:
    name: str
    address: str
    listener: Listener
    mode: str = "http"


@dataclass(frozen=True, slots=True)
class RouteEntry:
    listener: str
    route: str
    stats: RouteStats
    past: Past[RouteStats] | None = None


@dataclass(frozen=True, slots=True)
class EngineEntry:
    index: int
    engine: Engine


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The store and what is around it. All may be read on any thread."""

    store: Cache
    tier: TierEntry | None = None
    compress: Compressed | None = None


@dataclass(frozen=True, slots=True)
class TierEntry:
    name: str                      # "redis", "memcached"
    circuit_open: bool
    counters: TierCounters
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class LimitEntries:
    """What the policies in use keep, each handle under the name of its policy; the rates of usage plans under `plan:NAME`."""

    rates: Mapping[str, RateLimit] = field(default_factory=dict)
    inflight: Mapping[str, Inflight] = field(default_factory=dict)
    bans: Mapping[str, Bans] = field(default_factory=dict)
    verdicts: Mapping[str, Verdicts] = field(default_factory=dict)
    hooks: Mapping[str, Hooks] = field(default_factory=dict)
    lanes: Mapping[str, Lane] = field(default_factory=dict)      # of routes that have places
    gate: Gate | None = None
    overload: Overload | None = None
    shared: ShareEntry | None = None
    now_us: int = 0                # of the engines' clock: by which bans end, and keys have drained


@dataclass(frozen=True, slots=True)
class ShareEntry:
    """The store of limits that several proxies share."""

    nodes: int
    local: bool                    # it is away: the local share counts
    waiting: int                   # keys that wait for it
    counters: ShareCounters


@dataclass(frozen=True, slots=True)
class LogEntry:
    sink: str                      # "access"
    written: int
    dropped: int
    sampled_out: int = 0           # left out by `log.access.sample`


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """The export of spans."""

    spans: Mapping[str, int]       # "sent", "rejected" (by the collector), "failed", "dropped" (no room to wait) -> count
    waiting: int                   # traced requests
    limit: int                     # of those
    url: str
    error: str                     # of the last request to the collector; "": it went well


# ------------------------------------------------------------------ parts that the daemon starts but does not know
class Service(Protocol):
    """A part that lives beside the engines and follows the config (the admin API)."""

    async def apply(self, config: Config) -> None:
        """Take this config. Called before READY at start and, at a reload, before the engines get the snapshot.

        Raises `DaemonError` (or OSError) if it cannot, and then still serves as before: the start or the reload fails as a whole.
        When a later step of the reload fails, it is called once more with the old config.
        """

    async def begin(self) -> None:
        """Called once, when the engines serve the first config, before READY: what takes its time, and no client of theirs waits for."""

    def bounds(self) -> Sequence[Bound]:
        """What it listens on: kept for the process after this one."""

    async def hand_over(self) -> None:
        """Another process serves these addresses from now on: stop listening. What is under way is finished."""

    async def close(self) -> None:
        """Stop. Called after the engines have drained; must not raise."""


class DaemonError(Exception):
    """The daemon cannot start (or take a config). `diagnostics` says why, each with a position where there is one."""

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = (), *, help: str = "") -> None:
        super().__init__(message)
        self.diagnostics, self.help = tuple(diagnostics), help
