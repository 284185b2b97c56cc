"""Redis (6 or newer, or Valkey) as the store of shared limits.

Keys, under the prefix:
    limit:{policy}:{hash}    what of the bucket is taken, as the time when it will be full again: `MICROSECONDS PARTS`, by Redis' own clock,
                             with so many parts of a microsecond as the rate has requests (in lowest terms): so nothing drifts. It expires
                             at that time.
    limit:nodes              sorted set of the proxies that live, by their last beat

The arithmetic is GCRA's (semantics.md §2.5) and runs in a script, where nothing comes between reading and writing. Redis' clock is the one
of all proxies. A Redis that lost its data has full buckets: at that moment another burst may pass. With `maxmemory` the policy should be
`noeviction` or one that evicts what is used least: an evicted bucket is a full one. Redis Cluster is not supported: one script touches keys
of several slots.
"""
from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Sequence
from typing import Any

from proxyd.limits.leases import Given, Order, StoreError
from proxyd.redis_client import FAILURES, open_client, said

ALIVE_MS = 5_000               # without a beat; then a proxy is not counted any more
CONNECTIONS = 4
SCANNED = 1_000                # keys that one step of a walk looks at

# ARGV: microseconds and requests of the rate in lowest terms, burst + 1, then of each key: tokens used on credit, tokens asked for.
# Returns of each key: tokens given, microseconds until there is one more.
# `spent` counts parts of a microsecond; a request takes `per` of them, and `count` drain in a microsecond.
SETTLE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local per, count, size = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local answers = {}
for index, key in ipairs(KEYS) do
  local used, asked = tonumber(ARGV[2 * index + 2]), tonumber(ARGV[2 * index + 3])
  local spent = used * per
  local state = redis.call('GET', key)
  if state then
    local whole, parts = string.match(state, '^(%d+) (%d+)$')
    if whole then
      spent = spent + math.max(0, (whole - now) * count + math.min(parts, count - 1))
    end
  end
  local given = math.max(0, math.min(asked, math.floor((size * per - spent) / per)))
  spent = spent + given * per
  if spent > 0 then
    local full = now + math.floor(spent / count)
    redis.call('SET', key, string.format('%.0f %.0f', full, spent % count), 'PX', math.floor(spent / count / 1000) + 1)
  end
  answers[2 * index - 1] = given
  answers[2 * index] = math.max(0, math.ceil((spent + per - size * per) / count))
end
return answers
"""

# ARGV: the proxy, milliseconds after which one that is silent does not count. Returns how many live.
BEAT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""


class RedisLeases:
    """A `proxyd.limits.leases.LeaseStore`. Raises ValueError for an address that is none; no connection is made yet."""

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        self._client = open_client(url, CONNECTIONS)

    async def settle(self, orders: Sequence[Order]) -> Sequence[Sequence[Given]]:
        pipe = self._client.pipeline(transaction=False)
        for order in orders:
            rule = order.rule
            requests, per_us = rule.lowest
            keys = [self._key(rule.policy, want.hash) for want in order.wants]
            tokens = [number for want in order.wants for number in (want.used, want.asked)]
            pipe.execute_command("EVAL", SETTLE, len(keys), *keys, per_us, requests, rule.burst + 1, *tokens)
        answers = await said(pipe.execute(), StoreError)
        if not isinstance(answers, list) or len(answers) != len(orders):
            raise _strange(answers)
        return [_given(answer, len(order.wants)) for answer, order in zip(answers, orders, strict=True)]

    async def beat(self, node: str) -> int:
        alive = await self._do("EVAL", BEAT, 1, f"{self._prefix}limit:nodes", node, ALIVE_MS)
        if not isinstance(alive, int) or alive < 1:
            raise _strange(alive)
        return alive

    async def leave(self, node: str) -> None:
        await self._do("ZREM", f"{self._prefix}limit:nodes", node)

    async def forget(self, policy: str, hash: int | None = None) -> int:
        if hash is not None:
            return _number(await self._do("UNLINK", self._key(policy, hash)))
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", f"{self._prefix}limit:{policy}:") + "*"
        cursor, removed = b"0", 0
        while True:
            found = await self._do("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED)
            if not isinstance(found, list | tuple) or len(found) != 2 or not isinstance(found[1], list):
                raise _strange(found)
            if found[1]:
                removed += _number(await self._do("UNLINK", *found[1]))
            cursor = found[0] if isinstance(found[0], bytes) else str(found[0]).encode()
            if cursor == b"0":
                return removed

    async def close(self) -> None:
        with contextlib.suppress(*FAILURES):
            await self._client.aclose()

    def _key(self, policy: str, hash: int) -> str:
        return f"{self._prefix}limit:{policy}:{hash:016x}"

    def _do(self, *command: bytes | str | int) -> Awaitable[Any]:
        return said(self._client.execute_command(*command), StoreError)


def _given(answer: object, wants: int) -> list[Given]:
    if not isinstance(answer, list) or len(answer) != 2 * wants:
        raise _strange(answer)
    numbers = [_number(value) for value in answer]
    return [Given(tokens, retry_us) for tokens, retry_us in zip(numbers[::2], numbers[1::2], strict=True)]


def _number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise _strange(value)
    return value


def _strange(value: object) -> StoreError:
    return StoreError(f"redis: the answer makes no sense: {str(value)[:80]!r}")
