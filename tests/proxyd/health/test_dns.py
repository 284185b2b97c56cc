from __future__ import annotations

import pytest

from proxyd.clock import SystemClock
from proxyd.health.check import DnsCheck, run_check
from proxyd.health.dns import build_query, question
from proxyd.health.probe import probe
from tests.support.dialogue import udp_server


def test_a_query() -> None:
    """RFC 1035 §4.1: header, name in labels, type A, class IN."""
    assert build_query("a.example", 0x3039).hex(" ") == "30 39 01 00 00 01 00 00 00 00 00 00 01 61 07 65 78 61 6d 70 6c 65 00 00 01 00 01"
    assert build_query("", 1)[12:].hex() == "0000010001"


def test_ids_differ() -> None:
    assert len({question("a.example")[0][:2] for _ in range(20)}) > 10


def answer(query: bytes, flags: int, *, other: bool = False) -> bytes:
    return (bytes([query[0] ^ other]) + query[1:2]) + flags.to_bytes(2, "big") + query[4:]


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (0x8180, ""),
        (0x8183, ""),
        (0x8182, "answers SERVFAIL for a.example"),
        (0x8185, "answers REFUSED for a.example"),
        (0x8189, "answers RCODE 9 for a.example"),
    ],
)
async def test_what_a_resolver_says(flags: int, why: str) -> None:
    def answers(number: int, query: bytes) -> list[bytes]:
        # What does not answer this question comes first, and decides nothing.
        return [query, answer(query, 0x8185, other=True), answer(query, flags)]

    async with udp_server(answers) as server:
        assert (await run_check(DnsCheck("a.example"), server.address, SystemClock(), probe)).reason == why
    assert server.heard[0][12:] == build_query("a.example", 0)[12:]


@pytest.mark.parametrize(
    ("said", "why"), [(b"\0" * 11, "which is no DNS message"), (b"\0" * 12, "got what answers another question")]
)
async def test_what_is_no_answer(said: bytes, why: str) -> None:
    async with udp_server(lambda number, query: [said]) as server:
        reason = (await run_check(DnsCheck("a.example", timeout=0.05), server.address, SystemClock(), probe)).reason
    assert reason.startswith("no answer within 0.05 s: got ")
    assert reason.endswith(why)
