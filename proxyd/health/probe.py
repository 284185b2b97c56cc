"""The real probes (type `Probe`): one request, connection or datagram to one server."""
from __future__ import annotations

from functools import partial
from importlib import import_module

from proxyd.health.check import (
    Address,
    Check,
    DnsCheck,
    HttpCheck,
    PostgresCheck,
    RedisCheck,
    TcpCheck,
    UdpCheck,
)
from proxyd.health.datagram import ask
from proxyd.health.dns import question
from proxyd.health.postgres import probe_postgres
from proxyd.health.reason import excerpt
from proxyd.health.redis import probe_redis
from proxyd.health.script import holds, in_words
from proxyd.health.stream import run_script


def load(check: Check) -> None:
    """What an HTTP check needs takes 0.1 s to import: neither the first request that proxyd serves nor the check waits for it."""
    if isinstance(check, HttpCheck):
        import_module("proxyd.health.http")


async def probe(check: Check, address: Address) -> None:
    where = address if isinstance(address, str) or not check.port else (address[0], check.port)
    preface = check.preface if where == address else b""
    match check:
        case HttpCheck():
            from proxyd.health.http import probe_http

            await probe_http(check, where, preface)
        case TcpCheck():
            await run_script(where, check.script, preface)
        case UdpCheck():
            await ask(where, preface + check.send, check.timeout, partial(_judge_datagram, check))
        case DnsCheck():
            query, judge = question(check.name)
            await ask(where, preface + query, check.timeout, judge)
        case RedisCheck():
            await probe_redis(check, where, preface)
        case PostgresCheck():
            await probe_postgres(check, where, preface)


def _judge_datagram(check: UdpCheck, answer: bytes) -> str:
    if check.expect is None or holds(check.expect, answer):
        return ""
    return f"got {excerpt(answer)}, expected {in_words(check.expect)}"
