"""What `/stats` and its stream tell: everything since the start, and the last ten seconds beside it.

    {at, since, seconds, recent_seconds, wrong: [sentence], total: ROW, listeners, routes: [ROW], routes_left_out,
     upstreams: [ROW + servers: [ROW]], engines, logs, cache}

A ROW has the sums since the start (`requests`, `errors`, ...) and `recent`, the same of the last seconds; `Totals` says what each member
means. The sums are those of `/metrics`: `total.requests` is the sum over `proxyd_http_requests_total`.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from proxyd.events.ring import Events
from proxyd.metrics.collector import code_label
from proxyd.sockets import socket_kind
from proxyd.state import CacheEntry, ListenerEntry, StatusView, UpstreamView
from proxyd.stats.figures import NOTHING, Figures, Totals, of_server, of_upstream, plus, total, totals_of, without_times
from proxyd.stats.history import History, Point, Route, ServerKey, Source
from proxyd.stats.wrong import wrong_now
from proxyd.tally import Tallies

RECENT = 10              # points
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

class Reported(Source, Protocol):
    """The part of the daemon that is told."""

    @property
    def history(self) -> History: ...

    @property
    def events(self) -> Events: ...

    def status(self) -> StatusView: ...

    def cache_entry(self) -> CacheEntry | None: ...


def whole_report(daemon: Reported) -> dict[str, Any]:
    """All routes, each with its answers by status code and its failures by error word, and the same of all together."""
    found, routes, counted = report(daemon), daemon.history.routes, daemon.tallies.routes
    all_codes: Counter[str] = Counter()
    all_failures: Counter[str] = Counter()
    for entry in found["routes"]:
        key = (entry["listener"], entry["route"])
        stats = counted.stats(key, routes[key])
        codes: Counter[str] = Counter()
        for (_, code), count in stats["requests"].items():
            codes[code_label(code)] += count
        entry |= {"codes": codes, "failures": stats["errors"]}
        all_codes.update(codes)
        all_failures.update(stats["errors"])
    found["total"] |= {"codes": all_codes, "failures": all_failures}
    return found


def report(daemon: Reported, *, routes: int | None = None) -> dict[str, Any]:
    """`routes`: of how many routes there is to be a row, the busiest of the last seconds; None: of all."""
    history, status = daemon.history, daemon.status()
    history.follow()
    points = history.points(RECENT)
    seconds = sum(point.seconds for point in points)
    sums = {key: daemon.tallies.routes.row(key, handle) for key, handle in history.routes.items()}
    rows = [
        {"listener": listener, "route": name, **row(figures, recent, status.uptime_seconds, seconds)}
        for (listener, name), figures, recent in busiest(sums, gains(points, "routes"), routes)
    ]
    return {
        "at": status.started_at + status.uptime_seconds,
        "since": status.started_at,
        "seconds": status.uptime_seconds,
        "recent_seconds": seconds,
        "wrong": wrong_now(status, points, daemon.events.after()),
        "total": row(total(sums.values()), total(point.all for point in points), status.uptime_seconds, seconds),
        "listeners": list(listener_rows(daemon.listener_entries(), daemon.tallies)),
        "routes": rows,
        "routes_left_out": len(sums) - len(rows),
        "upstreams": list(upstream_rows(history, daemon.tallies, points, status)),
        "engines": [asdict(engine) for engine in status.engines],
        "logs": [asdict(entry) for entry in daemon.log_entries()],
        "cache": cache_facts(daemon.cache_entry()),
    }


def row(figures: Figures, recent: Figures, seconds: float, recent_seconds: float, *, tries: bool = False) -> dict[str, Any]:
    """Most routes and servers of a large config have been idle of late: what is told of them is made once."""
    def told(part: Figures, span: float) -> dict[str, Any]:
        return IDLE if part == NOTHING else facts(totals_of(part, span, tries=tries))

    return told(figures, seconds) | {"recent": told(recent, recent_seconds)}


def facts(found: Totals) -> dict[str, Any]:
    """As JSON tells it."""
    plain = ("requests", "errors", "proxy_errors", "bytes_in", "bytes_out", "cache_asked", "cache_answered")
    times = {name: found.quantile(share) for name, share in QUANTILES.items()}
    return {name: getattr(found, name) for name in plain} | {"classes": found.classes, "mean": found.mean_seconds} | times


IDLE = facts(totals_of(NOTHING, 0.0))


def gains(points: Sequence[Point], parts: str) -> dict[Any, Figures]:
    """What each part gained in these points."""
    found: dict[Any, list[Figures]] = {}
    for point in points:
        for key, figures in getattr(point.parts, parts, {}).items():
            found.setdefault(key, []).append(figures)
    return {key: total(rows) for key, rows in found.items()}


def busiest(
    sums: Mapping[Route, Figures], recent: Mapping[Route, Figures], most: int | None
) -> Iterable[tuple[Route, Figures, Figures]]:
    """In the order of the config; where there are too many, those with the most answers of late, and then since the start."""
    kept = set(sums)
    if most is not None and len(sums) > most:
        kept = set(sorted(sums, key=lambda key: (sum(recent.get(key, NOTHING)[:6]), sum(sums[key][:6])), reverse=True)[:most])
    return ((key, figures, recent.get(key, NOTHING)) for key, figures in sums.items() if key in kept)


def upstream_rows(history: History, tallies: Tallies, points: Sequence[Point], status: StatusView) -> Iterable[dict[str, Any]]:
    servers = {key: of_server(tallies.servers.row(key, handle)) for key, handle in history.servers.items()}
    recent_servers: dict[ServerKey, Figures] = gains(points, "servers")
    recent: dict[str, Figures] = gains(points, "upstreams")
    seconds = sum(point.seconds for point in points)
    done: dict[str, Figures] = {}
    for (name, _), figures in servers.items():
        done[name] = plus(done.get(name, NOTHING), without_times(figures))
    for view in status.upstreams:
        state = history.upstreams.get(view.name)
        now = state.stats() if state is not None else None
        figures = done.get(view.name, NOTHING)
        if state is not None:
            figures = plus(figures, of_upstream(tallies.upstreams.row(view.name, state)))
        yield {
            "name": view.name,
            "balance": view.balance,
            "usable": view.usable,
            "warning": view.warning,
            "circuit": view.governor.circuit.state if view.governor.circuit is not None else None,
            "in_flight": now["in_flight"] if now is not None else 0,
            "pending": now["pending"] if now is not None else 0,
            **row(figures, recent.get(view.name, NOTHING), status.uptime_seconds, seconds, tries=True),
            "servers": list(server_rows(view, servers, recent_servers, status.uptime_seconds, seconds)),
        }


def server_rows(
    upstream: UpstreamView, sums: Mapping[ServerKey, Figures], recent: Mapping[ServerKey, Figures], seconds: float, recent_seconds: float
) -> Iterable[dict[str, Any]]:
    for view in upstream.servers:
        key = (upstream.name, view.label)
        yield {
            "server": view.label,
            "state": view.state,
            "reason": view.reason,
            "since": view.since,
            "weight": view.weight,
            "backup": view.backup,
            "in_flight": view.in_flight,
            "connections": view.connections_active + view.connections_idle,
            "flows": view.flows,
            **row(sums.get(key, NOTHING), recent.get(key, NOTHING), seconds, recent_seconds, tries=True),
        }


def listener_rows(entries: Sequence[ListenerEntry], tallies: Tallies) -> Iterable[dict[str, Any]]:
    """A row for each address, and one with the address "" for what a listener counted with sockets that it has no more."""
    for entry in entries:
        yield listener_facts(entry.name, entry.address, entry.mode, entry.listener.stats())
    names = {entry.name for entry in entries}
    for (name, kind), past in tallies.listeners.pasts().items():
        if name in names:
            yield listener_facts(name, "", kind, {"open": 0, "in_flight": 0, **past.stats})


def listener_facts(name: str, address: str, mode: str, stats: Mapping[str, Any]) -> dict[str, Any]:
    """`bytes_in` and `bytes_out` are of flows; None where a listener has none."""
    found = {"name": name, "address": address, "mode": mode} | {word: stats[word] for word in ("accepted", "open", "in_flight", "rejected")}
    return found | {word: stats[word] if socket_kind(mode) != "http" else None for word in ("bytes_in", "bytes_out")}


def cache_facts(entry: CacheEntry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    stats = entry.store.stats()
    return {name: stats[name] for name in ("objects", "bytes", "limit_bytes")}


def columns(points: Sequence[Point], rows: Sequence[Figures | None], *, tries: bool = False) -> dict[str, list[Any]]:
    """Points as the columns of a chart. `rows`: what is asked for of each point; None: no longer known, and so are its columns."""
    totals = [
        totals_of(figures, point.seconds, tries=tries) if figures is not None else None
        for point, figures in zip(points, rows, strict=True)
    ]
    found: dict[str, list[Any]] = {"at": [point.wall for point in points], "seconds": [point.seconds for point in points]}
    for name in ("requests", "errors", "proxy_errors", "bytes_in", "bytes_out", "cache_asked", "cache_answered"):
        found[name] = [getattr(entry, name) if entry is not None else None for entry in totals]
    for name, share in QUANTILES.items():
        found[name] = [entry.quantile(share) if entry is not None else None for entry in totals]
    for name in ("open", "in_flight", "accepted", "cpu_seconds", "lag_seconds", "dropped"):
        found[name] = [getattr(point.gauges, name) for point in points]
    return found
