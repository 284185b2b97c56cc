"""The questions to a Redis, as dialogues in RESP2."""
from __future__ import annotations

import pytest

from proxyd.clock import SystemClock
from proxyd.health.check import RedisCheck, Role, run_check
from proxyd.health.probe import probe
from tests.support.dialogue import CLOSE, Hears, Line, tcp_server

PING, INFO = Hears(b"*1\r\n$4\r\nPING\r\n"), Hears(b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n")
MASTER, SLAVE = "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n", "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\n"


def bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


async def reason(check: RedisCheck, *lines: Line) -> str:
    async with tcp_server(*lines) as address:
        return (await run_check(check, address, SystemClock(), probe)).reason


@pytest.mark.parametrize(
    ("role", "info", "why"),
    [
        ("primary", MASTER, ""),
        ("any", MASTER, ""),
        ("replica", MASTER, "it is a primary, a replica is wanted"),
        ("primary", SLAVE, "it is a replica, a primary is wanted"),
        ("any", SLAVE, ""),
        ("replica", SLAVE, ""),
        ("replica", SLAVE.replace(":up", ":down"), "its link to the primary is down"),
        ("any", SLAVE.replace(":up", ":down"), ""),
        ("any", "role:sentinel\r\n", 'names no role that is known: "role:sentinel\\r\\n"'),
        ("any", "", 'names no role that is known: ""'),
    ],
)
async def test_roles(role: Role, info: str, why: str) -> None:
    assert await reason(RedisCheck(role), PING, b"+PO", b"NG\r\n", INFO, bulk(info)[:3], bulk(info)[3:]) == why


@pytest.mark.parametrize(
    ("check", "login"),
    [
        (RedisCheck("any", password="pä ss"), "*2\r\n$4\r\nAUTH\r\n$6\r\npä ss\r\n"),
        (RedisCheck("any", "me", "x"), "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$1\r\nx\r\n"),
        (RedisCheck("any", "me"), "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$0\r\n\r\n"),
    ],
)
async def test_a_login_comes_first(check: RedisCheck, login: str) -> None:
    assert await reason(check, Hears(login.encode()), b"+OK\r\n", PING, b"+PONG\r\n", INFO, bulk(MASTER)) == ""
    refused = "the server refuses: WRONGPASS invalid"
    assert await reason(check, Hears(login.encode()), b"-WRONGPASS invalid\r\n") == refused


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "the server refuses: LOADING Redis is loading the dataset in memory"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 'not an answer of Redis: "HTTP/1.1 400 Bad Request\\r\\n"'),
        (b"$999999\r\n", 'not an answer of Redis: "$999999\\r\\n"'),
        (b"$-1\r\n", 'not an answer of Redis: "$-1\\r\\n"'),
        (b"$5\r\nab", "closed the connection without an answer"),
        (b"", "closed the connection without an answer"),
        (b"x" * 100_000, "not an answer of Redis: a line without an end"),
    ],
)
async def test_other_answers(said: bytes, why: str) -> None:
    assert await reason(RedisCheck("any"), PING, said, CLOSE) == why
