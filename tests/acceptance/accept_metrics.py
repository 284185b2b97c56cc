"""What is shipped for Prometheus, read by Prometheus' own tool, and the page of a daemon that has everything."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from proxyd.metrics.collector import Collector
from proxyd.metrics.docs import NOTHING
from proxyd.metrics.families import Histograms
from proxyd.metrics.text import BOUNDS, Encoder
from tests.acceptance.stage import ROOT, Proxyd, free_port
from tests.proxyd.metrics.test_shipped import queries

PROMETHEUS = ROOT / "config" / "prometheus"


def promtool(*arguments: str, text: str = "", folder: Path = PROMETHEUS) -> str:
    """What it says; it must be content, and have nothing to remark."""
    done = subprocess.run(["promtool", *arguments], cwd=folder, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_rules_and_their_tests() -> None:
    assert re.search(r"SUCCESS: \d+ rules found", promtool("check", "rules", "rules.yaml"))
    assert "SUCCESS" in promtool("test", "rules", "rules-test.yaml")
    promtool("check", "config", "scrape.yaml")


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    """promtool parses expressions of rules alone, so each query becomes one."""
    texts = [text.replace("$__rate_interval", "5m").replace("$__all", "x") for _, text in queries() if text and "label_values" not in text]
    rules = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(texts)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(texts)} rules found" in promtool("check", "rules", "queries.yaml", folder=tmp_path)


def test_names_and_texts_of_all_metrics() -> None:
    """A page that has a series of each family, for no daemon uses everything at once."""
    families = list(Collector("1").collect(NOTHING))
    for family in families:
        labels = tuple("x" for _ in family.labels)
        if isinstance(family, Histograms):
            family.add(labels, {"buckets": [1] * len(BOUNDS), "count": len(BOUNDS), "sum": 1.0})
        else:
            family.add(labels, 1)
    assert promtool("check", "metrics", text="".join(Encoder().encode(families))) == ""


CONFIG = """
listeners:
  web: {{bind: "127.0.0.1:{web}"}}
  pg: {{bind: "127.0.0.1:{pg}", mode: tcp, to: app}}
  dns: {{bind: "127.0.0.1:{dns}", mode: udp, to: void}}
log: {{access: none}}
policies:
  slow: {{rate_limit: {{rate: 1/m, key: client.ip}}}}
  few: {{concurrency: {{max: 10, key: client.ip}}}}
  keys: {{auth: {{api_key: {{keys: {{ann: {{sha256: "{digest}"}}}}}}}}}}
routes:
  - {{match: /cached/*, to: app, name: cached, cache: 1m, retry: {{attempts: 1}}}}
  - {{match: /limited/*, respond: 200, name: limited, use: [slow]}}
  - {{match: /secret/*, respond: 200, name: secret, use: [keys]}}
  - {{match: /dead/*, to: dead, name: dead}}
  - {{to: app, name: rest, use: [few], hedge: {{after: 10ms}}}}
upstreams:
  app:
    servers: ["127.0.0.1:{origin}"]
    circuit: {{max_requests: 100, max_pending: 10}}
    health: {{active: {{path: /, interval: 200ms, timeout: 200ms}}}}
  dead: ["127.0.0.1:1"]
  void: {{servers: ["127.0.0.1:9"], health: none}}
tracing: {{otlp: "http://127.0.0.1:1", sample: 100%}}
"""


def curl(*arguments: str) -> str:
    done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *arguments], capture_output=True, text=True, timeout=30,
                          check=False)
    return done.stdout


def test_the_page_of_a_daemon_that_did_a_bit_of_everything(tmp_path: Path) -> None:
    ports: dict[str, int] = {name: free_port() for name in ("web", "pg", "dns", "origin")}
    for name in ("origin", "proxyd"):
        (tmp_path / name).mkdir()
    origin = Proxyd(tmp_path / "origin", f"listen: '127.0.0.1:{ports['origin']}'\nlog: {{access: none}}\nroutes: [{{respond: 200}}]\n")
    proxyd = Proxyd(tmp_path / "proxyd", CONFIG.format(digest="0" * 64, **ports))
    try:
        seen = [curl(f"http://127.0.0.1:{ports['web']}{path}") for path in (
            "/cached/a", "/cached/a", "/limited/a", "/limited/a", "/secret/a", "/dead/a", "/rest")]
        assert seen == ["200", "200", "200", "429", "401", "502", "200"]
        assert curl(f"http://127.0.0.1:{ports['pg']}/") == "200"
        assert curl("-X", "BREW", f"http://127.0.0.1:{ports['web']}/rest") == "200"
        page = proxyd.run("metrics").stdout
        assert promtool("check", "metrics", text=page) == ""
        for series in ("proxyd_cache_requests_total", "proxyd_ratelimit_requests_total", "proxyd_auth_requests_total",
                       "proxyd_http_errors_total", "proxyd_tcp_connections_total", "proxyd_upstream_health_checks_total"):
            assert re.search(rf"^{series}\{{.*\}} [1-9]", page, re.MULTILINE), series
        assert set(re.findall('method="([^"]*)"', page)) == {"GET", "OTHER"}
    finally:
        proxyd.end()
        origin.end()
