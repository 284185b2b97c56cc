from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from proxyd.health.check import Address, Check, CheckFailed, HttpCheck, TcpCheck, run_check
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
