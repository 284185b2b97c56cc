"""Checks by UDP against real sockets."""
from __future__ import annotations

import socket

import pytest
import uvloop

from proxyd.clock import SystemClock
from proxyd.health.check import Address, Check, DnsCheck, UdpCheck, run_check
from proxyd.health.probe import probe
from proxyd.health.script import Pattern, What
from tests.support.dialogue import udp_server


async def reason(check: Check, address: Address) -> str:
    return (await run_check(check, address, SystemClock(), probe)).reason


@pytest.mark.parametrize(
    ("expect", "answer"), [(None, b"x"), (b"\xff\0", b"\0\xff\0"), (Pattern("^v[0-9]"), b"v3 up"), (b"up", b"v3 up")]
)
async def test_an_answer(expect: What | None, answer: bytes) -> None:
    async with udp_server(lambda number, data: [answer]) as server:
        assert await reason(UdpCheck(b"\0ask", expect), server.address) == ""
    assert server.heard == [b"\0ask"]


async def test_what_is_lost_is_sent_again() -> None:
    async with udp_server(lambda number, data: [b"here"] if number == 2 else []) as server:
        assert await reason(UdpCheck(b"ask", timeout=0.3), server.address) == ""
    assert server.heard == [b"ask", b"ask"]


async def test_silence() -> None:
    async with udp_server(lambda number, data: []) as server:
        assert await reason(UdpCheck(b"ask", timeout=0.06), server.address) == "no answer within 0.06 s"
    assert server.heard == [b"ask"] * 3


async def test_other_answers_are_passed_over() -> None:
    async with udp_server(lambda number, data: [b"late", b"right"]) as server:
        assert await reason(UdpCheck(b"ask", b"right"), server.address) == ""
        wrong = UdpCheck(b"ask", b"wrong", timeout=0.06)
        assert await reason(wrong, server.address) == 'no answer within 0.06 s: got "right", expected "wrong"'


def test_on_the_loop_of_the_daemon() -> None:
    """Its datagram transport is another one than asyncio's."""
    async def check() -> None:
        await test_what_is_lost_is_sent_again()
        await test_other_answers_are_passed_over()
        await test_nobody_listens()
        await test_more_than_a_datagram_holds()

    uvloop.run(check())


async def test_nobody_listens() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    assert await reason(UdpCheck(b"ask"), address) == "nobody listens on this UDP port"
    assert await reason(DnsCheck("a.example"), "/run/x.sock") == "a unix socket cannot be asked by UDP"


async def test_more_than_a_datagram_holds() -> None:
    async with udp_server(lambda number, data: []) as server:
        assert await reason(UdpCheck(b"x" * 65_508, timeout=0.2), server.address) == "message too long"


async def test_another_port() -> None:
    async with udp_server(lambda number, data: [data]) as server:
        assert await reason(UdpCheck(b"ask", b"ask", port=server.address[1]), ("127.0.0.1", 1)) == ""
