"""Redis (7 or newer, or Valkey) as a shared tier, by redis-py.

Keys, under the prefix:
    o:{sha256(key)}    hash; field "vary": the names that the answers vary by, field sha256(variant): an envelope. It expires with the
                       answer that lives longest; those that are over before are refused by the store that loads them. EXPIRE … NX and
                       GT need Redis 7.
    log                stream of purges, trimmed to LOG_MOST; the serial is the entry's id as one number
    log:id             token of the log
    lock:{name}        owner of a lock, with PX
Channel {prefix}purges: an empty message after each purge. It only rings: what to purge is read from the stream, in order, so that a message
that was lost loses no purge. A lookup reads the end of the stream on the same round trip.

With `maxmemory` set, the policy should be a volatile one or noeviction: `allkeys-…` may evict the log (this is noticed, and costs all that
is stored there). Redis Cluster is not supported: one operation touches keys of several slots.
"""
from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.exceptions import RedisError

from proxyd.cachetier.settings import TierSettings
from proxyd.cachetier.tier import VARIANTS_LOADED, Found, LogPart, Mark, Order, TierError, WrongAnswer, digest
from proxyd.clock import Clock
from proxyd.redis_client import open_client, said, words

LOG_MOST = 10_000
SPARE = 8                      # connections for what is not bounded: purges, the log, the subscription
VARIANTS_MOST = 64             # of one key; beyond, the hash begins anew
UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"
_SEQUENCE_BITS = 20

T = TypeVar("T")


