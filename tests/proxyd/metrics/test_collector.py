"""The exposition, read back with prometheus-client's own parser."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from proxyd.cachetier.counters import TierCounters
from proxyd.compress.compressor import Counters
from proxyd.metrics.admin import AdminCounts
from proxyd.metrics.exposition import Exposition
from proxyd.metrics.source import Capture
from proxyd.state import CacheEntry, CircuitView, GovernorView, LimitEntries, LogEntry, Phase, TierEntry, TraceEntry, UpstreamEntry
from proxyd.tally import Past, Tallies
from proxyd_ext.core.stats import BUCKETS_SECONDS
from tests.support.store import FakeStore, as_cache

EMPTY = {"buckets": [0] * (len(BUCKETS_SECONDS) + 1), "sum": 0.0, "count": 0}


def histogram(sum: float, **buckets: int) -> dict[str, Any]:
    """`b3=2`: two observations in the fourth bucket."""
    counts = [buckets.get(f"b{index}", 0) for index in range(len(BUCKETS_SECONDS) + 1)]
    return {"buckets": counts, "sum": sum, "count": sum_of(counts)}


def sum_of(counts: list[int]) -> int:
    return sum(counts)


def handle(**stats: Any) -> Any:
    return SimpleNamespace(stats=lambda: stats)


def listener(name: str, address: str, mode: str = "http", **stats: Any) -> Any:
    zero = {"accepted": 0, "open": 0, "rejected": {}, "in_flight": 0, "bytes_in": 0, "bytes_out": 0, "packets_in": 0, "packets_out": 0,
            "ended": {}}
    return SimpleNamespace(name=name, address=address, listener=handle(**(zero | stats)), mode=mode)


def route(name: str, past: Past[Any] | None = None, **stats: Any) -> Any:
    empty = {"requests": {}, "errors": {}, "duration_seconds": EMPTY, "ttfb_seconds": EMPTY, "bytes_in": 0, "bytes_out": 0,
             "cache": {}, "cache_bytes": 0}
    return SimpleNamespace(listener="web", route=name, stats=handle(**(empty | stats)), past=past)


def server(
    label: str, checks: Mapping[str, int] | None = None, ejections: Mapping[str, int] | None = None, past: Past[Any] | None = None, *,
    weight: int = 1, down: tuple[str, ...] = (), **stats: Any,
) -> Any:
    empty = {"requests": {}, "errors": {}, "flows": 0, "opened": 0, "bytes_in": 0, "bytes_out": 0, "in_flight": 0, "connections_active": 0,
             "connections_idle": 0}
    state = {"usable": not down, "down": list(down), "ejected_for_ms": 0}
    told = SimpleNamespace(stats=lambda: empty | stats, state=lambda: state)
    return SimpleNamespace(
        upstream="app", label=label, weight=weight, server=told, check_results=checks or {}, ejections=ejections or {}, past=past
    )


QUIET: dict[str, Any] = {
    "refused": {}, "hedges": {"begun": 0, "won": 0}, "in_flight": 0, "pending": 0, "retries_in_flight": 0,
    "mirror": {"sent": 0, "answered": 0, "failed": 0, "skipped": {"in_flight": 0, "body": 0}},
}


def upstream(
    *servers: Any, name: str = "app", departed: int = 0, unresolved: tuple[tuple[str, int], ...] = (),
    governor: GovernorView | None = None, used: bool = True, past: Past[Any] | None = None, **stats: Any,
) -> Any:
    state: Any = handle(**({"response_seconds": EMPTY, "connect_seconds": EMPTY, "retries": {}} | QUIET | stats))
    return UpstreamEntry(name, state, servers, departed, unresolved, governor or GovernorView(), used, past)


def engine(index: int, **stats: Any) -> Any:
    zero = {"cpu_seconds": 0.0, "loop_lag_seconds": 0.0, "commands_refused": 0, "consults_refused": 0, "consults_late": 0, "connections": 0,
            "buffers_bytes": 0}
    return SimpleNamespace(index=index, engine=handle(**(zero | stats)))


class Source:
    """A `MetricsSource` whose capture a test sets."""

    def __init__(self) -> None:
        self.tallies, self.admin_counts = Tallies(), AdminCounts()
        self.now = Capture("abc", {"ok": 1, "failed": 0}, 1_000.0, True, 20_000, "serving", (), (), (), (), ())

    def set(self, **changes: Any) -> None:
        self.now = replace(self.now, **changes)

    @property
    def config_hash(self) -> str:
        return self.now.config_hash

    @property
    def reloads(self) -> dict[str, int]:
        return dict(self.now.reloads)

    @property
    def last_reload_at(self) -> float:
        return self.now.last_reload_at

    @property
    def last_reload_ok(self) -> bool:
        return self.now.last_reload_ok

    @property
    def max_series(self) -> int:
        return self.now.max_series

    @property
    def audit_failed(self) -> int:
        return self.now.audit_failed

    @property
    def phase(self) -> Phase:
        return self.now.phase

    def listener_entries(self) -> Any:
        return self.now.listeners

    def route_entries(self) -> Any:
        return self.now.routes

    def upstream_entries(self) -> Any:
        return self.now.upstreams

    def engine_entries(self) -> Any:
        return self.now.engines

    def cache_entry(self) -> Any:
        return self.now.cache

    def limit_entries(self) -> LimitEntries:
        return self.now.limits

    def log_entries(self) -> Any:
        return self.now.logs

    def trace_entry(self) -> TraceEntry | None:
        return self.now.traces

    @property
    def records_dropped(self) -> int:
        return self.now.records_dropped

    @property
    def records_held(self) -> Mapping[str, int]:
        return self.now.records_held


class Page:
    """A scraped page, asked by sample."""

    def __init__(self, text: str) -> None:
        self.families: dict[str, Metric] = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value for family in self.families.values() for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples[(name, frozenset(labels.items()))]

    def of(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Every sample of a family, by the values of its labels in this order."""
        assert all(set(sample.labels) == set(labels) for sample in self.families[name].samples)
        return {tuple(sample.labels[label] for label in labels): sample.value for sample in self.families[name].samples}


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def exposition(source: Source) -> Exposition:
    return Exposition(source, "9.9.9")


