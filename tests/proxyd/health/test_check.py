from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from proxyd.health.check import Address, Check, CheckFailed, DnsCheck, HttpCheck, PostgresCheck, RedisCheck, TcpCheck, UdpCheck, run_check
from proxyd.health.script import Expect, Send
from tests.support.clock import FakeClock


@pytest.mark.parametrize(
    ("verdict", "failing", "pause"),
    [("up", False, 5), ("up", True, 1), ("down", True, 30), ("down", False, 30), ("unknown", False, 5)],
)
def test_the_pause_depends_on_how_the_server_does(verdict: Literal["unknown", "up", "down"], failing: bool, pause: float) -> None:
    assert TcpCheck(interval=5, interval_failing=1, interval_down=30).pause(verdict, failing) == pause
    assert TcpCheck(interval=5).pause(verdict, failing) == 5


def test_titles() -> None:
    assert HttpCheck("/z", method="HEAD").title == "HEAD /z"
    assert HttpCheck("/z", port=81).title == "GET /z at port 81"
    assert TcpCheck().title == "tcp"
    assert TcpCheck((Send(b"a"), Expect(b"b"))).title == "tcp"
    assert TcpCheck((Send(b"a"), Expect(b"b"), Expect(b"c"))).title == "tcp script"
    assert UdpCheck(b"a", port=81).title == "udp at port 81"
    assert [DnsCheck("a.example").title, DnsCheck("").title] == ["dns a.example", "dns ."]
    assert RedisCheck("primary").title == "redis primary"
    assert PostgresCheck("any", "me", port=81).title == "postgres any at port 81"


def test_no_secret_is_printed() -> None:
    for check in (RedisCheck("any", "me", "hunter2"), PostgresCheck("any", "me", password="hunter2"), TcpCheck((Send(b"AUTH hunter2"),))):
        assert "hunter2" not in f"{check!r} {check.title}"


async def test_how_long_it_took_and_why_it_failed() -> None:
    clock = FakeClock()

    async def probe(check: Check, address: Address) -> None:
        clock.pass_time(0.25)
        raise CheckFailed("status 500")

    outcome = await run_check(TcpCheck(), "/s", clock, probe)
    assert (outcome.passed, outcome.reason, outcome.duration_seconds) == (False, "status 500", 0.25)


async def test_being_cancelled_is_no_result() -> None:
    async def probe(check: Check, address: Address) -> None:
        await asyncio.Event().wait()

    task = asyncio.ensure_future(run_check(TcpCheck(timeout=60), "/s", FakeClock(), probe))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
