from __future__ import annotations

import re

from proxyd.metrics.docs import metric_docs
from proxyd.metrics.exposition import Exposition
from tests.proxyd.metrics.test_collector import Source


def test_every_metric_is_told_once_and_well() -> None:
    docs = metric_docs()
    assert len({metric.name for metric in docs}) == len(docs)
    for metric in docs:
        assert re.fullmatch("(proxyd|process)_[a-z0-9_]+", metric.name)
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") is (metric.type == "counter"), metric.name
        assert len(set(metric.labels)) == len(metric.labels)


async def test_the_page_has_what_is_told_in_the_same_order() -> None:
    page, _ = await Exposition(Source(), "1").render("")
    told = [(metric.name, metric.type) for metric in metric_docs()]
    assert re.findall(r"^# TYPE (\S+) (\S+)$", page.decode(), re.MULTILINE) == told


def test_everything_of_the_interface_is_there() -> None:
    """interface.md §5."""
    names = {metric.name.removeprefix("proxyd_") for metric in metric_docs()}
    assert {
        "http_requests_total", "http_request_duration_seconds", "http_response_ttfb_seconds", "http_request_bytes_total",
        "http_response_bytes_total", "http_errors_total", "http_requests_in_flight", "http_retries_total", "connections_accepted_total",
        "connections_open", "connections_rejected_total", "upstream_requests_total", "upstream_response_duration_seconds",
        "upstream_connect_duration_seconds", "upstream_errors_total", "upstream_server_up", "upstream_server_weight",
        "upstream_server_requests_in_flight", "upstream_server_state", "upstream_connections", "upstream_connections_opened_total",
        "upstream_health_checks_total", "upstream_ejections_total", "upstream_circuit_open", "upstream_queue_length",
        "cache_requests_total", "cache_objects", "cache_bytes", "cache_limit_bytes", "cache_evictions_total", "cache_purges_total",
        "ratelimit_requests_total", "auth_requests_total", "config_last_reload_successful",
        "config_last_reload_success_timestamp_seconds", "config_reloads_total", "config_info", "build_info", "engine_cpu_seconds_total",
        "engine_loop_lag_seconds", "log_dropped_total", "tcp_connections_total", "udp_flows_total", "l4_bytes_total",
    } <= names
