from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result

from proxyd.cli.errors import Exit
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def test_it_returns_when_the_daemon_has_gone(run: Run, daemon: FakeDaemon) -> None:
    result = run("stop")
    assert result.exit_code == 0
    assert result.stdout.startswith("stopping proxyd (pid 4242); 1 request in flight may finish\nstopped after ")
    assert daemon.asked == [("stop", False)]
    assert run("status").exit_code == Exit.NOT_REACHABLE


def test_flows_may_finish_too(run: Run, daemon: FakeDaemon) -> None:
    daemon.flows = 2
    assert "; 1 request and 2 flows in flight may finish\n" in run("stop").stdout


def test_now(run: Run, daemon: FakeDaemon) -> None:
    assert "at once" in run("stop", "--now").stdout
    assert daemon.asked == [("stop", True)]


def test_json(run: Run, daemon: FakeDaemon) -> None:
    facts = json.loads(run("stop", "--json").stdout)
    assert (facts["ok"], facts["pid"], facts["stopped"]) == (True, 4242, True)


def test_a_daemon_that_stays(run: Run, daemon: FakeDaemon) -> None:
    daemon.on_stop = lambda: None
    result = run("stop", "--wait=10ms")
    assert result.exit_code == Exit.FAILED
    assert "still drains" in result.stderr
    assert "--now" in result.stderr


def test_not_waiting(run: Run, daemon: FakeDaemon) -> None:
    daemon.on_stop = lambda: None
    result = run("stop", "--wait=0s")
    assert result.exit_code == 0
    assert "stopped" not in result.stdout
