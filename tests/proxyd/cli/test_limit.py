from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from proxyd.cli.errors import Exit
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def test_list(run: Run, daemon: FakeDaemon) -> None:
    daemon.limited = True
    assert run("limit", "list").stdout.splitlines() == [
        "per-ip  20/s, burst 40, by client.ip                                1234 keys    32 MiB  12.3k passed, 40 refused, "
        "1 would be refused, 7 forgotten for room",
        "all     100/s, burst 50, of all proxies together, by host and path  1 key        4 KiB   nothing yet",
        "in      10 in flight, by client.ip                                  2 keys       1 MiB   5 passed",
        "out     ban                                                         2 addresses  1 MiB   3 banned so far, 700 refused",
        "all takes 4 tokens at a time: at worst 12 requests of a key pass beyond its burst; alone it admits 100 in 3.0s, burst 16",
        "places: 42 of 1000 in use, 50 reserved, 3 waiting, the first for 0.2s",
        "  api  12 in use  50 reserved, at most 200  3 waiting  900 admitted, 40 after a wait, 2 shed",
        "  web  30 in use                                       100 admitted",
        "overload: requests below class normal are shed",
        "shared store: well, 3 proxies, 12.3k exchanges, 2 failed",
        "busiest of per-ip",
        "  192.0.2.1  639 requests  32 refused",
        "  192.0.2.2  638 requests",
        "  192.0.2.3  637 requests",
        "  192.0.2.4  636 requests",
        "  192.0.2.5  635 requests",
    ]
    assert len(run("limit", "list", "-v").stdout.splitlines()) == 19
    assert json.loads(run("limit", "list", "--json").stdout)["limits"][0]["policy"] == "per-ip"


def test_a_store_that_is_away(run: Run, daemon: FakeDaemon) -> None:
    daemon.limited = daemon.store_away = True
    found = run("limit", "list").stdout
    assert "shared store: away (redis: refused); each admits its share, 3 proxies" in found
    assert "the queue stands: who waits long is shed" in found
    reset = run("limit", "reset", "all")
    assert (reset.exit_code, reset.stdout) == (Exit.FAILED, "all: 1234 keys forgotten\n")
    assert "shared store was not reached" in reset.stderr


def test_without_limits(run: Run, daemon: FakeDaemon) -> None:
    assert not daemon.limited
    assert run("limit", "list").stdout == "no limits: no route of the running config uses one\n"


def test_show(run: Run, daemon: FakeDaemon) -> None:
    lines = run("limit", "show", "per-ip").stdout.splitlines()
    assert lines[:5] == [
        "per-ip: 20/s, burst 40, by client.ip",
        "  counts by  client.ip",
        "  keys       1234 of 1.0M, 32 MiB",
        "  decided    12.3k passed, 40 refused, 1 would be refused, 7 forgotten for room",
        "busiest keys, estimated",
    ]
    assert len(lines) == 13
    assert "at worst 12 requests" in run("limit", "show", "all").stdout
    assert daemon.asked == []


def test_show_a_key(run: Run, daemon: FakeDaemon) -> None:
    assert run("limit", "show", "per-ip", "192.0.2.1").stdout == "per-ip 192.0.2.1: 37 left, all 41 in 200 ms\n"
    assert json.loads(run("limit", "show", "all", "h", "/p", "--json").stdout)["key"] == ["h", "/p"]
    assert daemon.asked == []


@pytest.mark.parametrize(("arguments", "exit_code"), [
    (("show", "peer-ip"), Exit.NOT_FOUND), (("reset", "peer-ip"), Exit.NOT_FOUND), (("show", "all", "h"), Exit.USAGE),
    (("reset", "in"), Exit.FAILED),
])
def test_what_cannot_be(run: Run, daemon: FakeDaemon, arguments: tuple[str, ...], exit_code: int) -> None:
    assert run("limit", *arguments).exit_code == exit_code
    assert all(asked[0] == "reset" for asked in daemon.asked)


def test_reset(run: Run, daemon: FakeDaemon) -> None:
    assert run("limit", "reset", "per-ip", "192.0.2.1").stdout == "per-ip: 1 key forgotten\n"
    assert run("limit", "reset", "per-ip").stdout == "per-ip: 1234 keys forgotten\n"
    assert run("limit", "reset", "per-ip", "-q").output == ""
    assert json.loads(run("limit", "reset", "all", "h", "/p", "--json").stdout)["everywhere"] is True
    assert daemon.asked == [
        ("reset", "per-ip", ("192.0.2.1",)), ("reset", "per-ip", ()), ("reset", "per-ip", ()), ("reset", "all", ("h", "/p"))]