class RedisTier:
    def __init__(self, settings: TierSettings, clock: Clock) -> None:
        self._settings = settings
        self._prefix = settings.prefix.encode()
        self._client = open_client(settings.redis, settings.concurrency + SPARE)
        self._bell: Any = None         # the subscription

    # ------------------------------------------------------------------ answers
    async def lookup(self, key: bytes, variant: bytes | None) -> Found:
        name = self._name("o:", digest(key))
        field = digest(variant or b"")
        pipe = self._client.pipeline(transaction=False)
        pipe.execute_command("GET", self._name("log:id"))
        pipe.execute_command("XREVRANGE", self._name("log"), "+", "-", "COUNT", 1)
        pipe.execute_command("HMGET", name, "vary", field)
        token, tail, fields = await _said(pipe.execute())
        mark = _mark(token, tail)
        vary, envelope = _pair(fields)
        if variant is not None or not vary:
            return Found(mark, [envelope] if envelope is not None else [])
        names = [each for each in _list(await self._do("HKEYS", name)) if each != b"vary"][-VARIANTS_LOADED:]
        found = _list(await self._do("HMGET", name, *names)) if names else []
        return Found(mark, [each for each in found if isinstance(each, bytes)])

    async def store(self, key: bytes, vary: str, variant: bytes, envelope: bytes, ttl_s: int) -> None:
        name = self._name("o:", digest(key))
        pipe = self._client.pipeline(transaction=True)
        pipe.execute_command("HSET", name, "vary", vary, digest(variant), envelope)
        pipe.execute_command("EXPIRE", name, ttl_s, "NX")
        pipe.execute_command("EXPIRE", name, ttl_s, "GT")
        pipe.execute_command("HLEN", name)
        *_, fields = await _said(pipe.execute())
        if _number(fields) > VARIANTS_MOST + 1:
            await self._do("UNLINK", name)

    async def forget(self, key: bytes) -> None:
        await self._do("UNLINK", self._name("o:", digest(key)))

    # ------------------------------------------------------------------ purges
    async def read_log(self, after: Mark) -> LogPart:
        log = self._name("log")
        pipe = self._client.pipeline(transaction=True)
        pipe.execute_command("SET", self._name("log:id"), secrets.token_hex(8), "NX")
        pipe.execute_command("GET", self._name("log:id"))
        pipe.execute_command("XLEN", log)
        pipe.execute_command("XRANGE", log, "-", "+", "COUNT", 1)
        pipe.execute_command("XREVRANGE", log, "+", "-", "COUNT", 1)
        pipe.execute_command("XRANGE", log, _stream_id(after.serial), "+")
        _, token, length, oldest, tail, behind = await _said(pipe.execute())
        mark = _mark(token, tail)
        if mark.token != after.token and after.serial:
            behind = await self._do("XRANGE", log, "-", _stream_id(mark.serial))
        known = after.serial if mark.token == after.token else 0
        floor = _entry(_list(oldest)[0])[0] - 1 if _number(length) >= LOG_MOST else 0
        return LogPart(mark, floor, [entry for entry in map(_entry, _list(behind)) if entry[0] > known])

    async def append(self, order: Order) -> int:
        pipe = self._client.pipeline(transaction=True)
        pipe.execute_command("XADD", self._name("log"), "MAXLEN", LOG_MOST, "*", "order", order.encode())
        pipe.execute_command("PUBLISH", self._name("purges"), b"")
        entry, _ = await _said(pipe.execute())
        return _serial(entry)

    async def renew_log(self) -> None:
        await self._do("SET", self._name("log:id"), secrets.token_hex(8))

    async def doorbell(self, seconds: float) -> None:
        """Rings at once when it has just been hung up: a purge may have been missed before."""
        try:
            if self._bell is None:
                self._bell = self._client.pubsub(ignore_subscribe_messages=True)
                await self._bell.subscribe(self._name("purges"))
                return
            if await self._bell.get_message(timeout=seconds) is not None:
                for _ in range(LOG_MOST):      # many purges at once are one ring
                    if await self._bell.get_message(timeout=0.0) is None:
                        break
        except Exception as error:     # redis-py has more than its own for a message that is none
            await self._hang_up()
            raise TierError(words(error)) from error

    # ------------------------------------------------------------------ locks
    async def lock(self, name: bytes, owner: bytes, ttl_s: float) -> bool:
        return await self._do("SET", self._name("lock:", digest(name)), owner, "NX", "PX", max(1, int(ttl_s * 1000))) is not None

    async def unlock(self, name: bytes, owner: bytes) -> None:
        await self._do("EVAL", UNLOCK, 1, self._name("lock:", digest(name)), owner)

    # ------------------------------------------------------------------ connections
    async def reset(self) -> None:
        await self._hang_up()
        with contextlib.suppress(RedisError, OSError):
            await self._client.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        await self._hang_up()
        with contextlib.suppress(RedisError, OSError):
            await self._client.aclose()

    async def _hang_up(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            with contextlib.suppress(RedisError, OSError, asyncio.IncompleteReadError):
                await bell.aclose()

    def _name(self, kind: str, rest: str = "") -> bytes:
        return self._prefix + kind.encode() + rest.encode()

    async def _do(self, *command: bytes | str | int) -> Any:
        return await _said(self._client.execute_command(*command))


# ---------------------------------------------------------------------- what Redis says
async def _said(operation: Awaitable[T]) -> T:
    """Its answer; what it raises, as a TierError."""
    return await said(operation, TierError)


def _mark(token: object, tail: object) -> Mark:
    entries = _list(tail)
    return Mark(_text(token) if token is not None else "", _serial(_pair(entries[-1])[0]) if entries else 0)


def _entry(raw: object) -> tuple[int, Order]:
    name, fields = _pair(raw)
    order = fields.get(b"order") if isinstance(fields, dict) else None
    if not isinstance(order, bytes):
        raise WrongAnswer("redis: an entry of the log holds no order")
    return _serial(name), Order.decode(order)


def _serial(name: object) -> int:
    """`MILLISECONDS-SEQUENCE`, the id of a stream's entry, as one number."""
    milliseconds, _, sequence = _text(name).partition("-")
    try:
        return (int(milliseconds) << _SEQUENCE_BITS) + int(sequence)
    except ValueError as error:
        raise WrongAnswer(f"redis: {name!r} is no id of a stream's entry") from error


def _stream_id(serial: int) -> str:
    return f"{serial >> _SEQUENCE_BITS}-{serial & ((1 << _SEQUENCE_BITS) - 1)}"


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise WrongAnswer(f"redis: a list was expected, not {str(value)[:80]!r}")
    return value


def _pair(value: object) -> tuple[Any, Any]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise WrongAnswer(f"redis: two values were expected, not {str(value)[:80]!r}")
    return value[0], value[1]


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        raise WrongAnswer(f"redis: a text was expected, not {str(value)[:80]!r}")
    return value.decode("latin-1")


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise WrongAnswer(f"redis: a number was expected, not {str(value)[:80]!r}")
    return value
