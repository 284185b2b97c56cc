from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from proxyd.cli.errors import Exit
from proxyd.state import OverrideView
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]

ONE = "app/10.0.0.1:80"


def asked(daemon: FakeDaemon) -> list[tuple[Any, ...]]:
    """Without who asked."""
    return [(*entry[:-2], entry[-1]) if entry[0] in ("set", "remove") else entry[:-1] for entry in daemon.asked]


def test_flows_so_far(run: Run, daemon: FakeDaemon) -> None:
    daemon.flows = 12_345
    assert "weight 1  0 in flight, 12.3k flows so far" in run("upstream", "list").stdout


def test_list_and_show(run: Run, daemon: FakeDaemon) -> None:
    daemon.overrides = (OverrideView("app", "10.0.0.2:80", "weight", "weight 3", "ops", 1.0),)
    daemon.busy = [2, 2]
    lines = run("upstream", "list").stdout.splitlines()
    assert lines == [
        "app: 1/2 usable, p2c",
        "  app/10.0.0.1:80  up    weight 1  2 in flight",
        "  app/10.0.0.2:80  down  weight 1  0 in flight  connection refused",
    ]
    shown = run("upstream", "show", "app").stdout.splitlines()
    assert shown[:3] == lines
    assert shown[3].startswith("  override: app/10.0.0.2:80 weight 3 by ops ")
    daemon.busy, daemon.leaving = [2], True
    assert "  app/10.0.0.1:80  leaving            2 in flight  removed" in run("upstream", "show", "app").stdout.splitlines()
    assert json.loads(run("upstream", "list", "--json").stdout)[0]["name"] == "app"
    assert json.loads(run("upstream", "show", "app", "--json").stdout)["usable"] == 1
    assert run("upstream", "show", "nope").exit_code == Exit.NOT_FOUND


def test_show_of_one_server(run: Run, daemon: FakeDaemon) -> None:
    daemon.overrides = (OverrideView("app", "10.0.0.2:80", "weight", "weight 3", "ops", 1.0),)
    assert run("upstream", "show", ONE).stdout.splitlines() == ["app: 1/2 usable, p2c", "  app/10.0.0.1:80  up  weight 1  0 in flight"]
    other = run("upstream", "show", "app/10.0.0.2:80").stdout.splitlines()
    assert other[1].startswith("  app/10.0.0.2:80  down")
    assert other[2].startswith("  override: app/10.0.0.2:80 weight 3 by ops ")
    assert [server["label"] for server in json.loads(run("upstream", "show", ONE, "--json").stdout)["servers"]] == ["10.0.0.1:80"]
    missing = run("upstream", "show", "app/x")
    assert missing.exit_code == Exit.NOT_FOUND
    assert "has no server `x`; it has `10.0.0.1:80`, `10.0.0.2:80`" in missing.stderr


@pytest.mark.parametrize(("arguments", "order", "said"), [
    (("drain", ONE), ("set", "app", "10.0.0.1:80", {"state": "drain"}, False), f"{ONE} is draining\n"),
    (("maint", ONE, "--force"), ("set", "app", "10.0.0.1:80", {"state": "maint"}, True), f"{ONE} is in maintenance\n"),
    (("ready", ONE), ("set", "app", "10.0.0.1:80", {"state": "ready"}, False), f"{ONE} is ready\n"),
    (("weight", ONE, "7"), ("set", "app", "10.0.0.1:80", {"weight": 7}, False), f"{ONE} has weight 7\n"),
    (("drain", "app/unix:/r/a.sock"), ("set", "app", "unix:/r/a.sock", {"state": "drain"}, False), "app/unix:/r/a.sock is draining\n"),
    (("remove", ONE), ("remove", "app", "10.0.0.1:80", False), f"{ONE} is removed\n"),
    (("add", "app", "[::1]:80"), ("add", "app", {"address": "[::1]:80"}), "app/[::1]:80 added\n"),
    (("add", "app", "a:80", "--weight", "2", "--backup"),
     ("add", "app", {"address": "a:80", "weight": 2, "backup": True}), "app/a:80 added\n"),
    (("add", "app", "a:80", "--priority", "3", "--zone", "b", "--max-requests", "9"),
     ("add", "app", {"address": "a:80", "priority": 3, "zone": "b", "max_requests": 9}), "app/a:80 added\n"),
])
def test_orders(run: Run, daemon: FakeDaemon, arguments: tuple[str, ...], order: tuple[Any, ...], said: str) -> None:
    result = run("upstream", *arguments)
    assert (result.exit_code, result.stdout) == (0, said)
    assert asked(daemon) == [order]
    daemon.same = True
    assert "already" in run("upstream", *arguments).stdout or arguments[0] == "add"
    assert json.loads(run("upstream", *arguments, "--json").stdout)["changed"] is False
    assert run("upstream", *arguments, "-q").output == ""


