"""Asks a Redis (or Valkey) whether it serves, and whether it is a primary or a replica.

PING comes first: a server that loads its data, or whose replica may not serve old data, refuses it, but answers INFO all the same.
"""
from __future__ import annotations

import asyncio

from proxyd.health.check import Address, CheckFailed, RedisCheck
from proxyd.health.reason import excerpt
from proxyd.health.roles import judge_role
from proxyd.health.script import LIMIT
from proxyd.health.stream import connected

_ROLES = {"master": "primary", "slave": "replica"}


async def probe_redis(check: RedisCheck, address: Address, preface: bytes) -> None:
    async with connected(address, preface) as (reader, writer):
        commands: list[tuple[str, ...]] = [("PING",), ("INFO", "replication")]
        if check.user or check.password:
            # A user for whom the server has `nopass` takes any password, the empty one as well.
            commands.insert(0, ("AUTH", *((check.user,) if check.user else ()), check.password))
        answer = b""
        for words in commands:
            writer.write(_command(words))
            answer = await _answer(reader)
        facts = dict(line.split(":", 1) for line in answer.decode("latin-1").splitlines() if ":" in line)
    role = _ROLES.get(facts.get("role", ""))
    if role is None:
        raise CheckFailed(f"names no role that is known: {excerpt(answer)}")
    judge_role(role, check.role)
    if check.role == "replica" and facts.get("master_link_status") != "up":
        raise CheckFailed("its link to the primary is down")


def _command(words: tuple[str, ...]) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """The text of one reply; `CheckFailed` with the server's words for an error (RESP2: simple strings, errors, bulk strings)."""
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        raise CheckFailed("not an answer of Redis: a line without an end") from None
    kind, text = line[:1], line[1:-2]
    if kind == b"-":
        raise CheckFailed(f"the server refuses: {text.decode(errors='replace')[:200]}")
    if kind == b"+":
        return text
    if kind == b"$" and text.isdigit() and int(text) <= LIMIT:
        return (await reader.readexactly(int(text) + 2))[:-2]
    raise CheckFailed(f"not an answer of Redis: {excerpt(line)}")