async def scrape(exposition: Exposition) -> Page:
    body, content_type = await exposition.render("")
    assert content_type.startswith("text/plain")
    return Page(body.decode())


async def test_listeners_are_summed_by_name(source: Source, exposition: Exposition) -> None:
    source.set(listeners=(
        listener("web", "127.0.0.1:80", accepted=5, open=2, in_flight=1, rejected={"per_client": 1}),
        listener("web", "[::1]:80", accepted=3, open=1, in_flight=1, rejected={"per_client": 2, "fd_exhausted": 4}),
    ))
    page = await scrape(exposition)
    assert page.value("proxyd_connections_accepted_total", listener="web") == 8
    assert page.value("proxyd_connections_open", listener="web") == 3
    assert page.value("proxyd_http_requests_in_flight", listener="web") == 2
    assert page.of("proxyd_connections_rejected", "listener", "reason") == {("web", "per_client"): 3, ("web", "fd_exhausted"): 4}


async def test_an_address_that_leaves_takes_its_gauge_but_not_its_count(source: Source, exposition: Exposition) -> None:
    source.tallies.listeners.fold(("web", "http"), listener("web", "a", accepted=5, open=2).listener)
    source.set(listeners=(listener("web", "b", accepted=3, open=1),))
    page = await scrape(exposition)
    assert page.value("proxyd_connections_accepted_total", listener="web") == 8
    assert page.value("proxyd_connections_open", listener="web") == 1


