"""The metric families of interface.md §5, made from native counters at the moment of a scrape.

Nothing is counted here; what the engines count is read, summed over what has left (`proxyd/tally.py`) and named. Labels come from the
config, from status codes, from methods as the engine normalises them and from fixed words, so that clients cannot grow the number of
series. A route or server that nobody has used yet shows no histogram: a thousand routes would be forty thousand lines of zeros.
"""
from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from proxyd.metrics.admin import admin_families
from proxyd.metrics.audit import audit_families
from proxyd.metrics.cache import compress_families, route_families, store_families, tier_families
from proxyd.metrics.families import Family, Labels, Numbers, counter, gauge, histogram
from proxyd.metrics.flows import flow_families
from proxyd.metrics.limits import limit_families
from proxyd.metrics.ratchet import Ratchet
from proxyd.metrics.source import Capture
from proxyd.sockets import socket_kind
from proxyd.state import ServerEntry, ServerState, server_state
from proxyd.tally import Stats, add, with_past
from proxyd_ext.core.fault import faults

SERVER_STATES: tuple[ServerState, ...] = ("up", "down", "pending", "ejected", "maint", "drain", "unresolved")
ERROR_WORDS: Mapping[str, str] = {word: str(facts["proxy_error"]) or word for word, facts in faults().items()}
"""Fault word → the error type of RFC 9209 §2.3 that stands in `Proxy-Status`."""


