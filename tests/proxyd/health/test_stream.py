"""Scripts over real connections, against servers that follow a written dialogue."""
from __future__ import annotations

import pytest

from proxyd.clock import SystemClock
from proxyd.health.check import TcpCheck, run_check
from proxyd.health.probe import probe
from proxyd.health.script import LIMIT, Expect, Pattern, Send, Step
from tests.support.dialogue import CLOSE, Hears, Line, tcp_server

PING, INFO = Send(b"PING\r\n"), Send(b"INFO\r\n")


async def reason(script: tuple[Step, ...], *lines: Line, timeout_s: float = 5) -> str:
    """Why a check with this script fails against a server with these lines; "" when it passes."""
    async with tcp_server(*lines) as address:
        return (await run_check(TcpCheck(script, timeout=timeout_s), address, SystemClock(), probe)).reason


async def test_one_connection_in_turns() -> None:
    script = (Expect(b"ready"), PING, Expect(b"+PONG"), INFO, Expect(Pattern("role:(master|slave)")), Send(b"\0\xff"), Expect(b"\xff\0"))
    lines = (
        b"220 ", b"ready\r\n", Hears(b"PING\r\n"), b"+PO", b"NG\r\n", Hears(b"INFO\r\n"), b"role:mas", b"ter\r\n",
        Hears(b"\0\xff"), b"\xff\0",
    )
    assert await reason(script, *lines) == ""


async def test_what_was_found_is_gone() -> None:
    two = (Expect(b"OK"), Expect(b"OK"), Expect(b"!"))
    assert await reason(two, b"OK and OK!") == "", "what has come behind it is still there"
    assert await reason(two, b"OK\r\n", CLOSE) == 'step 2: got "\\r\\n", expected "OK"'
    assert await reason((Expect(b"b"), Expect(b"a"), Expect(b"c")), b"a b c", CLOSE) == 'step 2: got " c", expected "a"'
    assert await reason((Expect(Pattern("[0-9]")), Expect(b"1"), Expect(b"2")), b"112", CLOSE) == "", "a pattern takes what it needs"


@pytest.mark.parametrize(
    ("script", "said", "why"),
    [
        ((Expect(b"+PONG"),), b"-ERR busy\r\n", 'got "-ERR busy\\r\\n", expected "+PONG"'),
        ((PING, Expect(Pattern("^.PONG$"))), b"nothing", 'got "nothing", expected matching ^.PONG$'),
        ((PING, Expect(b"x"), Expect(b"y")), b"", "step 2: closed the connection without an answer"),
        ((PING, Expect(b"+PONG")), b"", "closed the connection without an answer"),
        ((Expect(b"x", within=4),), b"abcdx", 'got "abcd", expected "x"'),
        ((Expect(b"x", within=5),), b"abcdx", ""),
        ((Expect(b"d"), Expect(b"fx", within=3), PING), b"abcdefx", ""),
        ((Expect(b"z"),), b"x" * (LIMIT + 10), f'got "{"x" * 40}…", expected "z"'),
        ((Expect(b"z"),), b"x" * (LIMIT - 1) + b"z", ""),
        ((Expect(b"z"),), b"x" * LIMIT + b"z", f'got "{"x" * 40}…", expected "z"'),
    ],
)
async def test_how_it_ends(script: tuple[Step, ...], said: bytes, why: str) -> None:
    hears = [Hears(step.data) for step in script[:1] if isinstance(step, Send)]
    assert await reason(script, *hears, said, CLOSE) == why


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"a role:master", ""),
        (b"role:slave", 'got "role:slave", expected not "role:slave"'),
        (b"role:slave role:master", 'got "role:slave role:master", expected not "role:slave"'),
        (b"role:master role:slave", ""),
        (b"loading 3 %", 'got "loading 3 %", expected not matching load.*[0-9]'),
    ],
)
async def test_what_must_not_come_before(said: bytes, why: str) -> None:
    """It fails at once: the connection stays open."""
    assert await reason((Expect(b"role:master", unless=(b"role:slave", Pattern("load.*[0-9]"))),), said) == why


async def test_silence_tells_where_it_was_waited() -> None:
    script = (PING, Expect(b"+PONG"), INFO, Expect(b"role:"))
    lines = (Hears(b"PING\r\n"), b"+PONG", Hears(b"INFO\r\n"))
    assert await reason(script, *lines, timeout_s=0.1) == 'no answer within 0.1 s: step 4: got "", expected "role:"'
    assert await reason(script[:2], Hears(b"PING\r\n"), timeout_s=0.1) == "no answer within 0.1 s"