async def test_flows(source: Source, exposition: Exposition) -> None:
    source.set(
        listeners=(
            listener("pg", "127.0.0.1:5432", "tcp", accepted=5, open=2, bytes_in=10, bytes_out=2000, ended={"client": 2, "idle": 1}),
            listener("pg", "[::1]:5432", "tcp", accepted=2, open=1, bytes_out=1, rejected={"denied": 3}),
            listener("sni", ":8443", "tls_passthrough", accepted=1),
            listener("dns", ":53", "udp", accepted=9, open=4, packets_in=9, packets_out=8, bytes_in=90, ended={"responses": 5}),
            listener("web", ":80", accepted=7, open=7),
        ),
        upstreams=(upstream(server("a", flows=8), server("b")),),
    )
    page = await scrape(exposition)
    assert page.of("proxyd_tcp_connections", "listener") == {("pg",): 7, ("sni",): 1}
    assert page.of("proxyd_udp_flows", "listener") == {("dns",): 9}
    assert page.of("proxyd_l4_flows", "listener") == {("pg",): 3, ("sni",): 0, ("dns",): 4}
    assert page.of("proxyd_l4_flow_ends", "listener", "reason") == {("pg", "client"): 2, ("pg", "idle"): 1, ("dns", "responses"): 5}
    assert page.value("proxyd_l4_bytes_total", listener="pg", direction="out") == 2001
    assert page.value("proxyd_l4_bytes_total", listener="dns", direction="in") == 90
    assert page.of("proxyd_udp_datagrams", "listener", "direction") == {("dns", "in"): 9, ("dns", "out"): 8}
    assert page.of("proxyd_upstream_flows", "upstream", "server") == {("app", "a"): 8}
    assert page.of("proxyd_connections_rejected", "listener", "reason") == {("pg", "denied"): 3}
    assert page.of("proxyd_connections_accepted", "listener") == {("pg",): 7, ("sni",): 1, ("web",): 7}, "datagrams are no connections"
    assert page.of("proxyd_connections_open", "listener") == {("pg",): 3, ("sni",): 0, ("web",): 7}
    assert page.of("proxyd_http_requests_in_flight", "listener") == {("web",): 0}


async def test_flows_never_fall_over_a_reload(source: Source, exposition: Exposition) -> None:
    source.tallies.listeners.fold(("pg", "tcp"), listener("pg", "a", "tcp", accepted=5, bytes_in=10).listener)
    source.set(listeners=(listener("pg", "b", "tcp", accepted=3, bytes_in=1),))
    page = await scrape(exposition)
    assert page.value("proxyd_tcp_connections_total", listener="pg") == 8
    assert page.value("proxyd_l4_bytes_total", listener="pg", direction="in") == 11


async def test_a_listener_that_changes_its_mode_leaves_its_counts(source: Source, exposition: Exposition) -> None:
    source.set(listeners=(listener("a", ":1", "tcp", accepted=5, ended={"client": 5}),))
    await scrape(exposition)
    source.set(listeners=(listener("a", ":1", "udp", accepted=2),))
    page = await scrape(exposition)
    assert page.of("proxyd_udp_flows", "listener") == {("a",): 2}
    assert page.of("proxyd_tcp_connections", "listener") == {}


async def test_requests_by_method_and_code(source: Source, exposition: Exposition) -> None:
    source.set(routes=(route("api", requests={("GET", 200): 7, ("OTHER", 0): 1}, bytes_in=10, bytes_out=20),))
    page = await scrape(exposition)
    assert page.of("proxyd_http_requests", "listener", "route", "method", "code") == {
        ("web", "api", "GET", "200"): 7, ("web", "api", "OTHER", "other"): 1}
    assert page.value("proxyd_http_request_bytes_total", listener="web", route="api") == 10
    assert page.value("proxyd_http_response_bytes_total", listener="web", route="api") == 20


async def test_errors_carry_the_types_of_rfc_9209(source: Source, exposition: Exposition) -> None:
    errors = {"connect_refused": 2, "upstream_reset": 1, "upstream_closed": 4, "word_of_tomorrow": 1}
    source.set(routes=(route("api", errors=errors),), upstreams=(upstream(server("s:1", errors=errors)),))
    page = await scrape(exposition)
    assert page.of("proxyd_http_errors", "listener", "route", "error") == {
        ("web", "api", "connection_refused"): 2, ("web", "api", "connection_terminated"): 5, ("web", "api", "word_of_tomorrow"): 1}
    assert page.of("proxyd_upstream_errors", "upstream", "server", "error") == {
        ("app", "s:1", word): count for word, count in errors.items()}