class Collector:
    """The families of one capture; remembers what must not be forgotten between scrapes. One scrape at a time."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._numbers = Ratchet()

    def collect(self, now: Capture) -> Iterator[Family]:
        listeners = listener_totals(now)
        yield from self._collect_listeners(now, listeners)
        yield from flow_families(now.listeners, listeners)
        yield from self._collect_routes(now)
        yield from self._collect_upstreams(now)
        yield from self._collect_servers(now)
        yield from store_families(now.cache, self._numbers)
        yield from tier_families(now.cache, self._numbers)
        yield from compress_families(now.cache, self._numbers)
        yield from limit_families(now.limits, self._numbers)
        yield from self._collect_config(now)
        yield from audit_families(now.audit_failed)
        yield from admin_families(now.admin)
        yield from self._collect_engines(now)
        yield from self._collect_records(now)

    def _collect_listeners(self, now: Capture, totals: Mapping[Labels, Stats]) -> Iterable[Family]:
        accepted = counter("connections_accepted_total", "Client connections accepted.", ("listener",))
        rejected = counter(
            "connections_rejected_total", "Client connections (of UDP listeners: datagrams) that were not served, by reason.",
            ("listener", "reason"))
        is_open = gauge("connections_open", "Client connections open now.", ("listener",))
        in_flight = gauge("http_requests_in_flight", "Requests that are being served now.", ("listener",))
        names = {entry.name for entry in now.listeners}
        connected = {entry.name for entry in now.listeners if socket_kind(entry.mode) != "udp"}
        for (name, kind), total in totals.items():
            if name in connected and kind != "udp":
                accepted.more((name,), total["accepted"])
            if name in names:
                for reason, count in total["rejected"].items():
                    rejected.more((name, reason), count)
        for entry in now.listeners:
            stats, kind = entry.listener.stats(), socket_kind(entry.mode)
            if kind != "udp":
                is_open.more((entry.name,), stats["open"])
            if kind == "http":
                in_flight.more((entry.name,), stats["in_flight"])
        return accepted, rejected, is_open, in_flight

    def _collect_routes(self, now: Capture) -> Iterable[Family]:
        labels = ("listener", "route")
        requests = counter("http_requests_total", "Requests answered, by route, method and status code.", (*labels, "method", "code"))
        errors = counter("http_errors_total", "Answers that proxyd made of a failure, by error type (RFC 9209).", (*labels, "error"))
        duration = histogram("http_request_duration_seconds", "From the first byte of the request to the last of the answer.", labels)
        ttfb = histogram("http_response_ttfb_seconds", "From the first byte of the request to the first of the answer.", labels)
        bytes_in = counter("http_request_bytes_total", "Bytes of requests received from clients.", labels)
        bytes_out = counter("http_response_bytes_total", "Bytes of answers sent to clients.", labels)
        totals = {(entry.listener, entry.route): with_past(entry.stats.stats(), entry.past) for entry in now.routes}
        for names, total in totals.items():
            for (method, code), count in total["requests"].items():
                requests.add((*names, method, code_label(code)), count)
            for error, count in by_error_type(total["errors"]).items():
                errors.add((*names, error), count)
            duration.add(names, total["duration_seconds"])
            ttfb.add(names, total["ttfb_seconds"])
            bytes_in.add(names, total["bytes_in"])
            bytes_out.add(names, total["bytes_out"])
        return requests, errors, duration, ttfb, bytes_in, bytes_out, *route_families(totals)

    def _collect_upstreams(self, now: Capture) -> Iterable[Family]:
        retries = counter("http_retries_total", "Requests that were tried again on a server, by reason.", ("upstream", "reason"))
        refused = counter(
            "upstream_refused_total", "Requests and retries that a limit of the upstream did not admit, by reason.", ("upstream", "reason"))
        hedges = counter("upstream_hedges_total", "Second tries beside a first, by which of them answered.", ("upstream", "result"))
        copies = counter("upstream_mirrored_total", "Copies of requests made for this upstream, by what became of them.",
                         ("upstream", "result"))
        response = histogram("upstream_response_duration_seconds", "From the request sent to the first byte of the answer.", ("upstream",))
        connect = histogram("upstream_connect_duration_seconds", "Time to open a connection to a server.", ("upstream",))
        connections = gauge("upstream_connections", "Connections to servers, by state.", ("upstream", "state"))
        opened = counter("upstream_connections_opened_total", "Connections opened to servers.", ("upstream",))
        for entry in now.upstreams:
            name, total = entry.name, with_past(entry.state.stats(), entry.past)
            for reason, count in total["retries"].items():
                retries.add((name, reason), count)
            for reason, count in total["refused"].items():
                refused.add((name, reason), count)
            if total["hedges"]["begun"]:
                hedges.add((name, "won"), total["hedges"]["won"])
                hedges.add((name, "lost"), total["hedges"]["begun"] - total["hedges"]["won"])
            for result, count in copy_results(total["mirror"]).items():
                copies.add((name, result), count)
            response.add((name,), total["response_seconds"])
            connect.add((name,), total["connect_seconds"])
            told = [member.server.stats() for member in entry.servers]
            opened.add((name,), entry.departed_opened + sum(stats["opened"] for stats in told))
            connections.add((name, "active"), sum(stats["connections_active"] for stats in told))
            connections.add((name, "idle"), sum(stats["connections_idle"] for stats in told))
        return retries, refused, hedges, copies, response, connect, connections, opened, *queue_gauges(now), *governor_gauges(now)

    def _collect_servers(self, now: Capture) -> Iterable[Family]:
        labels = ("upstream", "server")
        requests = counter("upstream_requests_total", "Answers of servers, by status code.", (*labels, "code"))
        errors = counter("upstream_errors_total", "Failures of servers, by proxyd's word for them.", (*labels, "error"))
        moved = counter("upstream_bytes_total", "Bytes from servers (in) and to them (out).", (*labels, "direction"))
        flows = counter("upstream_flows_total", "Connections and flows of datagrams that were passed on to servers.", labels)
        ejections = counter("upstream_ejections_total", "Times a server was taken out for what requests met there.", (*labels, "reason"))
        checks = counter("upstream_health_checks_total", "Active health checks, by result.", (*labels, "result"))
        entries = [entry for upstream in now.upstreams for entry in upstream.servers]
        for entry in entries:
            names, total = names_of(entry), with_past(entry.server.stats(), entry.past)
            for code, count in total["requests"].items():
                requests.add((*names, code_label(code)), count)
            for error, count in total["errors"].items():
                errors.add((*names, error), count)
            for direction in ("in", "out"):
                moved.add((*names, direction), total[f"bytes_{direction}"])
            if total["flows"]:
                flows.add(names, total["flows"])
            for kind, count in entry.ejections.items():
                ejections.add((*names, kind), self._numbers.total(("ejected", *names, kind), count))
            for result, count in entry.check_results.items():
                key = (*names, result)
                checks.add(key, self._numbers.total(("check", *key), count))
        return requests, errors, moved, flows, ejections, checks, *server_gauges(now)

    def _collect_config(self, now: Capture) -> Iterable[Family]:
        success = gauge("config_last_reload_successful", "Whether the last reload was taken (1) or refused (0).")
        success.add((), float(now.last_reload_ok))
        at = gauge("config_last_reload_success_timestamp_seconds", "When the config that serves was taken (epoch).")
        at.add((), now.last_reload_at)
        reloads = counter("config_reloads_total", "Reloads, by result.", ("result",))
        for result, count in now.reloads.items():
            reloads.add((result,), count)
        info = gauge("config_info", "The config that serves; always 1.", ("hash",))
        info.add((now.config_hash,), 1)
        ready = gauge("ready", "Whether every upstream in use has a usable server (1), as `/ready` tells, else 0.")
        ready.add((), float(is_ready(now)))
        build = gauge("build_info", "The program; always 1.", ("version", "python", "implementation"))
        build.add((self._version, platform.python_version(), platform.python_implementation()), 1)
        return success, at, reloads, info, ready, build

    def _collect_engines(self, now: Capture) -> Iterable[Family]:
        cpu = counter("engine_cpu_seconds_total", "CPU time of the engine's thread.", ("engine",))
        lag = gauge("engine_loop_lag_seconds", "How long the engine's last turn kept events waiting.", ("engine",))
        connections = gauge("engine_connections", "Client connections of the engine.", ("engine",))
        buffers = gauge("engine_buffers_bytes", "Bytes of buffers that the engine's connections hold.", ("engine",))
        refused = counter("engine_door_refused_total", "What a full door of the engine refused.", ("engine", "door"))
        late = counter("engine_consults_late_total", "Answers that came after their request had been decided.", ("engine",))
        for entry in now.engines:
            stats, index = entry.engine.stats(), (str(entry.index),)
            cpu.add(index, stats["cpu_seconds"])
            lag.add(index, stats["loop_lag_seconds"])
            connections.add(index, stats["connections"])
            buffers.add(index, stats["buffers_bytes"])
            refused.add((*index, "commands"), stats["commands_refused"])
            refused.add((*index, "consults"), stats["consults_refused"])
            late.add(index, stats["consults_late"])
        return cpu, lag, connections, buffers, refused, late

    def _collect_records(self, now: Capture) -> Iterable[Family]:
        written = counter("log_records_total", "Records of requests and flows that were written.", ("sink",))
        dropped = counter("log_dropped_total", "Records that a slow sink made proxyd drop.", ("sink",))
        sampled_out = counter("log_sampled_out_total", "Records that `log.access.sample` left out.", ("sink",))
        untapped = counter("tap_dropped_total", "Records that readers within proxyd (why, traces, live requests) were too slow for.")
        held = counter(
            "tap_held_total", "Records that were not made for readers within proxyd, who had enough of that class already.", ("class",))
        spans = counter("trace_spans_total", "Spans of traced requests, by what became of them.", ("result",))
        waiting = gauge("trace_queue_length", "Traced requests whose spans wait for the collector.")
        limit = gauge("trace_queue_limit", "How many may wait (tracing.queue).")
        failing = gauge("trace_export_failing", "Whether the last request to the collector failed (1), else 0.")
        for log in now.logs:
            written.add((log.sink,), self._numbers.total(("written", log.sink), log.written))
            dropped.add((log.sink,), self._numbers.total(("dropped", log.sink), log.dropped))
            sampled_out.add((log.sink,), self._numbers.total(("sampled_out", log.sink), log.sampled_out))
        untapped.add((), now.records_dropped)
        for kind, count in now.records_held.items():
            held.add((kind,), count)
        if now.traces is not None:
            for result, count in now.traces.spans.items():
                spans.add((result,), count)
            waiting.add((), now.traces.waiting)
            limit.add((), now.traces.limit)
            failing.add((), float(bool(now.traces.error)))
        return written, dropped, sampled_out, untapped, held, spans, waiting, limit, failing


def listener_totals(now: Capture) -> dict[Labels, Stats]:
    """What listeners counted, at all the sockets that they have and had, by (name, kind)."""
    found: dict[Labels, Stats] = {}
    for key, stats in (*now.gone.items(), *(((entry.name, socket_kind(entry.mode)), entry.listener.stats()) for entry in now.listeners)):
        add(found.setdefault(key, {}), stats)
    return found


def is_ready(now: Capture) -> bool:
    """As `Views.not_ready` finds it, from the handles."""
    usable = (any(member.server.state()["usable"] for member in entry.servers) for entry in now.upstreams if entry.used)
    return now.phase == "serving" and all(usable)


def names_of(entry: ServerEntry) -> Labels:
    return entry.upstream, entry.label


def code_label(code: int) -> str:
    """A status code; "other" for what did not fit the engine's table of codes."""
    return str(code) if code else "other"


