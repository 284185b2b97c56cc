from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result

from proxyd.cli.errors import Exit
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def test_it_says_who_serves_now(run: Run, daemon: FakeDaemon) -> None:
    assert run("upgrade").stdout == "upgraded: process 4243 serves after 0.5s; process 4242 drains (1 request when asked)\n"
    assert json.loads(run("upgrade", "--json").stdout) == {"ok": True, "pid": 4243, "predecessor": 4242, "seconds": 0.5}
    assert run("upgrade", "-q").output == ""
    assert daemon.asked == [("upgrade",)] * 3


def test_what_the_new_one_said_is_shown(run: Run, daemon: FakeDaemon) -> None:
    daemon.upgrade_fails = True
    result = run("upgrade")
    assert result.exit_code == Exit.FAILED
    assert result.stderr.startswith("ImportError: no such thing\n\nerror[PXD-280]: the new program ended before it served: exit code 1; ")


def test_without_a_daemon(run: Run) -> None:
    assert run("upgrade").exit_code == Exit.NOT_REACHABLE