async def test_histograms_are_cumulative(source: Source, exposition: Exposition) -> None:
    source.set(routes=(route("api", duration_seconds=histogram(1.5, b0=2, b3=3, b16=1)), route("unused")))
    page = await scrape(exposition)
    labels = {"listener": "web", "route": "api"}
    name = "proxyd_http_request_duration_seconds"
    values = [page.value(f"{name}_bucket", le=bound, **labels) for bound in ("0.0005", "0.001", "0.005", "60.0", "+Inf")]
    assert values == [2, 2, 5, 5, 6]
    assert page.value(f"{name}_count", **labels) == 6
    assert page.value(f"{name}_sum", **labels) == 1.5
    assert {sample.labels["route"] for sample in page.families[name].samples} == {"api"}, "no lines of zeros for a route without requests"
    assert page.families[name].type == "histogram"


async def test_upstreams(source: Source, exposition: Exposition) -> None:
    source.set(
        upstreams=(upstream(
            server("s:1", weight=5, opened=4, connections_active=2, connections_idle=3, in_flight=2),
            server("s:2", down=("health",), opened=1, connections_idle=1),
            unresolved=(("s.internal:80", 3),), departed=10, retries={"connect_refused": 3}, connect_seconds=histogram(0.1, b1=5),
        ),),
    )
    page = await scrape(exposition)
    assert page.value("proxyd_upstream_connections_opened_total", upstream="app") == 15
    assert page.of("proxyd_upstream_connections", "upstream", "state") == {("app", "active"): 2, ("app", "idle"): 4}
    assert page.value("proxyd_http_retries_total", upstream="app", reason="connect_refused") == 3
    assert page.value("proxyd_upstream_connect_duration_seconds_count", upstream="app") == 5
    assert page.of("proxyd_upstream_server_up", "upstream", "server") == {
        ("app", "s:1"): 1, ("app", "s:2"): 0, ("app", "s.internal:80"): 0}
    assert page.value("proxyd_upstream_server_weight", upstream="app", server="s:1") == 5
    assert page.value("proxyd_upstream_server_requests_in_flight", upstream="app", server="s:1") == 2
    states = {labels: value for labels, value in page.of("proxyd_upstream_server_state", "upstream", "server", "state").items() if value}
    assert states == {("app", "s:1", "up"): 1, ("app", "s:2", "down"): 1, ("app", "s.internal:80", "unresolved"): 1}


async def test_servers(source: Source, exposition: Exposition) -> None:
    ejections = {"consecutive": 2, "error_rate": 3, "latency": 1}
    source.set(upstreams=(upstream(server("s:1", {"passed": 8, "failed": 2}, ejections, requests={200: 9, 503: 1})),))
    page = await scrape(exposition)
    assert page.of("proxyd_upstream_requests", "upstream", "server", "code") == {("app", "s:1", "200"): 9, ("app", "s:1", "503"): 1}
    assert page.of("proxyd_upstream_ejections", "upstream", "server", "reason") == {
        ("app", "s:1", "consecutive"): 2, ("app", "s:1", "error_rate"): 3, ("app", "s:1", "latency"): 1}
    assert page.of("proxyd_upstream_health_checks", "upstream", "server", "result") == {
        ("app", "s:1", "passed"): 8, ("app", "s:1", "failed"): 2}


async def test_what_governs_an_upstream(source: Source, exposition: Exposition) -> None:
    governors = {
        "open": GovernorView(CircuitView("open", 1.0, "62 % of 340 requests failed within 10 s"), 120, 35),
        "half": GovernorView(CircuitView("half_open", 1.0, "trying 3 requests")),
        "well": GovernorView(CircuitView("closed", 1.0, "")),
        "none": GovernorView(),
    }
    source.set(upstreams=tuple(upstream(name=name, governor=governor) for name, governor in governors.items()))
    page = await scrape(exposition)
    assert page.of("proxyd_upstream_circuit_open", "upstream") == {("open",): 1, ("half",): 0.5, ("well",): 0}
    assert page.of("proxyd_upstream_concurrency_limit", "upstream") == {("open",): 120}
    assert page.of("proxyd_upstream_hedge_delay_seconds", "upstream") == {("open",): 0.035}


