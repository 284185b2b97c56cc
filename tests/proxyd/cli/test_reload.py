from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from proxyd.cli.errors import Exit
from tests.proxyd.admin.fake_daemon import UNKNOWN_KEY, FakeDaemon

Run = Callable[..., Result]


def test_what_changed_is_printed(run: Run, daemon: FakeDaemon) -> None:
    result = run("reload")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "reloaded: 3 changes in 12 ms; config 6 serves, generation 5: 1 route added, 3 connections will drain",
        "  + route web/new: to app",
        "  - listener old",
        "  ~ threads 1 -> 2  (takes effect at the next start)",
    ]
    assert daemon.asked == [("reload", None, None, False)]


def test_dry_run(run: Run, daemon: FakeDaemon) -> None:
    assert run("reload", "--dry-run").stdout.startswith("3 changes would be made: 1 route added, 3 connections will drain\n")
    assert daemon.asked == [("reload", None, None, True)]


def test_a_named_file_is_taken(run: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    run("reload", "-c", "other.yaml")
    assert daemon.asked == [("reload", None, tmp_path / "other.yaml", False)]


def test_nothing_to_do(run: Run, daemon: FakeDaemon) -> None:
    daemon.changed = False
    assert run("reload").stdout.startswith("nothing changed")
    assert run("reload", "--dry-run").stdout == "nothing would change\n"


def test_a_refused_config_gives_exit_code_6_and_its_errors(run: Run, daemon: FakeDaemon) -> None:
    daemon.refusal = (UNKNOWN_KEY,)
    result = run("reload")
    assert result.exit_code == Exit.RELOAD_REFUSED
    assert result.stdout == ""
    assert " --> proxyd.yaml:2:1" in result.stderr
    assert "^^^" in result.stderr
    assert "error[PXD-247]: 1 error; the old config serves on" in result.stderr


def test_json_in_both_cases(run: Run, daemon: FakeDaemon) -> None:
    assert json.loads(run("reload", "--json").stdout)["plan"][1]["kind"] == "removed"
    daemon.refusal = (UNKNOWN_KEY,)
    result = run("reload", "--json")
    facts = json.loads(result.stdout)
    assert (result.exit_code, facts["exit"], facts["diagnostics"][0]["code"]) == (6, 6, "PXD-021")


def test_quiet(run: Run, daemon: FakeDaemon) -> None:
    assert run("reload", "-q").output == ""


def test_a_wait_that_is_over(run: Run, daemon: FakeDaemon) -> None:
    daemon.holds = True
    assert run("reload", "--wait=0s").exit_code == 2
    result = run("reload", "--wait=50ms")
    daemon.held.set()
    assert result.exit_code == Exit.FAILED
    assert "after 0.05 s" in result.stderr


def test_a_duration_needs_a_unit(run: Run) -> None:
    result = run("reload", "--wait=5")
    assert result.exit_code == Exit.USAGE
    assert "write `5s`" in result.stderr
