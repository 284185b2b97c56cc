from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from proxyd.cli.errors import Exit
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def test_the_daemon_is_asked(run: Run, daemon: FakeDaemon) -> None:
    result = run("route", "http://shop.example:8080/a?b")
    assert result.exit_code == 0
    assert daemon.asked == [("explain", "GET", "shop.example", "/a", None)]
    assert "web 127.0.0.1:8080: route api, to app" in result.stdout
    assert "not shop: host differs" in result.stdout


@pytest.mark.parametrize("arguments", [("POST", "/a"), ("POST /a",), ("post", "/a")])
def test_method_and_url(arguments: tuple[str, ...], run: Run, daemon: FakeDaemon) -> None:
    run("route", *arguments, "-H", "Host: Shop.example:80", "-H", "X-Other: 1")
    assert daemon.asked == [("explain", "POST", "shop.example", "/a", None)]


def test_no_route_gives_exit_code_7(run: Run, daemon: FakeDaemon) -> None:
    daemon.matches = False
    result = run("route", "/a")
    assert result.exit_code == Exit.NOT_FOUND
    assert "404 no route" in result.stdout
    assert "not api: host and path differ" in result.stdout


def test_json(run: Run, daemon: FakeDaemon) -> None:
    facts = json.loads(run("route", "/a", "--json").stdout)
    assert (facts["method"], facts["path"], facts["decisions"][0]["route"]) == ("GET", "/a", "api")


def test_an_unknown_listener(run: Run, daemon: FakeDaemon) -> None:
    result = run("route", "/a", "--listener", "wbe")
    assert result.exit_code == Exit.NOT_FOUND
    assert "`wbe`" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("GET", "/a", "/b"), ("/a", "-H", "no colon"), ("ftp://x/",), ("G(T", "/")])
def test_what_cannot_be_meant(arguments: tuple[str, ...], run: Run) -> None:
    assert run("route", *arguments).exit_code == Exit.USAGE
