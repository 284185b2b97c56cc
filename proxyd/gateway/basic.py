"""Names and passwords (RFC 7617). Who names a user that does not exist waits as long as who has a wrong password: names are no secret that
the time of an answer gives away."""
from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from typing import TYPE_CHECKING

from proxyd.gateway.authority import DENIED_TTL, Asked, Decided
from proxyd.snapshot.build_headers import field_lines
from proxyd_ext.auth.verdict import Verdict

if TYPE_CHECKING:
    from proxyd.config.auth_basic import Basic
    from proxyd.gateway.parts import Parts
    from proxyd.gateway.passwords import Passwords

LONGEST_PASSWORD = 1024      # bytes


def build(parts: Parts) -> BasicAuthority:
    basic = parts.auth.basic
    assert basic is not None
    return BasicAuthority(basic, parts.passwords, parts.auth.ttl_s)


class BasicAuthority:
    def __init__(self, basic: Basic, passwords: Passwords, ttl: float) -> None:
        self._passwords, self._ttl = passwords, ttl
        self._users = dict(basic.users)
        self._hashes = list(basic.users.values())
        self._secret = secrets.token_bytes(16)
        field = basic.forward.user if basic.forward is not None else None
        self._allowed = {
            name: Verdict(allow=True, user=name, lines=field_lines({field: name}) if field else b"") for name in basic.users
        }
        self._denied = Decided(Verdict(allow=False, head=field_lines({"WWW-Authenticate": basic.challenge})), DENIED_TTL)

    async def decide(self, asked: Asked) -> Decided:
        name, password = parse_credential(asked.credential)
        if password is None or len(password) > LONGEST_PASSWORD or not self._hashes:
            return self._denied
        stored = self._users.get(name)
        right = await self._passwords.check(stored or self._stand_in(name), password, asked.client, self._ttl)
        return Decided(self._allowed[name], self._ttl) if right and stored is not None else self._denied

    def _stand_in(self, name: str) -> str:
        """The hash that an unknown name is checked against: always the same one, and as costly as those of known names are."""
        digest = hashlib.blake2b(name.encode(), key=self._secret, digest_size=8).digest()
        return self._hashes[int.from_bytes(digest, "big") % len(self._hashes)]

    async def close(self) -> None:
        """The threads are everybody's."""


def parse_credential(credential: str) -> tuple[str, bytes | None]:
    """Name and password; no password where the text is not what RFC 7617 section 2 describes."""
    try:
        name, colon, password = base64.b64decode(credential.encode("latin-1"), validate=True).partition(b":")
        return name.decode(), password if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return "", None