async def test_counters_never_fall_over_a_reload(source: Source, exposition: Exposition) -> None:
    one = server("s:1", {"passed": 8}, {"latency": 2}, requests={200: 9}, opened=4)
    source.set(upstreams=(upstream(one),), routes=(route("api", requests={("GET", 200): 7}),))
    await scrape(exposition)
    source.set(upstreams=(), routes=())
    page = await scrape(exposition)
    assert page.of("proxyd_upstream_requests", "upstream", "server", "code") == {}
    again = server("s:1", {"passed": 1}, {"latency": 1}, Past(("requests",), {"requests": {200: 9}}), requests={200: 1}, opened=1)
    before: Past[Any] = Past(("retries",), {"retries": {"connect_refused": 1}})
    source.set(upstreams=(upstream(again, departed=4, past=before, retries={"connect_refused": 1}),),
               routes=(route("api", Past(("requests",), {"requests": {("GET", 200): 7}}), requests={("GET", 200): 1}),))
    page = await scrape(exposition)
    assert page.value("proxyd_upstream_requests_total", upstream="app", server="s:1", code="200") == 10
    assert page.value("proxyd_upstream_connections_opened_total", upstream="app") == 5
    assert page.value("proxyd_upstream_health_checks_total", upstream="app", server="s:1", result="passed") == 9
    assert page.value("proxyd_upstream_ejections_total", upstream="app", server="s:1", reason="latency") == 3
    assert page.value("proxyd_http_retries_total", upstream="app", reason="connect_refused") == 2
    assert page.value("proxyd_http_requests_total", listener="web", route="api", method="GET", code="200") == 8


async def test_who_connects_to_the_admin_api(source: Source, exposition: Exposition) -> None:
    counts = source.admin_counts
    counts.accepted["unix"], counts.accepted["tcp"], counts.open["tcp"], counts.rejected["tcp", "head"] = 1, 9, 2, 3
    page = await scrape(exposition)
    assert page.of("proxyd_admin_connections_accepted", "socket") == {("tcp",): 9, ("unix",): 1}
    assert page.of("proxyd_admin_connections_open", "socket") == {("tcp",): 2, ("unix",): 0}
    assert page.value("proxyd_admin_connections_rejected_total", socket="tcp", reason="head") == 3
    assert page.value("proxyd_admin_connections_rejected_total", socket="unix", reason="limit") == 0


async def test_readiness(source: Source, exposition: Exposition) -> None:
    well, dead = upstream(server("s:1"), server("s:2", down=("health",))), upstream(server("s:1", down=("health",)), name="dead")
    unused = upstream(name="unused", used=False)
    for upstreams, ready in (((), 1), ((well, unused), 1), ((well, dead), 0)):
        source.set(upstreams=upstreams)
        assert (await scrape(exposition)).value("proxyd_ready") == ready
    source.set(upstreams=(), phase="draining")
    assert (await scrape(exposition)).value("proxyd_ready") == 0


async def test_config_and_engines(source: Source, exposition: Exposition) -> None:
    source.set(
        last_reload_ok=False, reloads={"ok": 3, "failed": 1}, audit_failed=2, logs=(LogEntry("access", 5, 2, 1),),
        engines=(engine(0, cpu_seconds=1.25, loop_lag_seconds=0.003), engine(1, consults_refused=4, commands_refused=1, consults_late=2)),
    )
    page = await scrape(exposition)
    assert page.value("proxyd_config_last_reload_successful") == 0
    assert page.value("proxyd_config_last_reload_success_timestamp_seconds") == 1_000
    assert page.of("proxyd_config_reloads", "result") == {("ok",): 3, ("failed",): 1}
    assert page.of("proxyd_config_info", "hash") == {("abc",): 1}
    assert {sample.labels["version"] for sample in page.families["proxyd_build_info"].samples} == {"9.9.9"}
    assert page.value("proxyd_engine_cpu_seconds_total", engine="0") == 1.25
    assert page.value("proxyd_engine_loop_lag_seconds", engine="0") == 0.003
    assert page.value("proxyd_engine_door_refused_total", engine="1", door="consults") == 4
    assert page.value("proxyd_engine_door_refused_total", engine="1", door="commands") == 1
    assert page.value("proxyd_engine_consults_late_total", engine="1") == 2
    assert page.value("proxyd_log_dropped_total", sink="access") == 2
    assert page.value("proxyd_log_sampled_out_total", sink="access") == 1


