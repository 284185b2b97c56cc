"""The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding, as PostgreSQL speaks it (the name goes elsewhere)."""
from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from functools import lru_cache

MECHANISM = "SCRAM-SHA-256"
MOST_ITERATIONS = 1_000_000
"""The server says how much work the password's hash is; PostgreSQL's own default is 4096."""

_HEADER = "n,,"                         # no channel binding, and no other identity
_FIRST = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,8})(?:,.*)?\Z")
_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4, stringprep.in_table_c5,
    stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8, stringprep.in_table_c9,
)


class ScramError(Exception):
    """The server's part is not right. The text says what it did."""


class Scram:
    """One log-in: `first()`, `final()` of the server's first message, `verify()` of its last."""

    def __init__(self, password: str, nonce: str = "", user: str = "") -> None:
        """nonce: printable ASCII without a comma; made here when empty. user: as RFC 5802 wants it; PostgreSQL wants none."""
        self._password = prepared(password)
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
        self._bare = f"n={user},r={self._nonce}"
        self._proof_of_server = b""

    def first(self) -> str:
        return _HEADER + self._bare

    def final(self, server_first: str) -> str:
        """Takes a while where the server asks for many iterations; once for a password and a salt."""
        found = _FIRST.match(server_first)
        if found is None or not found[1].startswith(self._nonce) or int(found[3]) > MOST_ITERATIONS:
            raise ScramError("its first message is not one of SCRAM-SHA-256")
        try:
            salt = base64.b64decode(found[2], validate=True)
        except binascii.Error:
            raise ScramError("its salt is not base64") from None
        salted = _salted(self._password, salt, int(found[3]))
        client_key = _hmac(salted, b"Client Key")
        bare = f"c={base64.b64encode(_HEADER.encode()).decode()},r={found[1]}"
        signed = ",".join((self._bare, server_first, bare)).encode()
        signature = _hmac(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._proof_of_server = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{bare},p={base64.b64encode(proof).decode()}"

    def verify(self, server_final: str) -> None:
        """ScramError unless the server knows the password (or its hash) as well."""
        wanted = "v=" + base64.b64encode(self._proof_of_server).decode()
        if not self._proof_of_server or not hmac.compare_digest(server_final.encode(), wanted.encode()):
            raise ScramError("it does not prove that it knows the password")


def prepared(password: str) -> bytes:
    """SASLprep (RFC 4013); what it prohibits is taken as it stands, as PostgreSQL does."""
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c))
    text = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    return (password if not text or _is_prohibited(text) else text).encode()


def _is_prohibited(text: str) -> bool:
    """RFC 4013 §2.3 and §2.5, and the rules of RFC 3454 §6 for text that runs from right to left."""
    if any(stringprep.in_table_a1(c) or any(table(c) for table in _PROHIBITED) for c in text):
        return True
    right_to_left = [stringprep.in_table_d1(c) for c in text]
    return any(right_to_left) and (any(map(stringprep.in_table_d2, text)) or not (right_to_left[0] and right_to_left[-1]))


@lru_cache(maxsize=64)
def _salted(password: bytes, salt: bytes, iterations: int) -> bytes:
    """The costly step; salts stay the same until somebody changes the password."""
    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations)


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
