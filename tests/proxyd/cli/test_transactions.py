"""`reload --guard`, `reload --confirm`, `confirm`, `history` and `rollback`."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from proxyd.audit.file import AuditFile
from proxyd.audit.record import Note
from proxyd.audit.rotation import Bounds
from proxyd.cli.errors import Exit
from proxyd.cli.trial import trial_line
from tests.proxyd.admin.fake_daemon import UNKNOWN_KEY, FakeDaemon

Run = Callable[..., Result]
WHY = "10% errors among 512 requests, the guard allows 2%, after 1.5s"


def test_a_guard_that_held(run: Run, daemon: FakeDaemon) -> None:
    daemon.on_trial = lambda: daemon.end_trial("serving", "the guard held for 30s")
    result = run("reload", "--guard", "errors > 2%")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2].startswith("config 6 is on trial: back to 5 if errors > 2% for 30s (")
    assert result.stdout.splitlines()[-1] == "config 6 is kept: the guard held for 30s"


def test_a_guard_that_broke_gives_exit_code_6(run: Run, daemon: FakeDaemon) -> None:
    daemon.on_trial = lambda: daemon.end_trial("rolled back", WHY)
    result = run("reload", "--guard", "errors > 2%")
    assert result.exit_code == Exit.RELOAD_REFUSED
    assert f"error: config 6 was rolled back to 5: {WHY}" in result.stderr
    quiet = run("reload", "--guard", "errors > 2%", "-q")
    assert (quiet.exit_code, quiet.stdout) == (Exit.RELOAD_REFUSED, "")


def test_a_guard_that_is_none_is_shown_with_its_place(run: Run, daemon: FakeDaemon) -> None:
    result = run("reload", "--guard", "errors > 2")
    assert result.exit_code == Exit.USAGE
    assert "  errors > 2\n           ^\n  = help: write `2%`" in result.stderr
    assert daemon.asked == []


def test_a_config_to_be_confirmed_is_not_waited_for(run: Run, daemon: FakeDaemon) -> None:
    result = run("reload", "--confirm", "2m")
    assert result.stdout.splitlines()[-1].startswith("config 6 is on trial: back to 5 unless `proxyd confirm` comes within ")
    assert run("confirm").stdout == "config 6 is kept\n"
    again = run("confirm")
    assert (again.exit_code, "no config is on trial" in again.stderr) == (Exit.NOT_FOUND, True)
    assert json.loads(run("reload", "--confirm", "2m", "--json").stdout)["trial"]["entry"] == 6


def test_the_line_of_a_trial() -> None:
    trial = {"entry": 7, "back_to": 6, "guard": "errors > 2% for 30s", "guard_until": 1_028.0, "confirm_until": 1_118.0}
    assert trial_line(trial, 1_000.0) == (
        "config 7 is on trial: back to 6 if errors > 2% for 30s (28s left), or unless `proxyd confirm` comes within 1m 58s")


def test_the_history_tells_the_story(run: Run, daemon: FakeDaemon) -> None:
    daemon.on_trial = lambda: daemon.end_trial("rolled back", WHY)
    run("reload", "--guard", "errors > 2%")
    lines = run("history").stdout.splitlines()
    assert lines[0].split() == ["#", "WHEN", "BY", "HOW", "CONFIG", "RESULT", "WHAT"]
    assert lines[1].startswith("6  ")
    assert "rolled back  1 route added, 3 connections will drain; guard errors > 2% for 30s; 10% errors" in lines[1]
    assert [line[0] for line in lines[1:]] == ["6", "5", "4"]
    assert json.loads(run("history", "--json").stdout)[0]["result"] == "rolled back"
    one = run("history", "4").stdout
    assert daemon.config_text.rstrip() in one
    assert "# /etc/proxyd/proxyd.yaml" in one
    assert run("history", "9").exit_code == Exit.NOT_FOUND
    assert run("history", "0").exit_code == Exit.USAGE


def test_rollback(run: Run, daemon: FakeDaemon) -> None:
    result = run("rollback")
    assert result.stdout.splitlines() == [
        "rolled back to 4: 1 change in 10 ms; config 6 serves, generation 6: 1 route removed, no connection will drain",
        "  - route web/new removed",
        "/etc/proxyd/proxyd.yaml is as it was: a start or a reload would take it again",
    ]
    run("rollback", "5")
    assert daemon.asked == [("rollback", None, "rollback"), ("rollback", 5, "rollback")]
    assert run("rollback", "99").exit_code == Exit.NOT_FOUND
    assert "config 5 serves by a rollback; the file was not written" in run("diff").stdout
    assert run("status").stdout.splitlines()[0]
    daemon.refusal = (UNKNOWN_KEY,)
    refused = run("rollback", "4")
    assert (refused.exit_code, "PXD-021" in refused.stderr) == (Exit.RELOAD_REFUSED, True)


def test_audit_show(run: Run, daemon: FakeDaemon) -> None:
    assert run("audit", "show").stdout == "nothing was changed yet\n"
    run("reload")
    run("rollback", "99")
    lines = run("audit", "show").stdout.splitlines()
    assert lines[0].split() == ["#", "TIME", "WHO", "FROM", "ACTION", "TARGET", "RESULT", "DETAIL"]
    assert "config.reload    def456  ok" in lines[1]
    assert lines[2].split()[-2:] == ["refused", "PXD-250"]
    assert len(json.loads(run("audit", "show", "-n", "1", "--json").stdout)) == 1
    assert run("audit", "verify").exit_code == Exit.NOT_FOUND, "it is in memory"


def test_status_tells_where_the_trail_ends(run: Run, daemon: FakeDaemon) -> None:
    run("reload")
    head = json.loads(run("audit", "show", "--json").stdout)[0]["hash"]
    assert f"audit: 1 record in memory, the last is {head}" in run("status", "-v").stdout


def test_a_trail_without_a_daemon(run: Run, tmp_path: Path) -> None:
    assert run("audit", "verify").exit_code == Exit.NOT_REACHABLE
    assert run("audit", "verify", "none.jsonl").exit_code == Exit.NOT_FOUND
    assert run("audit", "show", "none.jsonl").exit_code == Exit.NOT_FOUND
    (tmp_path / "a.jsonl").write_bytes(b"hello\n")
    broken = run("audit", "verify", "a.jsonl")
    assert broken.exit_code == Exit.FAILED
    assert "a.jsonl:1: record 1 is not as proxyd writes one" in broken.stderr
    facts = json.loads(run("audit", "verify", "a.jsonl", "--json").stdout)
    assert (facts["ok"], facts["fault"], facts["line"]) == (False, "changed", 1)


def test_a_trail_of_several_files(run: Run, tmp_path: Path) -> None:
    file = AuditFile(tmp_path, Bounds(size=200, keep=2))
    for seq in range(4):
        file.append([(Note("ops", "unix pid 1", "server.change", f"app/10.0.0.{seq}:80"), 1.0)])
    assert run("audit", "verify", "audit.jsonl").stdout == (
        f"audit.jsonl: 4 records, after 1 that expired, unbroken; it ends with {file.head.hash}\n")
    assert json.loads(run("audit", "verify", "audit.jsonl", "--json").stdout)["file"] == "audit.jsonl"
    assert [record["seq"] for record in json.loads(run("audit", "show", "audit.jsonl", "--json").stdout)] == [2, 3, 4, 5]
    (tmp_path / "audit-000000000003.jsonl").write_bytes(b"hello\n")
    broken = run("audit", "verify", "audit.jsonl")
    assert (broken.exit_code, "audit-000000000003.jsonl:1: record 3 is not as proxyd writes one" in broken.stderr) == (Exit.FAILED, True)
    file.path.unlink()
    assert run("audit", "verify", "audit.jsonl").exit_code == Exit.FAILED, "killed after it was put aside: the others are there"
