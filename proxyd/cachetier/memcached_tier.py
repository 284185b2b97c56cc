"""Memcached as a shared tier, by emcache.

Why emcache: of the asyncio clients it is the one that is maintained (aiomcache had its last release in 2024, pymemcache is synchronous);
it is typed, parses in Cython, and spreads keys over several servers by rendezvous hashing.

Keys, under the prefix (what is hashed keeps keys short and without blanks):
    b:{sha256(key)}              base: the names that answers vary by, a newline, the digests of the variants that were stored last
    o:{sha256(key, variant)}     an envelope
    log                          the purges that are remembered, as JSON lines: token and floor, then serial and order
    tail                         `TOKEN SERIAL`: how far the log reaches; read by each lookup on the same round trip
    l:{sha256(name)}             owner of a lock

What is weaker than with Redis: nothing rings, so that other nodes hear of a purge within `poll_s` or with their next lookup, whichever is
first; the log remembers fewer purges; an item that is evicted (the log, too: then all that is stored is worth nothing) is gone without a
word; locks live whole seconds; variants of one key stored at the same moment may hide one another from a lookup that does not know the
names. An answer loaded from here was never stored before a purge that matched it, as with Redis.
"""
from __future__ import annotations

import contextlib
import logging
import math
import secrets
from collections.abc import Awaitable
from typing import TypeVar

import emcache

from proxyd.cachetier.settings import TierSettings
from proxyd.cachetier.tier import TTL_MAX_S, VARIANTS_LOADED, Found, LogPart, Mark, Order, TierError, TooLarge, WrongAnswer, digest
from proxyd.clock import Clock

LOG_MOST = 500                 # orders
LOG_BYTES = 256 * 1024         # of their text; an item may have 1 MiB
DIGITS = 20                    # of a serial
TRIES = 8                      # at a compare-and-swap that others were faster at

T = TypeVar("T")

# It warns of each connection that cannot be made, without end; proxyd says once that the tier is left alone.
logging.getLogger("emcache").setLevel(logging.CRITICAL)