@pytest.mark.parametrize(
    "arguments", [("drain", ONE, "--wait"), ("drain", "--wait", ONE), ("maint", ONE, "--wait=20s"), ("remove", ONE, "--wait", "5s")]
)
def test_waiting_ends_when_nothing_is_in_flight(run: Run, daemon: FakeDaemon, arguments: tuple[str, ...]) -> None:
    daemon.busy = [3, 2, 1]
    result = run("upstream", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].startswith(f"{ONE} is idle after ")
    assert daemon.busy == []


def test_waiting_that_is_over_tells_the_stragglers(run: Run, daemon: FakeDaemon) -> None:
    daemon.busy = [3] * 100
    result = run("upstream", "drain", ONE, "--wait=50ms")
    assert result.exit_code == Exit.FAILED
    assert "10.0.0.1:80 (up): 3 in flight on 3 connections after " in result.stderr
    assert re.search(rf"{ONE} is not idle after [0-9.]+ s: 3 in flight", result.stderr)
    facts = json.loads(run("upstream", "drain", ONE, "--wait=50ms", "--json").stdout)
    assert (facts["ok"], facts["in_flight"], facts["stragglers"][0]["connections_active"]) == (False, 3, 3)


def test_ready_waits_for_the_check(run: Run, daemon: FakeDaemon) -> None:
    assert run("upstream", "ready", ONE, "--wait").stdout.splitlines()[-1].startswith(f"{ONE} is usable after ")
    late = run("upstream", "ready", "app/10.0.0.2:80", "--wait=50ms")
    assert late.exit_code == Exit.FAILED
    assert "10.0.0.2:80 (down, connection refused)" in late.stderr


def test_json_of_a_wait(run: Run, daemon: FakeDaemon) -> None:
    facts = json.loads(run("upstream", "drain", ONE, "--wait", "--json").stdout)
    assert (facts["ok"], facts["changed"], facts["in_flight"], facts["stragglers"]) == (True, True, 0, [])


@pytest.mark.parametrize(("arguments", "exit_", "words"), [
    (("drain", "app"), Exit.USAGE, "names no server"),
    (("drain", "/x"), Exit.USAGE, "names no server"),
    (("weight", ONE, "0"), Exit.USAGE, "0 is not in the range"),
    (("drain", ONE, "--wait=5"), Exit.USAGE, "write `5s`"),
    (("drain", ONE, "--wait", "5"), Exit.USAGE, "write `5s`"),
    (("drain", "nope/x"), Exit.NOT_FOUND, "error[PXD-220]"),
    (("drain", "app/10.0.0.9:80"), Exit.FAILED, "error[PXD-222]"),
])
def test_what_is_refused(run: Run, daemon: FakeDaemon, arguments: tuple[str, ...], exit_: Exit, words: str) -> None:
    result = run("upstream", *arguments)
    assert result.exit_code == exit_
    assert words in result.stderr
