"""A signed token in its compact form (RFC 7515 section 3.1), taken apart: nothing in it is believed before `verify` has returned it."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from proxyd.jose.encoding import decode_base64url, parse_object
from proxyd.jose.keyset import KeySet

MAX_KID = 256        # characters
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\Z")
_ENCRYPTED = re.compile(r"[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){4}\Z")
# Headers that say where to get a key from, or bring one (jku, jwk, x5u, x5c, x5t), are not even looked at: RFC 8725 section 3.10.


class TokenError(ValueError):
    """Not a token that can be looked at. The message is a fixed sentence, good for `error_description` (RFC 6750 section 3)."""


@dataclass(frozen=True, slots=True)
class Token:
    """`typ`: lower case, without `application/` (RFC 7515 section 4.1.9); empty where the header has none."""

    algorithm: str
    kid: str | None
    typ: str
    signed: bytes = field(repr=False)         # what the signature is over
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def unverified(self) -> dict[str, Any]:
        """What the token says of itself: good to choose the keys that it must be proved with, and for nothing else."""
        return _claims(self.payload)


def parse_token(text: str, max_bytes: int) -> Token:
    """No cryptography happens here, and nothing at all for what is too large. TokenError: it is refused."""
    if len(text) > max_bytes:
        raise TokenError("the token is too large")
    if not _COMPACT.match(text):
        raise TokenError("encrypted tokens are not taken" if _ENCRYPTED.match(text) else "this is not a signed token")
    parts = text.encode("ascii").split(b".")
    try:
        header_bytes, payload, signature = (decode_base64url(part) for part in parts)
    except ValueError as error:
        raise TokenError("the token is not well encoded") from error
    try:
        header = parse_object(header_bytes)
    except ValueError as error:
        raise TokenError("the header of the token makes no sense") from error
    algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "")
    if not isinstance(algorithm, str) or not isinstance(typ, str) or not isinstance(kid, str | None) or len(kid or "") > MAX_KID:
        raise TokenError("the header of the token makes no sense")
    # RFC 7515 section 4.1.11: what is critical and not understood is refused; nothing is understood here, `b64` (RFC 7797) neither.
    if "crit" in header or "b64" in header:
        raise TokenError("the token demands an extension that is not known")
    typ = typ.lower().removeprefix("application/")
    return Token(algorithm, kid, typ, parts[0] + b"." + parts[1], payload, signature)


def verify(token: Token, keys: KeySet) -> dict[str, Any] | None:
    """The claims, where one of the keys proves them; None where none does. TokenError: proved, but the claims make no sense."""
    for key in keys.candidates(token.algorithm, token.kid):
        if key.verifies(token.algorithm, token.signed, token.signature):
            return _claims(token.payload)
    return None


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        return parse_object(payload)
    except ValueError as error:
        raise TokenError("the claims of the token make no sense") from error
