"""Redis (or Valkey) by redis-py, in the way in which all of proxyd uses it: deadlines and repetitions are the caller's, who knows what an
answer is still worth, and everything that goes wrong is one exception."""
from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import redis.asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

T = TypeVar("T")

FAILURES: tuple[type[Exception], ...] = (RedisError, OSError, ValueError)
"""What redis-py raises when the server cannot be reached, refuses, or answers nonsense."""


def open_client(url: str, max_connections: int) -> Any:
    """No connection is made yet. ValueError for an address that is none.

    redis-py would try again by itself, and its own timeout would kill a quiet subscription. Any: its annotations are those of its two
    clients at once, and not all of it has some; those who use it look at what it answers.
    """
    return client.Redis.from_url(
        url, protocol=2, socket_timeout=None, socket_connect_timeout=None, retry=Retry(NoBackoff(), 0), max_connections=max_connections)


async def said(operation: Awaitable[T], failure: type[Exception]) -> T:
    """Its answer; what it raises, as `failure`."""
    try:
        return await operation
    except FAILURES as error:
        raise failure(words(error)) from error


def words(error: BaseException) -> str:
    return f"redis: {error or type(error).__name__}"
