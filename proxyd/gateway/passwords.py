"""Checks passwords against slow hashes, without letting that become a lever against the proxy.

A check takes tens of milliseconds of a CPU and, with Argon2, megabytes. So all policies together have THREADS threads for it, PLACES
checks may wait or run, and PLACES_PER_CLIENT of them for one client (IPv6: a /64); beyond that nobody knows (503), at once. What was found
to be right is remembered under a keyed hash, so that a reload, which begins with empty verdicts, does not bring all users at the same time.

The libraries release the GIL while they work, and are imported when the first password is checked.
"""
from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import secrets
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from proxyd.gateway.authority import AuthUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxyd.clock import Clock

THREADS = 2
PLACES = 64
PLACES_PER_CLIENT = 16
KNOWN_MAX = 10_000
BCRYPT_BYTES = 72         # of a password; what stands behind has never been part of the hash


def verify(stored: str, password: bytes) -> bool:
    """Blocks. `stored` is one that config/password_hashes.py has let in. AuthUnavailable: there is no memory for it."""
    if stored.startswith("$argon2id$"):
        from argon2 import low_level
        from argon2.exceptions import VerificationError, VerifyMismatchError

        try:
            return low_level.verify_secret(stored.encode(), password, low_level.Type.ID)
        except VerifyMismatchError:
            return False
        except VerificationError as error:
            raise AuthUnavailable(f"a password cannot be checked: {error}") from error
    import bcrypt

    if b"\0" in password:       # C's end of a string: part of no hash
        return False
    return bcrypt.checkpw(password[:BCRYPT_BYTES], stored.encode())


def network_of(client: str) -> str:
    """Who counts as one client: an IPv6 address stands for its /64, all of which one line commonly has. Other texts stay as they are."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client       # of a unix socket
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64))) if address.version == 6 else client


class Passwords:
    def __init__(self, clock: Clock, *, verify: Callable[[str, bytes], bool] = verify) -> None:
        self._clock, self._verify = clock, verify
        self._pool = ThreadPoolExecutor(THREADS, "passwords")       # threads are made when there is work
        self._held: Counter[str] = Counter()                        # places taken, by client
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()      # keyed hash -> until when; the one that was used last at the end
        self.refused = 0

    async def check(self, stored: str, password: bytes, client: str, remember: float) -> bool:
        """Whether the hash is of this password. AuthUnavailable: too many checks are under way. `remember`: seconds; 0: not."""
        mark = hashlib.blake2b(stored.encode() + b"\0" + password, key=self._secret, digest_size=16).digest()
        if self._is_known(mark):
            return True
        client = network_of(client)
        if self._held.total() >= PLACES or self._held[client] >= PLACES_PER_CLIENT:
            self.refused += 1
            raise AuthUnavailable("too many passwords are to be checked")
        loop = asyncio.get_running_loop()
        future = self._pool.submit(self._verify, stored, password)
        self._held[client] += 1
        # A check that has begun holds its place until it ends, even when nobody waits for it any more.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release, client))
        right = await asyncio.wrap_future(future)
        if right and remember > 0:
            self._know(mark, self._clock.monotonic() + remember)
        return right

    @property
    def under_way(self) -> int:
        return self._held.total()

    async def close(self) -> None:
        """Waits for checks that have begun; those that wait are given up."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _release(self, client: str) -> None:
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]

    def _is_known(self, mark: bytes) -> bool:
        until = self._known.get(mark)
        if until is None:
            return False
        if until <= self._clock.monotonic():
            del self._known[mark]
            return False
        self._known.move_to_end(mark)
        return True

    def _know(self, mark: bytes, until: float) -> None:
        self._known[mark] = until
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
