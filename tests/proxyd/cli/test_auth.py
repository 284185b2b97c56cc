from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result

from proxyd.cli.errors import Exit
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def test_list(run: Run, daemon: FakeDaemon) -> None:
    assert run("auth", "list").stdout == "no auth policies: no route of the running config uses one\n"
    daemon.limited = True
    assert run("auth", "list").stdout.splitlines() == [
        "sso       jwt      12 remembered  340 allowed, 3 denied, 1 without a credential, 20 asked, 2 without a verdict",
        "partners  api_key  0 remembered   nothing yet",
        "sso: 2 keys of https://id.example.com, confirmed 1m 1s ago: status 500",
    ]
    assert json.loads(run("auth", "list", "--json").stdout)["policies"][0]["policy"] == "sso"


def test_usage(run: Run, daemon: FakeDaemon) -> None:
    assert run("auth", "usage").stdout.splitlines() == [
        "nothing of a quota has been used", "it does not outlive a restart: `usage: FILE` keeps it",
    ]
    daemon.limited = True
    assert run("auth", "usage").stdout.splitlines() == ["acme  24000 this month", "/var/lib/proxyd/usage.json: not written yet, no room"]


def test_revoke(run: Run, daemon: FakeDaemon) -> None:
    assert run("auth", "revoke", "sso", "ann").stdout == "sso: 1 credential forgotten\n"
    assert run("auth", "revoke", "sso").stdout == "sso: 12 credentials forgotten\n"
    assert daemon.asked == [("revoke", "sso", "ann"), ("revoke", "sso", None)]
    assert run("auth", "revoke", "nobody").exit_code == Exit.NOT_FOUND
