"""Limits in plain values, for the admin API and the command line. Every number is read when somebody asks."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from proxyd.limits.entries import PLAN
from proxyd.limits.masking import shown_key
from proxyd.snapshot.policy_words import part_text, rule_text

if TYPE_CHECKING:
    from proxyd.config.model import Policy
    from proxyd.limits.sharing import LeaseView, Sharing
    from proxyd.state import LimitEntries
    from proxyd_ext.limit.ban import Bans
    from proxyd_ext.limit.inflight import Inflight
    from proxyd_ext.limit.rate import RateLimit
    from proxyd_ext.snapshot.spec import LimitKeyPart

Kind = Literal["rate", "concurrency", "ban", "plan"]

TOP_MOST = 100
CLASSES = ("none", "normal", "high", "critical")    # below which requests are shed, by Overload.shed_below
RATE_DECISIONS = ("passed", "delayed", "refused", "delayed_dry_run", "refused_dry_run")
INFLIGHT_DECISIONS = ("passed", "refused", "refused_dry_run", "table_full")
BAN_DECISIONS = ("bans", "refused")
LANE_RESULTS = ("admitted", "queued", "full", "timeout", "shed")


@dataclass(frozen=True, slots=True)
class TopKey:
    """One of the busiest keys, estimated from samples; credentials in it are masked."""

    key: str
    requests: int
    refused: int


@dataclass(frozen=True, slots=True)
class LimitView:
    """A limit by key, and what became of the requests that it counted."""

    policy: str                    # of usage plans `plan:NAME`
    kind: Kind
    rule: str                      # "20/s, burst 40, by client.ip"
    key: tuple[str, ...]           # its parts, as `limit show` takes them
    keys: int                      # that it knows now
    capacity: int
    memory_bytes: int
    evictions: int                 # of keys, for room
    decisions: Mapping[str, int]   # "passed", "delayed", "refused", ... -> requests
    top: tuple[TopKey, ...] = ()
    shared: LeaseView | None = None        # with other proxies


@dataclass(frozen=True, slots=True)
class LaneView:
    route: str
    reserved: int
    max: int                       # 0: as many as there are
    in_use: int
    waiting: int
    results: Mapping[str, int]     # "admitted", "queued", "full", "timeout", "shed" -> requests


@dataclass(frozen=True, slots=True)
class PlacesView:
    """The places of all routes together."""

    total: int                     # 0: no bound
    reserved: int
    in_use: int
    waiting: int
    oldest_wait_seconds: float
    shedding: bool                 # the queue stands: those who waited long are shed
    lanes: tuple[LaneView, ...]


@dataclass(frozen=True, slots=True)
class StoreView:
    """The store of limits that several proxies share."""

    away: bool                     # the local share counts
    nodes: int
    waiting: int                   # keys that wait for it
    last_error: str
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LimitsView:
    limits: tuple[LimitView, ...]
    places: PlacesView | None      # None: no route has any
    shed_below: str                # the overload guard sheds what is below this class; "none": nothing
    store: StoreView | None        # None: nothing is shared


@dataclass(frozen=True, slots=True)
class KeyView:
    """What a limit says to one key."""

    policy: str
    kind: Kind
    key: tuple[str, ...]
    text: str                      # "37 left, all 41 in 200 ms"
    known: bool                    # it has an entry
    remaining: int | None = None   # requests that would pass at once
    retry_seconds: float = 0.0     # until one would; 0.0: now
    reset_seconds: float = 0.0     # until all would
    in_flight: int | None = None
    banned_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ResetView:
    policy: str
    key: tuple[str, ...]           # (): all of them
    forgotten: int                 # keys, here
    everywhere: bool | None        # whether the shared store forgot it, too; None: it is not shared


@dataclass(frozen=True, slots=True)
class Facts:
    """What the views are made of."""

    policies: Mapping[str, Policy]
    entries: LimitEntries
    keys: Mapping[str, tuple[LimitKeyPart, ...]]      # of each limit
    sharing: Sharing | None


def limits_view(facts: Facts) -> LimitsView:
    overload = facts.entries.overload
    below = CLASSES[overload.shed_below] if overload is not None else CLASSES[0]
    return LimitsView(tuple(limit_views(facts)), _places(facts.entries), below, _store(facts.sharing))


def limit_views(facts: Facts) -> Iterator[LimitView]:
    entries = facts.entries
    leases = {view.policy: view for view in facts.sharing.views()} if facts.sharing is not None else {}
    for name, rate in entries.rates.items():
        yield _rate(facts, name, rate, leases.get(name))
    for name, table in entries.inflight.items():
        yield _inflight(facts, name, table)
    for name, bans in entries.bans.items():
        yield _bans(facts, name, bans)


def _rate(facts: Facts, name: str, rate: RateLimit, shared: LeaseView | None) -> LimitView:
    stats = rate.stats(facts.entries.now_us)
    parts = tuple(map(part_text, facts.keys[name]))
    top = tuple(TopKey(shown_key(parts, key), requests, refused) for key, requests, refused in rate.top(TOP_MOST))
    decisions = {word: stats[word] for word in RATE_DECISIONS}
    kind: Kind = "plan" if name.startswith(PLAN) else "rate"
    return _limit(facts, name, kind, stats, decisions, stats["keys"], top, shared)


def _inflight(facts: Facts, name: str, table: Inflight) -> LimitView:
    stats = table.stats()
    return _limit(facts, name, "concurrency", stats, {word: stats[word] for word in INFLIGHT_DECISIONS}, stats["keys"])


def _bans(facts: Facts, name: str, bans: Bans) -> LimitView:
    stats = bans.stats(facts.entries.now_us)
    return _limit(facts, name, "ban", stats, {word: stats[word] for word in BAN_DECISIONS}, stats["banned"])


def _limit(
    facts: Facts, name: str, kind: Kind, stats: Mapping[str, int], decisions: Mapping[str, int], keys: int,
    top: tuple[TopKey, ...] = (), shared: LeaseView | None = None,
) -> LimitView:
    rule = rule_text(facts.policies[name]) if name in facts.policies else ""
    parts, evictions = tuple(map(part_text, facts.keys[name])), stats.get("evictions", 0)
    return LimitView(name, kind, rule, parts, keys, stats["capacity"], stats["memory_bytes"], evictions, decisions, top, shared)


def _places(entries: LimitEntries) -> PlacesView | None:
    if entries.gate is None:
        return None
    stats = entries.gate.stats()
    lanes = []
    for route, lane in entries.lanes.items():
        own = lane.stats()
        results = {word: own[word] for word in LANE_RESULTS}
        lanes.append(LaneView(route, own["reserved"], own["max"], own["in_use"], own["waiting"], results))
    return PlacesView(
        stats["total"], stats["reserved"], stats["in_use"], stats["waiting"], stats["oldest_wait_us"] / 1e6, bool(stats["standing"]),
        tuple(lanes))


def _store(sharing: Sharing | None) -> StoreView | None:
    if sharing is None:
        return None
    return StoreView(sharing.local, sharing.nodes, sharing.waiting, sharing.last_error, asdict(sharing.counters))