def by_error_type(errors: Stats) -> dict[str, int]:
    """Counts by fault word as counts by RFC 9209 error type; several words share a type."""
    found: dict[str, int] = {}
    for word, count in errors.items():
        kind = ERROR_WORDS.get(word, word)
        found[kind] = found.get(kind, 0) + count
    return found


def copy_results(mirror: Mapping[str, Any]) -> dict[str, int]:
    """Copies by what became of them; those under way are in none. Empty where nothing is mirrored."""
    skipped = {f"skipped_{reason}": count for reason, count in mirror["skipped"].items()}
    return {word: count for word, count in {"answered": mirror["answered"], "failed": mirror["failed"], **skipped}.items() if count}


def queue_gauges(now: Capture) -> Iterable[Family]:
    in_flight = gauge("upstream_requests_in_flight", "Tries and flows that are on the upstream's servers now.", ("upstream",))
    waiting = gauge("upstream_queue_length", "Requests that wait for a server with room.", ("upstream",))
    retrying = gauge("upstream_retries_in_flight", "Requests that are being tried again, or wait for it.", ("upstream",))
    for entry in now.upstreams:
        stats = entry.state.stats()
        in_flight.add((entry.name,), stats["in_flight"])
        waiting.add((entry.name,), stats["pending"])
        retrying.add((entry.name,), stats["retries_in_flight"])
    return in_flight, waiting, retrying


