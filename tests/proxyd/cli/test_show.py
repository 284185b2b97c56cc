from __future__ import annotations

import json
from collections.abc import Callable

import yaml
from click.testing import Result

from proxyd.admin.configs import show, sparse
from proxyd.cli.errors import Exit
from proxyd.config import load_text

Run = Callable[..., Result]
Write = Callable[[str, str], str]

TEXT = """
listen: :8080
upstreams:
  app: {servers: [127.0.0.1:9001, {address: 127.0.0.1:9002, weight: 3}], health: /healthz}
  bare: {servers: 127.0.0.1:9003, health: {passive: none}}
routes:
  - {match: /x/*, to: bare}
  - to: app
log: {access: none}
"""


def test_without_defaults(run: Run, write: Write) -> None:
    found = yaml.safe_load(run("show", "config", "-c", write("a.yaml", TEXT)).stdout)
    assert found["listeners"] == {"default": {"bind": [":8080"]}}
    assert found["upstreams"]["app"]["servers"] == [{"address": "127.0.0.1:9001"}, {"address": "127.0.0.1:9002", "weight": 3}]
    assert found["upstreams"]["app"]["health"] == {"active": [{"path": "/healthz"}]}
    assert found["log"] == {"access": "none"}
    assert "runtime" not in found


def test_with_defaults(run: Run, write: Write) -> None:
    found = yaml.safe_load(run("show", "config", "--full", "-c", write("a.yaml", TEXT)).stdout)
    assert found["runtime"]["threads"] == "auto"
    assert found["upstreams"]["app"]["servers"][0]["weight"] == 1


def test_both_forms_mean_the_same_config() -> None:
    config = load_text(TEXT).config
    assert config is not None
    for full in (True, False):
        again = load_text(show(config, full=full))
        assert again.diagnostics == []
        assert again.config == config


def test_json(run: Run, write: Write) -> None:
    config = load_text(TEXT).config
    assert config is not None
    assert json.loads(run("show", "config", "--json", "-c", write("a.yaml", TEXT)).stdout) == sparse(config)


def test_what_the_daemon_serves(run: Run, daemon: object) -> None:
    assert yaml.safe_load(run("show", "config", "--running").stdout)["listeners"] == {"default": {"bind": [":8080"]}}
    assert "limits:" in run("show", "config", "--running", "--full").stdout
    assert json.loads(run("show", "config", "--running", "--json").stdout)["hash"] == "abc123"


def test_a_broken_config(run: Run, write: Write) -> None:
    result = run("show", "config", "-c", write("a.yaml", "listen: :8080\ntoo: x\n"))
    assert result.exit_code == Exit.CONFIG_INVALID
    assert "a.yaml:2:1" in result.stderr
    assert result.stdout == ""


def test_schema(run: Run) -> None:
    schema = json.loads(run("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "upstreams" in schema["properties"]
    of_records = json.loads(run("schema", "--log").stdout)
    assert "status_by" in of_records["$defs"]["request"]["properties"]
