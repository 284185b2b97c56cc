"""Logs in to a PostgreSQL server and asks whether it is a primary or a replica: the frontend's side of its protocol 3.0, as far as that
goes (https://www.postgresql.org/docs/current/protocol-message-formats.html). Without TLS.
"""
from __future__ import annotations

import asyncio
import hashlib
import struct

from proxyd.health.check import Address, CheckFailed, PostgresCheck
from proxyd.health.reason import excerpt
from proxyd.health.roles import judge_role
from proxyd.health.scram import MECHANISM, Scram, ScramError
from proxyd.health.script import LIMIT
from proxyd.health.stream import connected

QUERY = "select pg_is_in_recovery()"
_VERSION = 196608                       # 3.0
_ROLES = {b"t": "replica", b"f": "primary"}
_METHODS = {2: "Kerberos", 7: "GSSAPI", 9: "SSPI"}
_AUTH_OK, _AUTH_CLEARTEXT, _AUTH_MD5, _AUTH_SASL, _AUTH_SASL_CONTINUE, _AUTH_SASL_FINAL = 0, 3, 5, 10, 11, 12
_INFORMING = b"NSKAv"                   # notice, parameter status, key data, notification, protocol version: nothing that a check needs


async def probe_postgres(check: PostgresCheck, address: Address, preface: bytes) -> None:
    async with connected(address, preface) as (reader, writer):
        session = _Session(reader, writer, check)
        await session.log_in()
        role = await session.ask_role()
        session.send(b"X", b"")
    judge_role(role, check.role)


class _Session:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, check: PostgresCheck) -> None:
        self._reader = reader
        self._writer = writer
        self._check = check

    def send(self, kind: bytes, body: bytes) -> None:
        """kind: one byte, or none for the startup message."""
        self._writer.write(kind + struct.pack(">I", len(body) + 4) + body)

    async def log_in(self) -> None:
        check = self._check
        options = {"user": check.user, "database": check.database, "application_name": "proxyd health check", "client_encoding": "UTF8"}
        pairs = b"".join(_text(name) + _text(value) for name, value in options.items())
        self.send(b"", struct.pack(">I", _VERSION) + pairs + b"\0")
        while True:
            kind, body = await self._receive(b"RZ")
            if kind == b"Z":
                return
            await self._prove(*_split(body))

    async def ask_role(self) -> str:
        self.send(b"Q", _text(QUERY))
        _, row = await self._receive(b"D")
        # One column: its number, its length, its text.
        if len(row) < 6 or (role := _ROLES.get(row[6:])) is None:
            raise CheckFailed(f"not an answer to the question for its role: {excerpt(row)}")
        return role

    async def _prove(self, method: int, data: bytes) -> None:
        """Answers a request for authentication."""
        check = self._check
        if method == _AUTH_OK:
            return
        if method not in (_AUTH_CLEARTEXT, _AUTH_MD5, _AUTH_SASL):
            known = _METHODS.get(method, f"of number {method}")
            raise CheckFailed(f"the server asks user {check.user} for an authentication that checks do not have ({known})")
        if not check.password:
            raise CheckFailed(f"the server asks user {check.user} for a password, and the check has none")
        if method == _AUTH_SASL:
            await self._prove_by_scram(data)
        else:
            self.send(b"p", _text(check.password if method == _AUTH_CLEARTEXT else _md5(check.user, check.password, data[:4])))

    async def _prove_by_scram(self, offered: bytes) -> None:
        if MECHANISM.encode() not in offered.split(b"\0"):
            raise CheckFailed(f"the server does not offer {MECHANISM}")
        scram = Scram(self._check.password)
        first = scram.first().encode()
        self.send(b"p", _text(MECHANISM) + struct.pack(">I", len(first)) + first)
        try:
            asked = await self._sasl(_AUTH_SASL_CONTINUE)
            # On a thread: the work is as much as the server says.
            self.send(b"p", (await asyncio.to_thread(scram.final, asked)).encode())
            scram.verify(await self._sasl(_AUTH_SASL_FINAL))
        except ScramError as error:
            raise CheckFailed(f"the server's log-in is not right: {error}") from None

    async def _sasl(self, wanted: int) -> str:
        _, body = await self._receive(b"R")
        method, data = _split(body)
        if method != wanted:
            raise ScramError("it skips a step")
        return data.decode("latin-1")

    async def _receive(self, wanted: bytes) -> tuple[bytes, bytes]:
        """The next message of a kind in `wanted`. An error of the server ends the check with its own words."""
        while True:
            head = await self._reader.readexactly(5)
            kind, length = head[:1], int.from_bytes(head[1:])
            if not 4 <= length <= LIMIT or kind not in b"ERZTDC" + _INFORMING:
                raise CheckFailed(f"not an answer of PostgreSQL: {excerpt(head)}")
            body = await self._reader.readexactly(length - 4)
            if kind == b"E":
                raise CheckFailed(self._refused(body))
            if kind in wanted:
                return kind, body
            if kind == b"C":
                raise CheckFailed("no answer to the question for its role")

    def _refused(self, body: bytes) -> str:
        """Fields of an ErrorResponse: a letter and text each. Class 28 of the codes is about who logs in."""
        fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
        whom = f" user {self._check.user}" if fields.get(b"C", "").startswith("28") else ""
        return f"the server refuses{whom}: {fields.get(b'M', 'without a word')[:300]}"


def _split(body: bytes) -> tuple[int, bytes]:
    """A message about authentication: its method, and what belongs to it."""
    if len(body) < 4:
        raise CheckFailed(f"not an answer of PostgreSQL: {excerpt(body)}")
    return int.from_bytes(body[:4]), body[4:]


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _md5(user: str, password: str, salt: bytes) -> str:
    """What the server keeps (the hash of password and name), hashed again with this session's salt."""
    kept = hashlib.md5(password.encode() + user.encode(), usedforsecurity=False).hexdigest()
    return "md5" + hashlib.md5(kept.encode() + salt, usedforsecurity=False).hexdigest()