class MemcachedTier:
    def __init__(self, settings: TierSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._prefix = settings.prefix.encode()
        self._addresses = [_address(text.strip()) for text in settings.memcached.split(",")]
        self._made: emcache.Client | None = None
        self._rung = False

    async def _client(self) -> emcache.Client:
        # Two things about emcache: it waits up to a minute before it connects again, so `reset` makes a new one; and the timer by which it
        # purges unused connections outlives `close()`, so it has none.
        if self._made is None:
            self._made = await emcache.create_client(
                self._addresses, timeout=None, connection_timeout=None, purge_unused_connections_after=None,
                min_connections=1, max_connections=self._settings.concurrency,
            )
        return self._made

    # ------------------------------------------------------------------ answers
    async def lookup(self, key: bytes, variant: bytes | None) -> Found:
        client = await self._client()
        tail, base, item = self._name("tail"), self._name("b:", digest(key)), self._name("o:", digest(key, variant or b""))
        found = await _said(client.get_many([tail, item] if variant is not None else [tail, base, item]))
        mark = _mark(found[tail].value) if tail in found else Mark()
        envelopes = [found[item].value] if item in found else []
        if variant is None and base in found:
            vary, digests = _base(found[base].value)
            if vary and digests:
                names = [self._name("o:", each) for each in digests]
                envelopes = [each.value for each in (await _said(client.get_many(names))).values()]
        return Found(mark, [bytes(each) for each in envelopes])

    async def store(self, key: bytes, vary: str, variant: bytes, envelope: bytes, ttl_s: int) -> None:
        client = await self._client()
        name = digest(key, variant)
        try:
            await client.set(self._name("o:", name), envelope, exptime=min(ttl_s, TTL_MAX_S))
        except emcache.StorageCommandError as error:
            if b"too large" in str(error).encode():
                raise TooLarge(f"memcached: {len(envelope)} bytes are too many") from error
            raise TierError(f"memcached: {error}") from error
        except (OSError, emcache.CommandError, ValueError, RuntimeError) as error:
            raise TierError(_words(error)) from error
        base = self._name("b:", digest(key))
        before = await _said(client.get(base))
        names, digests = _base(before.value) if before is not None else ("", [])
        if before is None or names != vary or (vary and name not in digests):
            kept = [each for each in digests if each != name] if names == vary else []
            lines = "\n".join([vary, " ".join([name, *kept][:VARIANTS_LOADED])])
            await _said(client.set(base, lines.encode(), exptime=TTL_MAX_S))

    async def forget(self, key: bytes) -> None:
        client = await self._client()
        base = self._name("b:", digest(key))
        found = await _said(client.get(base))
        _, digests = _base(found.value) if found is not None else ("", [])
        for name in {base, self._name("o:", digest(key, b"")), *(self._name("o:", each) for each in digests)}:
            with contextlib.suppress(emcache.NotFoundCommandError):
                await _said(client.delete(name))

    # ------------------------------------------------------------------ purges
    async def read_log(self, after: Mark) -> LogPart:
        client = await self._client()
        found = await _said(client.get(self._name("log")))
        if found is None:
            with contextlib.suppress(emcache.NotStoredStorageCommandError):
                await _said(client.add(self._name("log"), _log(secrets.token_hex(8), 0, [])))
            found = await _said(client.get(self._name("log")))
            if found is None:
                raise TierError("memcached: the log of purges cannot be kept")
        token, floor, entries = _read_log(found.value)
        mark = Mark(token, entries[-1][0] if entries else floor)
        await self._raise_tail(mark)
        known = after.serial if after.token == token else 0
        return LogPart(mark, floor, [entry for entry in entries if entry[0] > known])

    async def append(self, order: Order) -> int:
        client = await self._client()
        for _ in range(TRIES):
            await self.read_log(Mark())
            found = await _said(client.gets(self._name("log")))
            if found is None or found.cas is None:
                continue
            token, floor, entries = _read_log(found.value)
            serial = (entries[-1][0] if entries else floor) + 1
            entries.append((serial, order))
            size = sum(len(each.text) for _, each in entries)
            while len(entries) > 1 and (len(entries) > LOG_MOST or size > LOG_BYTES):
                floor, gone = entries.pop(0)
                size -= len(gone.text)
            try:
                await _said(client.cas(self._name("log"), _log(token, floor, entries), found.cas))
            except emcache.NotStoredStorageCommandError:
                continue
            await self._raise_tail(Mark(token, serial))
            return serial
        raise TierError("memcached: the log of purges could not be written")

    async def renew_log(self) -> None:
        client = await self._client()
        await _said(client.set(self._name("log"), _log(secrets.token_hex(8), 0, [])))

    async def _raise_tail(self, mark: Mark) -> None:
        """Never lower it: another node's purge would go unseen."""
        client = await self._client()
        name, value = self._name("tail"), f"{mark.token} {mark.serial}".encode()
        for _ in range(TRIES):
            found = await _said(client.gets(name))
            with contextlib.suppress(emcache.NotStoredStorageCommandError):
                if found is None:
                    return await _said(client.add(name, value))
                there = _mark(found.value)
                if there.token == mark.token and there.serial >= mark.serial:
                    return None
                return await _said(client.cas(name, value, found.cas or 0))
        raise TierError("memcached: the end of the log could not be written")

    async def doorbell(self, seconds: float) -> None:
        if self._rung:
            await self._clock.sleep(min(seconds, self._settings.poll_s))
        self._rung = True

    # ------------------------------------------------------------------ locks
    async def lock(self, name: bytes, owner: bytes, ttl_s: float) -> bool:
        client = await self._client()
        try:
            await _said(client.add(self._name("l:", digest(name)), owner, exptime=max(1, math.ceil(ttl_s))))
        except emcache.NotStoredStorageCommandError:
            return False
        return True

    async def unlock(self, name: bytes, owner: bytes) -> None:
        client = await self._client()
        entry = self._name("l:", digest(name))
        found = await _said(client.gets(entry))
        if found is not None and found.cas is not None and bytes(found.value) == owner:
            # A swap for something that has expired already: only if nobody else has the lock by now.
            with contextlib.suppress(emcache.NotStoredStorageCommandError, TierError):
                await _said(client.cas(entry, b"", found.cas, exptime=-1))

    # ------------------------------------------------------------------ connections
    async def reset(self) -> None:
        made, self._made = self._made, None
        self._rung = False
        if made is not None:
            await made.close()

    async def close(self) -> None:
        await self.reset()

    def _name(self, kind: str, rest: str = "") -> bytes:
        return self._prefix + kind.encode() + rest.encode()


# ---------------------------------------------------------------------- what Memcached says
async def _said(operation: Awaitable[T]) -> T:
    """Its answer. NotStored and NotFound pass; what else it raises is a TierError."""
    try:
        return await operation
    except (emcache.NotStoredStorageCommandError, emcache.NotFoundCommandError):
        raise
    except (OSError, emcache.CommandError, emcache.ClusterNoAvailableNodes, ValueError, RuntimeError) as error:
        raise TierError(_words(error)) from error


def _words(error: BaseException) -> str:
    return f"memcached: {error or type(error).__name__}"


def _address(text: str) -> emcache.MemcachedHostAddress | emcache.MemcachedUnixSocketPath:
    if text.startswith("unix:"):
        return emcache.MemcachedUnixSocketPath(text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"`{text}` is not HOST:PORT or unix:/PATH")
    return emcache.MemcachedHostAddress(host.strip("[]"), int(port))


def _mark(value: bytes) -> Mark:
    token, _, serial = bytes(value).decode("latin-1").partition(" ")
    if not token or not serial.isdecimal() or len(serial) > DIGITS:
        raise WrongAnswer(f"memcached: the end of the log is {value[:80]!r}")
    return Mark(token, int(serial))


def _base(value: bytes) -> tuple[str, list[str]]:
    vary, _, digests = bytes(value).decode("latin-1").partition("\n")
    return vary, digests.split()[:VARIANTS_LOADED]


def _log(token: str, floor: int, entries: list[tuple[int, Order]]) -> bytes:
    return b"\n".join([f"{token} {floor}".encode(), *(b"%d %b" % (serial, order.encode()) for serial, order in entries)])


def _read_log(value: bytes) -> tuple[str, int, list[tuple[int, Order]]]:
    first, *lines = bytes(value).split(b"\n")
    mark = _mark(first)
    entries = []
    for line in lines:
        serial, _, order = line.partition(b" ")
        if not serial.isdigit() or len(serial) > DIGITS:
            raise WrongAnswer(f"memcached: the log of purges holds {line[:80]!r}")
        entries.append((int(serial), Order.decode(order)))
    return mark.token, mark.serial, entries
