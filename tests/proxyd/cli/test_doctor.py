from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from proxyd.cli.errors import Exit
from proxyd.doctor import machine
from proxyd.doctor.finding import Finding
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that nothing is wrong with, whatever the tests run on."""

    def examine() -> Iterator[Finding]:
        yield Finding("good", "kernel", "Linux 6.1")

    monkeypatch.setattr(machine, "examine", examine)


def test_a_daemon_that_is_ready(run: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "proxyd.yaml").write_text("listen: 127.0.0.1:8080\nroutes: [respond: 204]\n")
    result = run("doctor")
    lines = result.stdout.splitlines()
    assert "ok       kernel: Linux 6.1" in lines
    assert "ok       config: proxyd.yaml is valid" in lines
    assert "ok       readiness: traffic may come" in lines
    assert result.exit_code == 0


def test_what_is_wrong_comes_with_what_to_do(run: Run, daemon: FakeDaemon) -> None:
    daemon.reasons = ("upstream app has no usable server",)
    result = run("doctor", "-q")
    assert result.exit_code == Exit.FAILED
    assert "error    readiness: upstream app has no usable server\n         = help: proxyd status\n" in result.stdout
    assert "kernel" not in result.stdout


def test_warnings_fail_when_they_shall(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (run("doctor").exit_code, run("doctor", "--strict").exit_code) == (0, 0)
    monkeypatch.setattr(machine, "examine", lambda: iter([Finding("warning", "clock", "it is wrong")]))
    assert (run("doctor").exit_code, run("doctor", "--strict").exit_code) == (0, Exit.WARNINGS)
    monkeypatch.setattr(machine, "examine", lambda: iter([Finding("warning", "clock", "wrong"), Finding("error", "disk", "full")]))
    assert run("doctor", "--strict").exit_code == Exit.FAILED, "what is worse counts"


def test_json(run: Run) -> None:
    facts = json.loads(run("doctor", "--json").stdout)
    found = {finding["subject"]: finding["level"] for finding in facts["findings"]}
    assert (facts["ok"], found) == (True, {"kernel": "good", "config": "note", "daemon": "note"})
