"""Keys that signatures are verified with: from a JWKS (RFC 7517), from PEM, from a shared secret.

What is told by a key decides which algorithms it takes part in, never the token (RFC 8725 section 3.1): an RSA key verifies RSA signatures
only, a curve its own algorithm only, and nothing that is public ever becomes an HMAC secret, since a JWKS and a PEM file give asymmetric
keys alone. Keys that are too weak, too expensive, meant for something else, or not private any more are left out, with the reason.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from proxyd.jose.encoding import decode_base64url, parse_object

RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {  # RFC 7518 section 3.4, RFC 8037, RFC 9864
    "P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "Ed25519": ("EdDSA", "Ed25519"), "Ed448": ("EdDSA", "Ed448"),
}
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}      # RFC 7518 section 3.2: at least the size of the hash
ASYMMETRIC = (*RSA_ALGORITHMS, "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448")
SYMMETRIC = tuple(SECRET_BYTES)
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192      # below: NIST SP 800-131A; above: a check costs milliseconds of the event loop
MAX_KEYS = 100
MAX_TRIED = 8                                # keys that one token without a key id is held against
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class Unusable(ValueError):
    """A key, or a whole set, that tokens cannot be verified with. The message says why; it holds nothing of the key."""


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """`kid` None: the key has no id, and may be meant by any token."""

    kid: str | None
    algorithms: frozenset[str]
    key: Key = field(repr=False)

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        if algorithm not in self.algorithms:
            return False
        try:
            return JWSRegistry.algorithms[algorithm].verify(signed, signature, self.key)
        except (JoseError, ValueError):      # a signature that is not even one
            return False


@dataclass(frozen=True, slots=True)
class KeySet:
    """`skipped`: why keys were left out, one sentence each."""

    keys: tuple[VerifyKey, ...]
    skipped: tuple[str, ...] = ()

    @property
    def identities(self) -> frozenset[tuple[str | None, str]]:
        """Of each key its id, and its thumbprint (RFC 7638): two sets that were read apart can be compared by it."""
        return frozenset((key.kid, key.key.thumbprint()) for key in self.keys)

    def candidates(self, algorithm: str, kid: str | None) -> tuple[VerifyKey, ...]:
        """Keys that a token with this header may have been signed with, those that its `kid` names first; at most MAX_TRIED."""
        fitting = [key for key in self.keys if algorithm in key.algorithms and (kid is None or key.kid in (None, kid))]
        fitting.sort(key=lambda key: key.kid is None)
        return tuple(fitting[:MAX_TRIED])

    def knows(self, kid: str | None) -> bool:
        """Whether some key has that id: then another copy of the set would not help a token whose signature is wrong."""
        return kid is not None and any(key.kid == kid for key in self.keys)


def parse_jwks(content: bytes) -> KeySet:
    """Of a JWKS document, or a single JWK. Unusable: it is none, or no key in it can be used."""
    try:
        document = parse_object(content)
    except ValueError as error:
        raise Unusable(f"it is not a JWKS: {_plain(error)}") from error
    entries = document.get("keys", [document] if "kty" in document else None)
    if not isinstance(entries, list):
        raise Unusable("it is not a JWKS: it has no list `keys`")
    if len(entries) > MAX_KEYS:
        raise Unusable(f"it has {len(entries)} keys, and {MAX_KEYS} are allowed")
    keys, skipped = [], []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(_key_of_jwk(entry))
        except Unusable as error:
            skipped.append(f"key {number}: {error}")
    return _usable(keys, skipped)


def parse_key_file(content: bytes) -> KeySet:
    """Of a file: PEM (public keys and certificates), or a JWKS. Unusable: nothing in it can be used, or something in it is private."""
    if b"-----BEGIN " not in content:
        found = parse_jwks(content)
        if any("private" in reason for reason in found.skipped):
            raise Unusable("it holds a private key; verifying takes the public part only")
        return found
    keys, skipped = [], []
    for number, (label, block) in enumerate(_pem_blocks(content), 1):
        if "PRIVATE KEY" in label:
            raise Unusable("it holds a private key; verifying takes the public part only")
        try:
            public = x509.load_pem_x509_certificate(block).public_key() if label == "CERTIFICATE" else load_pem_public_key(block)
            keys.append(_key_of_public(public))
        except Unusable as error:
            skipped.append(f"key {number}: {error}")
        except ValueError:
            skipped.append(f"key {number}: it is no public key")
    return _usable(keys, skipped)


def key_of_secret(secret: bytes) -> VerifyKey:
    """Unusable: too short for every algorithm (RFC 7518 section 3.2), or the text of a public key, of which no secret is made."""
    if b"-----BEGIN " in secret:
        raise Unusable("it is a key in PEM, and no shared secret")
    algorithms = frozenset(name for name, least in SECRET_BYTES.items() if len(secret) >= least)
    if not algorithms:
        raise Unusable(f"it has {len(secret)} bytes, and HS256 takes {SECRET_BYTES['HS256']} or more")
    return VerifyKey(None, algorithms, OctKey.import_key(secret))


def _key_of_jwk(entry: object) -> VerifyKey:
    if not isinstance(entry, Mapping):
        raise Unusable("it is not an object")
    kty, kid = entry.get("kty"), entry.get("kid")
    if kty == "oct" or any(name in entry for name in _PRIVATE):
        raise Unusable("it tells a private part, so anybody may sign with it")
    if not isinstance(kty, str) or kty not in _MEMBERS:
        raise Unusable("its kind (`kty`) is unknown")
    if kid is not None and not isinstance(kid, str):
        raise Unusable("its id is no text")
    operations = entry.get("key_ops")
    if entry.get("use", "sig") != "sig" or (operations is not None and (not isinstance(operations, list) or "verify" not in operations)):
        raise Unusable("it is not meant for signatures")
    members = {name: entry.get(name) for name in _MEMBERS[kty]}
    found = _with_bounds(kty, members)
    algorithm = entry.get("alg")
    allowed = found.algorithms if algorithm is None else found.algorithms & {str(algorithm)}
    if not allowed:
        raise Unusable("its algorithm is not one that is taken here")
    return VerifyKey(kid, allowed, found.key)


def _with_bounds(kty: str, members: Mapping[str, Any]) -> VerifyKey:
    if not all(isinstance(value, str) and value.isascii() for value in members.values()):
        raise Unusable("a part of it is missing")
    data = {"kty": kty, **members}
    try:
        if kty == "RSA":
            _check_rsa_bits(int.from_bytes(decode_base64url(members["n"].encode()), "big").bit_length())
            return _key_of_public(RSAKey.import_key(data).public_key)
        return _key_of_public((ECKey.import_key(data) if kty == "EC" else OKPKey.import_key(data)).public_key)
    except Unusable:
        raise
    except (JoseError, ValueError, KeyError) as error:
        raise Unusable("its numbers make no key") from error


def _key_of_public(public: object) -> VerifyKey:
    if isinstance(public, RSAPublicKey):
        _check_rsa_bits(public.key_size)
        return VerifyKey(None, frozenset(RSA_ALGORITHMS), RSAKey.import_key(public))
    if isinstance(public, EllipticCurvePublicKey):
        key = ECKey.import_key(public)
        if public.curve.name in ("secp256r1", "secp384r1", "secp521r1"):
            return VerifyKey(None, frozenset(CURVES[key.curve_name]), key)
    if isinstance(public, Ed25519PublicKey | Ed448PublicKey):
        curve = "Ed25519" if isinstance(public, Ed25519PublicKey) else "Ed448"
        return VerifyKey(None, frozenset(CURVES[curve]), OKPKey.import_key(public))
    raise Unusable("its kind is not one that is taken here")


def _check_rsa_bits(bits: int) -> None:
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        raise Unusable(f"it has {bits} bits, and {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken")


def _pem_blocks(content: bytes) -> list[tuple[str, bytes]]:
    """Label and text of each block (RFC 7468)."""
    blocks: list[tuple[str, bytes]] = []
    for piece in content.split(b"-----BEGIN ")[1:]:
        label, _, rest = piece.partition(b"-----")
        end = b"-----END " + label + b"-----"
        body, found, _ = rest.partition(end)
        if found:
            blocks.append((label.decode("latin-1"), b"-----BEGIN " + label + b"-----" + body + end + b"\n"))
    return blocks[:MAX_KEYS]


def _usable(keys: Sequence[VerifyKey], skipped: Sequence[str]) -> KeySet:
    if not keys:
        raise Unusable("it holds no key that can be used" + (f" ({'; '.join(skipped[:3])})" if skipped else ""))
    return KeySet(tuple(keys), tuple(skipped))


def _plain(error: ValueError) -> str:
    """Without the position or the bytes that Python's own messages carry."""
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).partition(": line")[0]
