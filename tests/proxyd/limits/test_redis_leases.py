"""What is said to a Redis, and what is made of its answers, over a real socket. Whether the scripts do what they should only a real one can
tell: tests/acceptance/accept_shared_limits.py."""
from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxyd.limits.leases import Given, Order, SharedLimit, StoreError, Want
from proxyd.limits.redis_leases import BEAT, SETTLE, RedisLeases
from tests.support.leases import FakeLimit
from tests.support.redis_fake import FakeRedis, Reply

S = 1_000_000


class LeaseRedis(FakeRedis):
    """That gives each key one token less than it asks for, and keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.settled: list[tuple[list[bytes], list[int]]] = []
        self.living: set[bytes] = set()
        self.answer: Any = None            # instead

    def _execute(self, command: list[bytes], writer: asyncio.StreamWriter) -> Reply:
        match command:
            case [b"EVAL", script, count, *rest] if script.decode() == SETTLE:
                keys, numbers = rest[:int(count)], [int(number) for number in rest[int(count):]]
                self.settled.append((keys, numbers))
                self.strings.update(dict.fromkeys(keys, b"1 0"))
                asked: list[Reply] = [number for most in numbers[4::2] for number in (max(most - 1, 0), 1_000)]
                return asked if self.answer is None else self.answer
            case [b"EVAL", script, b"1", b"p:limit:nodes", node, alive] if script.decode() == BEAT:
                assert int(alive) > 1_000
                self.living.add(node)
                return len(self.living) if self.answer is None else self.answer
            case [b"ZREM", b"p:limit:nodes", node]:
                self.living.discard(node)
                return 1
            case [b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _]:
                found = sorted(key for key in self.strings if fnmatch.fnmatch(key.decode(), pattern.decode()))
                half = len(found) // 2
                return [b"7", [*found[:half]]] if cursor == b"0" else [b"0", [*found]]
            case [b"UNLINK", *keys]:
                return sum(self.strings.pop(key, None) is not None for key in keys)
        return super()._execute(command, writer)


@pytest.fixture
async def server() -> AsyncIterator[LeaseRedis]:
    made = LeaseRedis()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def store(server: LeaseRedis) -> AsyncIterator[RedisLeases]:
    made = RedisLeases(server.url, "p:")
    yield made
    await made.close()


def rule(policy: str, requests: int = 20, burst: int = 9) -> SharedLimit:
    return SharedLimit(policy, FakeLimit(), requests, S, burst)


async def test_orders_go_together(server: LeaseRedis, store: RedisLeases) -> None:
    orders = [Order(rule("a"), [Want(1, 2, 3), Want(2**64 - 1, 0, 1)]), Order(rule("b", 3, 0), [Want(1, 1, 0)])]
    assert await store.settle(orders) == [[Given(2, 1_000), Given(0, 1_000)], [Given(0, 1_000)]]
    assert server.settled == [
        ([b"p:limit:a:0000000000000001", b"p:limit:a:ffffffffffffffff"], [50_000, 1, 10, 2, 3, 0, 1]),
        ([b"p:limit:b:0000000000000001"], [S, 3, 1, 1, 0]),
    ]
    assert server.connections == 1


async def test_those_who_live(server: LeaseRedis, store: RedisLeases) -> None:
    assert [await store.beat("one"), await store.beat("two")] == [1, 2]
    await store.leave("one")
    assert server.living == {b"two"}


async def test_forgetting(server: LeaseRedis, store: RedisLeases) -> None:
    wants = [Want(number, 1, 0) for number in range(5)]
    await store.settle([Order(rule("a"), wants), Order(rule("ab"), wants)])
    assert [await store.forget("a", 3), await store.forget("a", 3)] == [1, 0]
    assert await store.forget("a") == 4
    assert len(server.strings) == 5


@pytest.mark.parametrize("answer", [b"OK", [], [1], [b"1", 2], [-1, 0], ValueError("OOM")])
async def test_answers_that_make_no_sense(server: LeaseRedis, store: RedisLeases, answer: Any) -> None:
    server.answer = answer
    with pytest.raises(StoreError, match="redis: "):
        await store.settle([Order(rule("a"), [Want(1, 0, 1)])])


@pytest.mark.parametrize("answer", [0, b"one", [1]])
async def test_a_beat_that_makes_no_sense(server: LeaseRedis, store: RedisLeases, answer: Any) -> None:
    server.answer = answer
    with pytest.raises(StoreError, match="makes no sense"):
        await store.beat("one")


async def test_no_server(server: LeaseRedis, store: RedisLeases) -> None:
    await server.stop()
    with pytest.raises(StoreError, match="redis: "):
        await store.beat("one")
    await server.start()
    assert await store.beat("one") == 1


def test_an_address_that_is_none() -> None:
    with pytest.raises(ValueError, match="URL"):
        RedisLeases("http://a", "p:")
