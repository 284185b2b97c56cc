from __future__ import annotations

import datetime
import json
from collections.abc import Mapping

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from proxyd.jose.keyset import MAX_KEYS, MAX_TRIED, KeySet, Unusable, key_of_secret, parse_jwks, parse_key_file
from tests.support.tokens import Asymmetric, ec_key, okp_key, pem, public_jwk, rsa_key


def jwks(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def skipped(key: Mapping[str, object]) -> str:
    """Why a key is left out, beside one that is used."""
    found = parse_jwks(jwks(key, public_jwk(ec_key(), kid="good")))
    assert [each.kid for each in found.keys] == ["good"]
    [reason] = found.skipped
    return reason


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (rsa_key(), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (ec_key(), {"ES256"}),
        (ec_key(curve="P-384"), {"ES384"}),
        (ec_key(curve="P-521"), {"ES512"}),
        (okp_key(), {"EdDSA", "Ed25519"}),
        (okp_key(curve="Ed448"), {"EdDSA", "Ed448"}),
    ],
)
def test_a_key_does_what_its_kind_does(key: Asymmetric, algorithms: set[str]) -> None:
    [found] = parse_jwks(jwks(public_jwk(key, kid="a"))).keys
    assert (found.kid, set(found.algorithms)) == ("a", algorithms)
    [alone] = parse_key_file(pem(key)).keys
    assert (alone.kid, set(alone.algorithms)) == (None, algorithms)


def test_a_key_that_names_its_algorithm_does_no_other() -> None:
    [found] = parse_jwks(jwks(public_jwk(rsa_key(), alg="PS256", use="sig", key_ops=["verify"]))).keys
    assert found.algorithms == {"PS256"}
    assert "algorithm" in skipped(public_jwk(rsa_key(), alg="HS256"))
    assert "algorithm" in skipped(public_jwk(ec_key(), alg="RS256"))


def test_keys_that_are_left_out() -> None:
    assert "meant" in skipped(public_jwk(rsa_key(), use="enc"))
    assert "meant" in skipped(public_jwk(rsa_key(), key_ops=["encrypt"]))
    assert "meant" in skipped(public_jwk(rsa_key(), key_ops="verify"))
    assert "private" in skipped(ec_key().as_dict(private=True))
    assert "private" in skipped({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"})
    assert "unknown" in skipped({"kty": "AKP"})
    assert "unknown" in skipped({"kty": ["RSA"]})
    assert "id" in skipped(public_jwk(ec_key(), kid=7))
    assert "1024 bits" in skipped(public_jwk(rsa_key(bits=1024)))
    assert "bits" in skipped({**public_jwk(rsa_key()), "n": "_" * 4096})
    assert "missing" in skipped({"kty": "RSA", "e": "AQAB"})
    assert "missing" in skipped({"kty": "EC", "crv": "P-256", "x": 1, "y": 2})
    assert "numbers" in skipped({**public_jwk(ec_key()), "x": public_jwk(ec_key(2))["x"]})
    assert "numbers" in skipped({**public_jwk(ec_key()), "crv": "P-999"})
    assert "numbers" in skipped({**public_jwk(okp_key()), "x": "AA"})
    assert "kind" in skipped(public_jwk(ec_key(curve="secp256k1")))
    assert "kind" in skipped(public_jwk(okp_key(curve="X25519")))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [1]}', b"<html>", b"\xff"])
def test_what_is_no_set(content: bytes) -> None:
    with pytest.raises(Unusable):
        parse_jwks(content)


def test_a_set_has_a_bound() -> None:
    key = public_jwk(ec_key())
    assert len(parse_jwks(jwks(*[key] * MAX_KEYS)).keys) == MAX_KEYS
    with pytest.raises(Unusable, match="101 keys"):
        parse_jwks(jwks(*[key] * (MAX_KEYS + 1)))


def test_candidates() -> None:
    found = parse_jwks(jwks(public_jwk(ec_key()), public_jwk(ec_key(2), kid="b"), public_jwk(rsa_key(), kid="r")))
    assert [key.kid for key in found.candidates("ES256", "b")] == ["b", None]
    assert [key.kid for key in found.candidates("ES256", "r")] == [None]
    assert [key.kid for key in found.candidates("RS256", None)] == ["r"]
    assert not found.candidates("HS256", None)
    assert (found.knows("b"), found.knows("x"), found.knows(None)) == (True, False, False)
    many = KeySet(tuple(found.keys[:1] * 20))
    assert len(many.candidates("ES256", None)) == MAX_TRIED


def test_files() -> None:
    both = pem(ec_key()) + b"some words\n" + pem(rsa_key())
    assert [len(key.algorithms) for key in parse_key_file(both).keys] == [1, 6]
    assert [key.kid for key in parse_key_file(jwks(public_jwk(ec_key(), kid="a"))).keys] == ["a"]
    assert [key.kid for key in parse_key_file(json.dumps(public_jwk(ec_key(), kid="a")).encode()).keys] == ["a"]
    assert [set(key.algorithms) for key in parse_key_file(certificate()).keys] == [{"ES256"}]


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    day = datetime.datetime(2026, 1, 1)
    private = ec_key().private_key
    assert private is not None
    made = x509.CertificateBuilder(name, name, private.public_key(), 1, day, day + datetime.timedelta(1))
    return made.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pem(ec_key(), private=True), "private"),
        (pem(rsa_key()) + pem(ec_key(), private=True), "private"),
        (jwks(ec_key().as_dict(private=True), public_jwk(ec_key(2))), "private"),
        (pem(rsa_key(bits=1024)), "1024 bits"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n", "no key"),
        (b"ssh-rsa AAAA", "not a JWKS"),
    ],
)
def test_files_that_cannot_be_used(content: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        parse_key_file(content)


def test_secrets() -> None:
    assert key_of_secret(b"s" * 32).algorithms == {"HS256"}
    assert key_of_secret(b"s" * 64).algorithms == {"HS256", "HS384", "HS512"}
    with pytest.raises(Unusable, match="31 bytes"):
        key_of_secret(b"s" * 31)
    with pytest.raises(Unusable, match="no shared secret"):
        key_of_secret(pem(rsa_key()))


def test_keys_do_not_print_themselves() -> None:
    assert "ssss" not in repr(KeySet((key_of_secret(b"s" * 32),)))