def governor_gauges(now: Capture) -> Iterable[Family]:
    """Only of upstreams that have such a part."""
    circuit = gauge("upstream_circuit_open", "Whether the breaker refuses requests: 1 open, 0.5 half open, 0 closed.", ("upstream",))
    limit = gauge("upstream_concurrency_limit", "Requests at a time, as the adaptive limit has found.", ("upstream",))
    hedge = gauge("upstream_hedge_delay_seconds", "After so long a hedged request sends its second try.", ("upstream",))
    for entry in now.upstreams:
        governor = entry.governor
        if governor.circuit is not None:
            circuit.add((entry.name,), {"closed": 0.0, "half_open": 0.5, "open": 1.0}[governor.circuit.state])
        if governor.limit:
            limit.add((entry.name,), governor.limit)
        if governor.hedge_ms:
            hedge.add((entry.name,), governor.hedge_ms / 1000)
    return circuit, limit, hedge


def server_gauges(now: Capture) -> Iterable[Family]:
    labels = ("upstream", "server")
    up = gauge("upstream_server_up", "Whether the balancer may choose the server.", labels)
    weight = gauge("upstream_server_weight", "The server's share.", labels)
    in_flight = gauge("upstream_server_requests_in_flight", "Requests that the server is working on, and flows that it has.", labels)
    state = gauge("upstream_server_state", "1 for the state that the server is in, else 0.", (*labels, "state"))
    for upstream in now.upstreams:
        for entry in upstream.servers:
            names, told = names_of(entry), entry.server.state()
            up.add(names, float(told["usable"]))
            weight.add(names, entry.weight)
            in_flight.add(names, entry.server.stats()["in_flight"])
            put_state(state, names, server_state(told))
        for label, share in upstream.unresolved:
            names = (upstream.name, label)
            up.add(names, 0)
            weight.add(names, share)
            in_flight.add(names, 0)
            put_state(state, names, "unresolved")
    return up, weight, in_flight, state


def put_state(family: Numbers, names: Labels, word: ServerState) -> None:
    for known in SERVER_STATES:
        family.add((*names, known), int(known == word))
