"""What the cache holds and does, as plain values for the admin API: `CacheView` for all of it, `WhyView` for one URL."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from proxyd.caching.outlook import CurvePoint, points, sentence
from proxyd.caching.reasons import reason_of
from proxyd_ext.snapshot.spec import CacheSpec, ProxyAction

if TYPE_CHECKING:
    from proxyd.compress.compressor import Counters as Compressed
    from proxyd.snapshot.compiled import Compiled
    from proxyd.state import CacheEntry, RouteDecision, RouteEntry, TierEntry
    from proxyd_ext.cache.store import CachedObject

Verdict = Literal["fresh", "stale", "filling", "not_stored", "absent", "not_cached", "no_route"]

ANSWERED = ("hit", "stale", "coalesced")
"""Results for which no request went to a server, or none of its own."""
COMPRESS_RESULTS = ("finished", "superseded", "dropped", "incompressible", "over_budget", "gone", "failed")
ASIDE = b"\0aside\0"
"""How the keys of values begin that applications put there."""


# ---------------------------------------------------------------------- all of it
@dataclass(frozen=True, slots=True)
class RouteCacheView:
    listener: str
    route: str
    requests: Mapping[str, int]        # by result: hit, miss, stale, expired, revalidated, bypass, coalesced, uncacheable
    hit_ratio: float | None            # None: nothing was looked up yet
    bytes_served: int                  # of bodies that came from memory


@dataclass(frozen=True, slots=True)
class TierView:
    """A tier behind memory. The counters are those of `proxyd.cachetier.counters`."""

    name: str                          # "redis", "memcached"
    circuit_open: bool                 # it is left alone, since it failed
    last_error: str
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CompressView:
    """Compressed forms of what is stored."""

    results: Mapping[str, int]         # of answers that were to be compressed: finished, refused, dropped, ...
    made: Mapping[str, int]            # forms stored, by encoding
    bytes_in: Mapping[str, int]        # of the bodies that they were made from
    bytes_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """The snapshot on disk."""

    file: str
    every_seconds: float
    loaded: int                        # objects at the start
    saved: int                         # objects by the last save; 0 before it
    saved_at: float                    # epoch seconds; 0.0: not yet
    bytes: int
    error: str                         # of the last save or load; "" when it went well


@dataclass(frozen=True, slots=True)
class CacheView:
    enabled: bool                      # False: no route and no listener of the config has a cache
    requests: Mapping[str, int] = field(default_factory=dict)
    hit_ratio: float | None = None
    bytes_served: int = 0
    store: Mapping[str, int] = field(default_factory=dict)      # `Cache.stats()`
    routes: tuple[RouteCacheView, ...] = ()
    tiers: tuple[TierView, ...] = ()
    compress: CompressView | None = None
    curve: tuple[CurvePoint, ...] = ()
    outlook: str = ""
    snapshot: SnapshotView | None = None


def hit_ratio(requests: Mapping[str, int]) -> float | None:
    """Of what was looked up, the share that cost no server a request of its own. What bypassed the cache was not looked up."""
    asked = sum(count for word, count in requests.items() if word != "bypass")
    return sum(requests.get(word, 0) for word in ANSWERED) / asked if asked else None


def route_views(entries: Iterable[RouteEntry]) -> tuple[RouteCacheView, ...]:
    """Of the routes whose requests met a cache."""
    found = []
    for entry in entries:
        stats = entry.stats.stats()
        if stats["cache"]:
            found.append(RouteCacheView(entry.listener, entry.route, stats["cache"], hit_ratio(stats["cache"]), stats["cache_bytes"]))
    return tuple(found)


def build_view(entry: CacheEntry, routes: Sequence[RouteCacheView], snapshot: SnapshotView | None) -> CacheView:
    requests: dict[str, int] = {}
    for route in routes:
        for word, count in route.requests.items():
            requests[word] = requests.get(word, 0) + count
    stats = entry.store.stats()
    limit = stats["limit_bytes"]
    curve = points(entry.store.curve(), limit)
    served = sum(route.bytes_served for route in routes)
    tiers = (tier_view(entry.tier),) if entry.tier is not None else ()
    compress = compress_view(entry.compress) if entry.compress is not None else None
    return CacheView(
        True, requests, hit_ratio(requests), served, stats, tuple(routes), tiers, compress, curve, sentence(curve, limit), snapshot
    )


def tier_view(tier: TierEntry) -> TierView:
    return TierView(tier.name, tier.circuit_open, tier.last_error, asdict(tier.counters))


def compress_view(counters: Compressed) -> CompressView:
    made: dict[str, int] = {encoding: count for encoding, count in counters.made.items() if count}
    before: Mapping[str, int] = dict(counters.bytes_in.items())
    after: Mapping[str, int] = dict(counters.bytes_out.items())
    return CompressView(compress_results(counters), made, {name: before[name] for name in made}, {name: after[name] for name in made})


def compress_results(counters: Compressed) -> dict[str, int]:
    """Answers that were to be compressed, by what became of them; those that wait are in none."""
    refused = {f"refused_{reason}": count for reason, count in counters.refused.items()}
    return {name: getattr(counters, name) for name in COMPRESS_RESULTS} | refused


# ---------------------------------------------------------------------- one URL
@dataclass(frozen=True, slots=True)
class ObjectView:
    """A stored answer, or the note that it cannot be one. Times are seconds; `verdict` says it in a sentence."""

    url: str
    zone: str                          # name of the upstream whose answer it is
    key: str
    state: Literal["complete", "filling", "marker"]
    status: int
    size: int                          # of the body
    footprint: int                     # in the store
    encoding: str                      # made by proxyd; "": as the server sent it
    vary: str
    variant: str
    age: float
    fresh_for: float                   # negative: stale since
    stale_while_revalidate: float      # beyond freshness
    stale_if_error: float
    hits: int                          # 0..3, as the eviction policy counts
    tags: tuple[str, ...]
    etag: str
    soft_purged: bool
    reason: str                        # the store's word; "" for what is stored
    verdict: str


@dataclass(frozen=True, slots=True)
class RouteOfUrl:
    """What a listener would do with a request for the URL."""

    listener: str
    address: str
    route: str | None
    action: str
    caches: bool
    zone: str
    facts: tuple[tuple[str, str], ...]         # what `proxyd route` tells of the route's cache


@dataclass(frozen=True, slots=True)
class WhyView:
    url: str
    verdict: Verdict
    text: str                          # sentences
    section: str                       # "RFC 9111 §3.5"; ""
    help: str
    routes: tuple[RouteOfUrl, ...]
    objects: tuple[ObjectView, ...]


def object_view(stored: CachedObject) -> ObjectView:
    zone, _, key = (b"aside", b"", stored.key[len(ASIDE):]) if stored.key.startswith(ASIDE) else stored.key.partition(b"\0")
    return ObjectView(
        stored.url, _text(zone), _text(key), stored.state, stored.status, stored.size, stored.footprint, stored.encoding,
        stored.vary, _text(stored.variant), stored.age_s, stored.fresh_s, stored.stale_while_revalidate_s, stored.stale_if_error_s,
        stored.hits, tuple(stored.tags), stored.etag, stored.soft_purged, stored.reason, freshness_text(stored),
    )


def freshness_text(stored: CachedObject) -> str:
    """What the next request meets."""
    if stored.state == "filling":
        return "is being fetched now"
    if stored.state == "marker":
        left = f"; asked again in {_time(stored.fresh_s)} at the latest" if stored.fresh_s > 0 else ""
        return f"not stored: {reason_of(stored.reason).text}{left}"
    if stored.fresh_s > 0 and not stored.soft_purged:
        return f"fresh for {_time(stored.fresh_s)} more"
    since = "soft purged" if stored.soft_purged else f"stale for {_time(-stored.fresh_s)}"
    behind = stored.stale_while_revalidate_s + min(stored.fresh_s, 0)
    failing = stored.stale_if_error_s + min(stored.fresh_s, 0)
    if behind > 0:
        return f"{since}: served for {_time(behind)} more while it is fetched again"
    if failing > 0:
        return f"{since}: the next request asks the server; served for {_time(failing)} more if that fails"
    return f"{since}: the next request asks the server{', with its ETag' if stored.etag else ''}"


def routes_of(compiled: Compiled, decisions: Iterable[RouteDecision]) -> Iterator[RouteOfUrl]:
    """What listeners decide of a GET for the URL, with the cache of the route."""
    for decision in decisions:
        spec = cache_of(compiled, decision.listener, decision.route) if decision.route is not None else None
        facts = tuple((word, text) for word, text in decision.facts if word.startswith("cache"))
        zone = spec.zone if spec is not None else ""
        yield RouteOfUrl(decision.listener, decision.address, decision.route, decision.action, spec is not None, zone, facts)


def cache_of(compiled: Compiled, listener: str, route: str) -> CacheSpec | None:
    """The cache of a route by its names; None where it has none."""
    for spec in compiled.spec.listeners:
        if spec.name == listener:
            action = next((entry.action for entry in compiled.spec.tables[spec.table] if entry.name == route), None)
            return action.cache if isinstance(action, ProxyAction) else None
    return None


def why(url: str, routes: Sequence[RouteOfUrl], objects: Sequence[ObjectView], stats: Mapping[str, int]) -> WhyView:
    """What is stored under the URL, or why nothing is. `stats`: of the store; empty where there is none."""
    caching = [route for route in routes if route.caches]

    def found(verdict: Verdict, text: str, section: str = "", help: str = "") -> WhyView:
        return WhyView(url, verdict, text, section, help, tuple(routes), tuple(objects))

    stored = [entry for entry in objects if entry.state == "complete"]
    if stored:
        fresh = [entry for entry in stored if entry.fresh_for > 0 and not entry.soft_purged]
        best = max(fresh or stored, key=lambda entry: entry.fresh_for)
        variants = f"; {len(stored)} variants" if len(stored) > 1 else ""
        aside = "" if caching else "; but no route serves it from the cache now"
        return found("fresh" if fresh else "stale", f"stored: {best.verdict}{variants}{aside}")
    if any(entry.state == "filling" for entry in objects):
        return found("filling", "it is being fetched now; requests for it wait for that answer and are given it as it comes")
    marker = next((entry for entry in objects if entry.state == "marker"), None)
    if marker is not None:
        reason = reason_of(marker.reason)
        return found("not_stored", marker.verdict, reason.section, reason.help)
    if not any(route.route is not None for route in routes):
        return found("no_route", "no route answers this URL", help="`proxyd route URL` tells why not")
    if not caching:
        names = " and ".join(dict.fromkeys(route.route or "-" for route in routes if route.route is not None))
        return found("not_cached", f"route {names} has no cache", help="add `cache: 10m` to the route (`proxyd explain routes[].cache`)")
    return found("absent", absent_text(stats), help="ask for it with GET and look again; `Cache-Status` of the answer tells what was done")


def absent_text(stats: Mapping[str, int]) -> str:
    """Only what can have happened."""
    causes = [
        f"{text} ({stats[name]:,} so far)" for name, text in (
            ("evictions_capacity", "it was evicted for room"), ("evictions_reclaimed", "its room was needed"),
            ("evictions_variants", "newer variants took its place"), ("purged_objects", "it was purged"),
            ("refused_no_room", "there was no room for it"),
        ) if stats.get(name)
    ]
    return "; or ".join(["nothing is stored: nobody has asked for it since the start", *causes])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _time(seconds: float) -> str:
    """`3 s`, `4 min 10 s`, `2 h 3 min`, `5 d 1 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, unit, small, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    raise AssertionError(whole)
