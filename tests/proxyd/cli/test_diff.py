from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from proxyd.cli.errors import Exit
from proxyd.state import OverrideView
from tests.proxyd.admin.fake_daemon import UNKNOWN_KEY, FakeDaemon

Run = Callable[..., Result]

DRAINED = OverrideView("app", "10.0.0.1:80", "drain", "drained", "ops", 1.0)


def test_the_file_and_the_overrides(run: Run, daemon: FakeDaemon) -> None:
    daemon.overrides = (DRAINED,)
    lines = run("diff").stdout.splitlines()
    assert lines[:2] == [
        "/etc/proxyd/proxyd.yaml differs from the running config; a reload would do this: 1 server changed, no connection will drain",
        "  ~ server app/10.0.0.1:80: weight: 1 -> 2",
    ]
    assert lines[2].startswith("override: app/10.0.0.1:80 drained by ops ")
    assert lines[2].endswith(" ago")
    assert daemon.asked == [("diff", None)]


def test_nothing_differs(run: Run, daemon: FakeDaemon) -> None:
    daemon.changed = False
    assert run("diff").stdout == "/etc/proxyd/proxyd.yaml is the running config\n"


def test_a_broken_file_is_told_and_ends_as_check_does(run: Run, daemon: FakeDaemon) -> None:
    daemon.refusal = (UNKNOWN_KEY,)
    result = run("diff")
    assert result.exit_code == Exit.CONFIG_INVALID
    assert result.stdout == "/etc/proxyd/proxyd.yaml has errors: a reload would be refused\n"
    assert "PXD-021" in result.stderr
    as_json = run("diff", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["ok"]) == (Exit.CONFIG_INVALID, False)


def test_another_file(run: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    run("diff", "-c", "other.yaml")
    assert daemon.asked == [("diff", tmp_path / "other.yaml")]


def test_json(run: Run, daemon: FakeDaemon) -> None:
    daemon.overrides = (DRAINED,)
    facts = json.loads(run("diff", "--json").stdout)
    assert (facts["ok"], facts["changes"][0]["kind"], facts["overrides"][0]["by"]) == (True, "changed", "ops")


def test_without_a_daemon(run: Run) -> None:
    assert run("diff").exit_code == Exit.NOT_REACHABLE
