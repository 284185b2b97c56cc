from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result
from prometheus_client.parser import text_string_to_metric_families

from proxyd.cli.errors import Exit
from proxyd.metrics.docs import metric_docs
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def test_the_page(run: Run, daemon: FakeDaemon) -> None:
    families = {family.name: family for family in text_string_to_metric_families(run("metrics").stdout)}
    assert families["proxyd_config_info"].samples[0].labels == {"hash": daemon.config_hash}


def test_what_metrics_mean(run: Run) -> None:
    lines = run("metrics", "--docs").stdout.splitlines()
    at = lines.index("proxyd_http_requests_total{listener, route, method, code}  counter")
    assert lines[at + 1] == "    Requests answered, by route, method and status code."
    assert "proxyd_ready  gauge" in lines
    assert len(lines) == 2 * len(metric_docs())


def test_what_metrics_mean_for_machines(run: Run) -> None:
    found = {metric["name"]: metric for metric in json.loads(run("metrics", "--docs", "--json").stdout)}
    assert found["proxyd_http_request_duration_seconds"] == {
        "name": "proxyd_http_request_duration_seconds", "type": "histogram", "labels": ["listener", "route"],
        "help": "From the first byte of the request to the last of the answer.",
    }


def test_the_page_is_text(run: Run) -> None:
    assert run("metrics", "--json").exit_code == Exit.USAGE
