"""The metric families of limits and of the gateway: what they decided, what they hold, and the parts around them.

Labels are names of policies and routes, and fixed words. A policy that a reload redefines gets new handles, whose counters begin at zero:
the `Ratchet` adds what the ones before had reached.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from proxyd.limits.views import INFLIGHT_DECISIONS, LANE_RESULTS, RATE_DECISIONS
from proxyd.metrics.families import Family, Numbers, counter, gauge
from proxyd.metrics.ratchet import Ratchet

if TYPE_CHECKING:
    from proxyd.state import LimitEntries, ShareEntry

AUTH_RESULTS = ("allowed", "denied", "missing", "failed")
FILTER_RESULTS = ("changed", "replied", "failed", "timeout", "passed_open", "refused_closed")
HOOKS = ("request", "response")


class _Counts:
    """The counters of one handle after another, as series that only grow."""

    def __init__(self, numbers: Ratchet) -> None:
        self._numbers = numbers

    def put(self, family: Numbers, handle: object, name: str, stats: Mapping[str, Any], words: Iterable[str]) -> None:
        """A series for each of the words, which is a counter of `stats` and a label value."""
        for word in words:
            family.add((name, word), self._numbers.total((family.name, name, word), stats[word], id(handle)))

    def put_one(self, family: Numbers, handle: object, name: str, value: float) -> None:
        family.add((name,), self._numbers.total((family.name, name), value, id(handle)))


def limit_families(entries: LimitEntries, numbers: Ratchet) -> Iterable[Family]:
    """Where nothing limits they stand there empty."""
    counts = _Counts(numbers)
    yield from _rates(entries, counts)
    yield from _shared(entries.shared, numbers)
    yield from _inflight(entries, counts)
    yield from _bans(entries, counts)
    yield from _places(entries, counts)
    yield from _auth(entries, counts)
    yield from _filters(entries, counts)


def _rates(entries: LimitEntries, counts: _Counts) -> Iterable[Family]:
    requests = counter("ratelimit_requests_total", "Requests that a rate limit counted, by what it decided.", ("policy", "decision"))
    keys = gauge("ratelimit_keys", "Keys that a rate limit remembers.", ("policy",))
    most = gauge("ratelimit_keys_limit", "Keys that it has room for.", ("policy",))
    held = gauge("ratelimit_memory_bytes", "Bytes of its table.", ("policy",))
    evictions = counter("ratelimit_evictions_total", "Keys that were forgotten for room.", ("policy",))
    lost = counter("ratelimit_wants_lost_total", "Wants of tokens that found no room on their way to the shared store.", ("policy",))
    for name, limit in entries.rates.items():
        stats = limit.stats(entries.now_us)
        counts.put(requests, limit, name, stats, RATE_DECISIONS)
        counts.put_one(evictions, limit, name, stats["evictions"])
        counts.put_one(lost, limit, name, stats["lease_wants_lost"])
        for family, word in ((keys, "keys"), (most, "capacity"), (held, "memory_bytes")):
            family.add((name,), stats[word])
    return requests, keys, most, held, evictions, lost


def _shared(entry: ShareEntry | None, numbers: Ratchet) -> Iterable[Family]:
    nodes = gauge("ratelimit_shared_nodes", "Proxies that share limits, as the store has told.")
    local = gauge("ratelimit_shared_local", "Whether the store is away and the local share counts (1), else 0.")
    waiting = gauge("ratelimit_shared_waiting", "Keys that wait for the store.")
    exchanges = counter("ratelimit_shared_exchanges_total", "Exchanges with the store, by result.", ("result",))
    tokens = counter("ratelimit_shared_tokens_total", "Tokens: used on credit, asked for beyond them, given by the store.", ("kind",))
    dropped = counter("ratelimit_shared_wants_dropped_total", "Wants that were not brought to the store: too many waited.")
    times = counter("ratelimit_shared_away_total", "Times that the store was lost, and the local share took over.")
    found = (nodes, local, waiting, exchanges, tokens, dropped, times)
    if entry is None:
        return found
    did = entry.counters
    nodes.add((), entry.nodes)
    local.add((), float(entry.local))
    waiting.add((), entry.waiting)
    series: tuple[tuple[Numbers, tuple[str, ...], int], ...] = (
        (exchanges, ("done",), did.exchanges - did.failures), (exchanges, ("failed",), did.failures), (tokens, ("used",), did.tokens_used),
        (tokens, ("asked",), did.tokens_asked), (tokens, ("given",), did.tokens_given), (dropped, (), did.wants_dropped),
        (times, (), did.times_local),
    )
    for family, labels, count in series:
        family.add(labels, numbers.total((family.name, *labels), count))
    return found


def _inflight(entries: LimitEntries, counts: _Counts) -> Iterable[Family]:
    requests = counter("inflight_requests_total", "Requests that a limit by key of those in flight counted, by what it decided.",
                       ("policy", "decision"))
    flying = gauge("inflight_current", "Requests in flight that it counts now.", ("policy",))
    keys = gauge("inflight_keys", "Keys that have any.", ("policy",))
    for name, table in entries.inflight.items():
        stats = table.stats()
        counts.put(requests, table, name, stats, INFLIGHT_DECISIONS)
        flying.add((name,), stats["in_flight"])
        keys.add((name,), stats["keys"])
    return requests, flying, keys


def _bans(entries: LimitEntries, counts: _Counts) -> Iterable[Family]:
    active = gauge("bans_active", "Clients that are banned now.", ("policy",))
    begun = counter("bans_total", "Bans so far.", ("policy",))
    refused = counter("bans_refused_total", "Requests of banned clients.", ("policy",))
    evictions = counter("bans_evictions_total", "Clients that were forgotten for room.", ("policy",))
    for name, bans in entries.bans.items():
        stats = bans.stats(entries.now_us)
        active.add((name,), stats["banned"])
        for family, word in ((begun, "bans"), (refused, "refused"), (evictions, "evictions")):
            counts.put_one(family, bans, name, stats[word])
    return active, begun, refused, evictions


def _places(entries: LimitEntries, counts: _Counts) -> Iterable[Family]:
    requests = counter("concurrency_requests_total", "Requests of routes that have places, by what became of them there.",
                       ("route", "result"))
    flying = gauge("concurrency_in_flight", "Places that the route's requests have now.", ("route",))
    limit = gauge("concurrency_limit", "Places of the route: reserved for it, and at most (0: no bound).", ("route", "kind"))
    waiting = gauge("concurrency_waiting", "Requests that wait for a place.", ("route",))
    total = gauge("concurrency_places", "Places of all routes (0: no bound).")
    standing = gauge("concurrency_shedding", "Whether the queue for places stands, so that those who waited long are shed (1), else 0.")
    for name, lane in entries.lanes.items():
        stats = lane.stats()
        counts.put(requests, lane, name, stats, LANE_RESULTS)
        flying.add((name,), stats["in_use"])
        waiting.add((name,), stats["waiting"])
        for kind in ("reserved", "max"):
            limit.add((name, kind), stats[kind])
    if entries.gate is not None:
        stats = entries.gate.stats()
        total.add((), stats["total"])
        standing.add((), stats["standing"])
    below = gauge("overload_shed_below", "Requests of classes below it are shed: 0 none, 1 low, 2 low and normal, 3 all but critical.")
    if entries.overload is not None:
        below.add((), entries.overload.shed_below)
    return requests, flying, limit, waiting, total, standing, below


def _auth(entries: LimitEntries, counts: _Counts) -> Iterable[Family]:
    requests = counter("auth_requests_total", "Requests that had to say who they are, by result.", ("policy", "result"))
    asked = counter("auth_asked_total", "Of those, how many had no remembered verdict.", ("policy",))
    held = gauge("auth_verdicts", "Verdicts that are remembered.", ("policy",))
    evictions = counter("auth_verdict_evictions_total", "Verdicts that were forgotten for room.", ("policy",))
    for name, verdicts in entries.verdicts.items():
        stats = verdicts.stats()
        counts.put(requests, verdicts, name, stats, AUTH_RESULTS)
        counts.put_one(asked, verdicts, name, stats["asked"])
        counts.put_one(evictions, verdicts, name, stats["evictions"])
        held.add((name,), stats["entries"])
    return requests, asked, held, evictions


def _filters(entries: LimitEntries, counts: _Counts) -> Iterable[Family]:
    asked = counter("filter_asked_total", "Requests and answers that a filter was asked about.", ("policy", "hook"))
    results = counter("filter_results_total", "What filters did, if anything, and how they failed.", ("policy", "result"))
    failing = gauge("filter_failing", "Whether a filter is out of order (1), else 0.", ("policy",))
    for name, hooks in entries.hooks.items():
        stats = hooks.stats()
        counts.put(results, hooks, name, stats, FILTER_RESULTS)
        counts.put(asked, hooks, name, {hook: stats[f"asked_{hook}"] for hook in HOOKS}, HOOKS)
        failing.add((name,), float(hooks.failing))
    return asked, results, failing
