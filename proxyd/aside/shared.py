"""The shared tier as the cache-aside sees it: values with their times, one loader a key among all nodes.

The loader's node holds a lock in the tier while it loads. The others look for the value with growing pauses, and for the lock, since its
holder may have died; when they have waited `wait_s`, or when the tier does not answer, each loads by itself: the tier is a help, never a
condition.
"""
from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxyd.cachetier.link import Link
from proxyd.cachetier.tier import TTL_MAX_S, Mark, digest
from proxyd.clock import Clock

PAUSE_FIRST_S, PAUSE_MAX_S = 0.01, 0.25
_TIMES = struct.Struct(">Bdd")      # 1: a value follows, 0: there is none; fresh until, of use until: wall clock of the node that loaded it


@dataclass(frozen=True, slots=True)
class Shared:
    raw: bytes | None               # None: known not to exist
    fresh_until: float
    of_use_until: float


class SharedValues:
    def __init__(self, link: Link, clock: Clock, *, readable: Callable[[bytes], bool], lock_s: float, wait_s: float) -> None:
        """`readable`: whether the codec can decode a value; one that it cannot is not there."""
        self.link = link
        self._clock = clock
        self._readable = readable
        self._lock_s = lock_s
        self._wait_s = wait_s
        self.waited = 0             # times that another node's load was waited for
        self.waited_in_vain = 0     # of those: too long

    async def fetch(self, key: str) -> Shared | None:
        """What the tier has, if it is fresh."""
        found: list[Shared] = []

        def take(payload: bytes) -> bool:
            shared = _unpack(payload)
            if shared.fresh_until <= self._clock.wall() or (shared.raw is not None and not self._readable(shared.raw)):
                return False
            found.append(shared)
            return True

        await self.link.lookup(name_of(key), b"", take)
        return found[0] if found else None

    async def store(self, key: str, shared: Shared, tags: Sequence[str], mark: Mark) -> bool:
        ttl_s = min(TTL_MAX_S, int(shared.of_use_until - self._clock.wall()) + 1)
        return await self.link.store(name_of(key), _pack(shared), ttl_s, mark, tags=tags)

    async def lead(self, key: str) -> bytes | Shared:
        """Become the one who loads (then: the lock's owner, for `done`), or have what another node loaded meanwhile."""
        owner = secrets.token_bytes(12)
        over = self._clock.monotonic() + self._wait_s
        pause = PAUSE_FIRST_S
        while True:
            held = await self.link.lock(name_of(key), owner, self._lock_s)
            if held is None:
                return owner
            # Also with the lock: its last holder may have stored the value between our look and our lock.
            found = await self.fetch(key)
            if found is not None:
                if held:
                    await self.link.unlock(name_of(key), owner)
                return found
            if held:
                return owner
            self.waited += pause == PAUSE_FIRST_S
            if self._clock.monotonic() >= over:
                self.waited_in_vain += 1
                return owner
            await self._clock.sleep(pause)
            pause = min(pause * 2, PAUSE_MAX_S)

    async def done(self, key: str, owner: bytes) -> None:
        await self.link.unlock(name_of(key), owner)


def name_of(key: str) -> bytes:
    return b"\0aside\0" + key.encode()


def tag_of(key: str) -> str:
    """The tag that each value has of its own, so that other nodes can be told to drop it."""
    return f"aside:{digest(key.encode())[:32]}"


def _pack(shared: Shared) -> bytes:
    return _TIMES.pack(shared.raw is not None, shared.fresh_until, shared.of_use_until) + (shared.raw or b"")


def _unpack(payload: bytes) -> Shared:
    """Raises ValueError."""
    if len(payload) < _TIMES.size:
        raise ValueError(f"{len(payload)} bytes are no value with its times")
    there, fresh_until, of_use_until = _TIMES.unpack_from(payload)
    return Shared(payload[_TIMES.size:] if there else None, fresh_until, of_use_until)
