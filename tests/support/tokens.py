"""An issuer of tokens for tests: keys made on the spot, tokens that are right, and tokens that are wrong in any way one likes."""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

Asymmetric = RSAKey | ECKey | OKPKey
ISSUER, AUDIENCE = "https://id.example.com", "shop"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_json(value: object) -> str:
    return encode(value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode())


def sign(header: Mapping[str, Any] | bytes, claims: object, key: Asymmetric | bytes, algorithm: str) -> str:
    """A token with any header and any claims (bytes go in as they are); `algorithm` is what is really done, with that key."""
    signed = f"{encode_json(header)}.{encode_json(claims)}".encode()
    if isinstance(key, bytes):
        signature = hmac.new(key, signed, getattr(hashlib, f"sha{algorithm[2:]}")).digest()
    else:
        signature = JWSRegistry.algorithms[algorithm].sign(signed, key)
    return f"{signed.decode()}.{encode(signature)}"


@cache
def rsa_key(number: int = 1, bits: int = 2048) -> RSAKey:
    """Made once: RSA keys take their time."""
    raw = generate_private_key(65537, bits)
    return RSAKey(raw, raw)


@cache
def ec_key(number: int = 1, curve: Literal["P-256", "P-384", "P-521", "secp256k1"] = "P-256") -> ECKey:
    return ECKey.generate_key(curve)


@cache
def okp_key(number: int = 1, curve: Literal["Ed25519", "Ed448", "X25519"] = "Ed25519") -> OKPKey:
    return OKPKey.generate_key(curve)


def public_jwk(key: Asymmetric, **members: object) -> dict[str, Any]:
    return {**key.as_dict(private=False), **members}


def pem(key: Asymmetric, *, private: bool = False) -> bytes:
    return key.as_pem(private=private)


class Issuer:
    """With one EC key that is in use, and those that its JWKS tells."""

    def __init__(self, name: str = ISSUER) -> None:
        self.name = name
        self._keys: dict[str, ECKey] = {}
        self.kid = ""
        self.rotate()

    def rotate(self, *, keep: bool = False) -> str:
        """A new key is in use; with `keep` its JWKS tells the old ones, too."""
        if not keep:
            self._keys.clear()
        number = int(self.kid[1:] or 0) + 1 if self.kid else 1
        self.kid = f"k{number}"
        self._keys[self.kid] = ECKey.generate_key("P-256")
        return self.kid

    @property
    def key(self) -> ECKey:
        return self._keys[self.kid]

    def jwks(self) -> bytes:
        return json.dumps({"keys": [public_jwk(key, kid=kid, use="sig", alg="ES256") for kid, key in self._keys.items()]}).encode()

    def claims(self, now: float, **changes: object) -> dict[str, Any]:
        """A minute old, good for five; None takes a claim out."""
        found = {"iss": self.name, "aud": AUDIENCE, "sub": "ann", "iat": int(now) - 60, "exp": int(now) + 300, **changes}
        return {name: value for name, value in found.items() if value is not None}

    def token(self, now: float, header: Mapping[str, object] | None = None, **changes: object) -> str:
        return sign({"alg": "ES256", "kid": self.kid, "typ": "JWT", **(header or {})}, self.claims(now, **changes), self.key, "ES256")
