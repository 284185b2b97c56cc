"""`proxyd why`."""
from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result

from tests.proxyd.admin.fake_daemon import FakeDaemon
from tests.proxyd.records.sample import failed, record

Run = Callable[..., Result]


def test_step_by_step(run: Run, daemon: FakeDaemon) -> None:
    daemon.flight.on_records([failed("connect_refused", 502, id=0x7F3A91, path=b"/\x1b[31m")])
    result = run("why", "00000000007f3a91")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].endswith("connection refused   id 00000000007f3a91")
    assert lines[2].startswith("  client    192.0.2.7:5123 sent GET ")
    assert "  error     connection_refused: connection refused" in lines
    assert any(line.startswith("  advice    Nothing listens at that address") for line in lines)
    assert "\x1b" not in result.stdout


def test_several_of_one_id(run: Run, daemon: FakeDaemon) -> None:
    daemon.flight.on_records([record(id=1, request_id=b"order-7"), record(id=2, request_id=b"order-7")])
    assert run("why", "order-7").stdout.count("  client ") == 2
    assert len(json.loads(run("why", "order-7", "--json").stdout)) == 2


def test_one_that_is_not_kept(run: Run, daemon: FakeDaemon) -> None:
    result = run("why", "a/b c")
    assert result.exit_code == 7
    assert "no request with the id `a/b c` is kept" in result.stderr
    assert "= help: kept are failures" in result.stderr
    assert json.loads(run("why", "x", "--json").stdout)["code"] == "PXD-261"
