"""The users of the config: whether a name and a password are those of one, asked neither too often nor so that the time tells anything."""
from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Mapping

from proxyd.admin import problem
from proxyd.admin.attempts import Attempts
from proxyd.admin.problem import Problem
from proxyd.clock import Clock
from proxyd.config.admin import LONGEST_PASSWORD, AdminUser, is_password_hash
from proxyd.gateway.authority import AuthUnavailable
from proxyd.gateway.passwords import Passwords

REMEMBERED_S = 300.0     # for which a password that was right is not hashed again: commands and scrapes show it with every request
LONGEST_BYTES = 4 * LONGEST_PASSWORD


class Users:
    def __init__(self, clock: Clock) -> None:
        self._passwords, self._attempts = Passwords(clock), Attempts(clock)
        self._secret = secrets.token_bytes(16)
        self._users: Mapping[str, AdminUser] = {}

    def __bool__(self) -> bool:
        return bool(self._users)

    def get(self, name: str) -> AdminUser | None:
        return self._users.get(name)

    def use(self, users: Mapping[str, AdminUser]) -> list[str]:
        """Take those of a new config. Returns the names whose password is another now, or who are gone."""
        before, self._users = self._users, users
        return [name for name, user in before.items() if name not in users or users[name].password != user.password]

    async def check(self, name: str, password: bytes, client: str) -> bool:
        """Whether they are right. Raises Problem when the address has tried too often, or hashes cannot be checked now."""
        wait = self._attempts.take(client)
        if wait > 0:
            seconds = math.ceil(wait)
            found = Problem(problem.TOO_MANY_ATTEMPTS, f"too many wrong passwords came from this address; try again in {seconds} s")
            found.fields["Retry-After"] = str(seconds)
            raise found
        user = self._users.get(name)
        right = len(password) <= LONGEST_BYTES and await self._matches((user or self._stand_in(name)).password, password, client)
        if right and user is not None and self._users.get(name) == user:       # else a reload came between
            self._attempts.give_back(client)
            return True
        return False

    async def close(self) -> None:
        await self._passwords.close()

    async def _matches(self, stored: str, password: bytes, client: str) -> bool:
        if is_password_hash(stored):
            try:
                return await self._passwords.check(stored, password, client, REMEMBERED_S)
            except AuthUnavailable as error:
                raise Problem(problem.LOGIN_BUSY, str(error)) from error
        return hmac.compare_digest(self._digest(stored.encode()), self._digest(password))

    def _stand_in(self, name: str) -> AdminUser:
        """Whom an unknown name is checked against: always the same one, so that it takes the time that it takes for known names."""
        users = list(self._users.values())
        return users[int.from_bytes(self._digest(name.encode("utf-8", "surrogatepass"))[:8], "big") % len(users)]

    def _digest(self, data: bytes) -> bytes:
        """Of one length for all, so that not even that can be measured."""
        return hashlib.blake2b(data, key=self._secret).digest()