async def test_openmetrics_for_those_who_ask(source: Source, exposition: Exposition) -> None:
    body, content_type = await exposition.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_no_handle_outlives_the_page(source: Source, exposition: Exposition) -> None:
    """A listener closes its sockets with its last reference, so a scrape must not keep one."""
    alive: list[str] = []

    class Listener:
        def __init__(self) -> None:
            alive.append("listener")

        def __del__(self) -> None:
            alive.remove("listener")

        def stats(self) -> dict[str, Any]:
            return {"accepted": 1, "open": 0, "rejected": {}, "in_flight": 0}

    source.set(listeners=(SimpleNamespace(name="web", address="a", listener=Listener(), mode="http"),))
    await scrape(exposition)
    assert alive == ["listener"]
    source.set(listeners=())
    assert alive == []


async def test_limits_hedges_and_copies(source: Source, exposition: Exposition) -> None:
    """What an upstream's limits did, in the words of the log; families of what it does not use stay empty."""
    copies = {"sent": 7, "answered": 5, "failed": 1, "skipped": {"in_flight": 3, "body": 0}}
    source.set(upstreams=(
        upstream(refused={"circuit_open": 4, "retry_budget": 2}, hedges={"begun": 9, "won": 3}, mirror=copies, in_flight=6, pending=5,
                 retries_in_flight=1),
    ))
    page = await scrape(exposition)
    assert page.of("proxyd_upstream_refused", "upstream", "reason") == {("app", "circuit_open"): 4, ("app", "retry_budget"): 2}
    assert page.of("proxyd_upstream_hedges", "upstream", "result") == {("app", "won"): 3, ("app", "lost"): 6}
    assert page.of("proxyd_upstream_mirrored", "upstream", "result") == {
        ("app", "answered"): 5, ("app", "failed"): 1, ("app", "skipped_in_flight"): 3}
    assert page.value("proxyd_upstream_requests_in_flight", upstream="app") == 6
    assert page.value("proxyd_upstream_queue_length", upstream="app") == 5
    assert page.value("proxyd_upstream_retries_in_flight", upstream="app") == 1


# ---------------------------------------------------------------------- the cache
async def test_what_routes_met_in_the_cache(source: Source, exposition: Exposition) -> None:
    source.set(routes=(route("media", cache={"hit": 7, "miss": 2, "stale": 0}, cache_bytes=900), route("api")))
    page = await scrape(exposition)
    assert page.of("proxyd_cache_requests", "listener", "route", "result") == {
        ("web", "media", "hit"): 7, ("web", "media", "miss"): 2, ("web", "media", "stale"): 0}
    assert page.of("proxyd_cache_served_bytes", "listener", "route") == {("web", "media"): 900}


async def test_what_the_store_holds_and_lets_go(source: Source, exposition: Exposition) -> None:
    store = FakeStore(bytes=100, held_bytes=120, limit_bytes=1_000, inserted=9, evictions_capacity=3, purges_tag=2, purged_objects=5,
                      refused_no_room=1, collapsed=4, handed_over=1, late_fills=1, objects=2)
    store.points = [(500, 1_000, 700), (1_000, 1_000, 880), (1_500, 0, 0)]
    source.set(cache=CacheEntry(as_cache(store)))
    page = await scrape(exposition)
    assert [page.value(f"proxyd_cache_{name}") for name in ("objects", "bytes", "held_bytes", "limit_bytes")] == [2, 100, 120, 1_000]
    assert page.value("proxyd_cache_evictions_total", reason="capacity") == 3
    assert page.value("proxyd_cache_purges_total", kind="tag") == 2
    assert page.value("proxyd_cache_refused_total", reason="no_room") == 1
    names = ("inserted", "purged_objects", "collapsed", "handed_over", "late_fills")
    assert [page.value(f"proxyd_cache_{name}_total") for name in names] == [9, 5, 4, 1, 1]
    assert page.of("proxyd_cache_estimated_hit_ratio", "scale") == {("0.5",): 0.7, ("1",): 0.88}


async def test_another_store_goes_on_counting(source: Source, exposition: Exposition) -> None:
    source.set(cache=CacheEntry(as_cache(FakeStore(inserted=9))))
    await scrape(exposition)
    source.set(cache=None)
    assert (await scrape(exposition)).of("proxyd_cache_inserted") == {}
    source.set(cache=CacheEntry(as_cache(FakeStore(inserted=2))))
    assert (await scrape(exposition)).value("proxyd_cache_inserted_total") == 11


async def test_the_shared_tier(source: Source, exposition: Exposition) -> None:
    counters = TierCounters(lookup_hit=3, lookup_timeout=1, store_done=2, purges_received=4, failures=1, circuit_opened=1, bytes_read=900)
    source.set(cache=CacheEntry(as_cache(FakeStore()), TierEntry("redis", True, counters)))
    page = await scrape(exposition)
    looked_up = page.of("proxyd_cache_tier_lookups", "tier", "result")
    assert {key: value for key, value in looked_up.items() if value} == {("redis", "hit"): 3, ("redis", "timeout"): 1}
    assert len(looked_up) == 7
    assert page.value("proxyd_cache_tier_stores_total", tier="redis", result="done") == 2
    assert page.of("proxyd_cache_tier_purges", "tier", "direction") == {("redis", "sent"): 0, ("redis", "received"): 4}
    assert page.value("proxyd_cache_tier_bytes_total", tier="redis", direction="read") == 900
    names = ("operations_total", "failures_total", "circuit_opened_total", "circuit_open", "history_lost_total")
    assert [page.value(f"proxyd_cache_tier_{name}", tier="redis") for name in names] == [0, 1, 1, 1, 0]


async def test_compressed_forms(source: Source, exposition: Exposition) -> None:
    counters = Counters(finished=5, dropped=1)
    counters.refused["type"] = 2
    counters.made["br"], counters.bytes_in["br"], counters.bytes_out["br"] = 5, 1_000, 250
    source.set(cache=CacheEntry(as_cache(FakeStore()), None, counters))
    page = await scrape(exposition)
    results = {key: value for key, value in page.of("proxyd_cache_compressions", "result").items() if value}
    assert results == {("finished",): 5, ("dropped",): 1, ("refused_type",): 2}
    assert page.value("proxyd_cache_compressed_forms_total", encoding="br") == 5
    sides = page.of("proxyd_cache_compress_bytes", "encoding", "side")
    assert (sides[("br", "before")], sides[("br", "after")]) == (1_000, 250)


# ---------------------------------------------------------------------- records and traces
async def test_records_and_spans(source: Source, exposition: Exposition) -> None:
    spans = {"sent": 40, "rejected": 1, "failed": 3, "dropped": 2}
    source.set(
        records_dropped=9, records_held={"5xx": 4, "other": 0},
        traces=TraceEntry(spans, 12, 512, "http://127.0.0.1:4318/v1/traces", "connection refused"),
        logs=(SimpleNamespace(sink="access", written=5, dropped=0, sampled_out=0),),
    )
    page = await scrape(exposition)
    assert page.of("proxyd_trace_spans", "result") == {(result,): count for result, count in spans.items()}
    names = ("trace_queue_length", "trace_queue_limit", "trace_export_failing", "tap_dropped_total")
    assert [page.value(f"proxyd_{name}") for name in names] == [12, 512, 1, 9]
    assert page.of("proxyd_tap_held", "class") == {("5xx",): 4, ("other",): 0}
    assert page.value("proxyd_log_records_total", sink="access") == 5


async def test_too_many_series_are_folded_and_told(source: Source, exposition: Exposition) -> None:
    source.set(max_series=100, routes=tuple(route(f"r{number}", requests={("GET", 200): 1}) for number in range(100)))
    page = await scrape(exposition)
    requests = page.of("proxyd_http_requests", "listener", "route", "method", "code")
    assert sum(requests.values()) == 100
    assert ("_other", "_other", "_other", "200") in requests
    assert len(page.samples) <= 100
    assert page.value("proxyd_metrics_series_limit") == 100
    folded = page.value("proxyd_metrics_series_folded")
    assert exposition.warnings() == (f"metrics.max_series (100) is reached: {folded:.0f} series are summed under `_other`",)
    again = await scrape(exposition)
    assert again.of("proxyd_http_requests", "listener", "route", "method", "code") == requests
