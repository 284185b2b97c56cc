from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.jose.keyset import KeySet, key_of_secret, parse_jwks, parse_key_file
from proxyd.jose.token import TokenError, parse_token, verify
from tests.support.tokens import Asymmetric, ec_key, encode, encode_json, okp_key, pem, rsa_key, sign

CLAIMS = {"sub": "ann", "aud": ["shop"]}
ROOM = 8192


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        *[(name, rsa_key()) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
        ("ES256", ec_key()), ("ES384", ec_key(curve="P-384")), ("ES512", ec_key(curve="P-521")),
        ("EdDSA", okp_key()), ("Ed25519", okp_key()), ("Ed448", okp_key(curve="Ed448")),
    ],
)
def test_signatures(algorithm: str, key: Asymmetric) -> None:
    keys = parse_key_file(pem(key))
    token = sign({"alg": algorithm, "typ": "JWT"}, CLAIMS, key, algorithm)
    assert verify(parse_token(token, ROOM), keys) == CLAIMS
    head, body, signature = token.split(".")
    other = encode_json({"sub": "bob"})
    bare = encode_json({"alg": algorithm})
    for wrong in (f"{head}.{other}.{signature}", f"{bare}.{body}.{signature}", f"{head}.{body}.", f"{head}.{body}.AAAA"):
        assert verify(parse_token(wrong, ROOM), keys) is None


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_secrets(algorithm: str) -> None:
    secret = b"s" * 64
    keys = KeySet((key_of_secret(secret),))
    assert verify(parse_token(sign({"alg": algorithm}, CLAIMS, secret, algorithm), ROOM), keys) == CLAIMS
    assert verify(parse_token(sign({"alg": algorithm}, CLAIMS, b"t" * 64, algorithm), ROOM), keys) is None


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("key", [rsa_key(), ec_key()])
def test_a_public_key_is_no_secret(algorithm: str, key: Asymmetric) -> None:
    """Key confusion, RFC 8725 section 2.1: everybody knows the public key."""
    public = pem(key)
    keys = parse_key_file(public)
    for secret in (public, public.strip(), public.replace(b"\n", b"\r\n")):
        assert verify(parse_token(sign({"alg": algorithm}, CLAIMS, secret, algorithm), ROOM), keys) is None


@pytest.mark.parametrize("word", ["none", "None", "NONE", "nOnE", ""])
def test_no_key_takes_none(word: str) -> None:
    keys = KeySet((*parse_key_file(pem(ec_key())).keys, key_of_secret(b"s" * 64)))
    assert verify(parse_token(f"{encode_json({'alg': word})}.{encode_json(CLAIMS)}.", ROOM), keys) is None


def test_an_algorithm_of_another_key_is_not_tried() -> None:
    token = sign({"alg": "ES256"}, CLAIMS, rsa_key(), "RS256")
    assert verify(parse_token(token, ROOM), parse_key_file(pem(rsa_key()))) is None
    token = sign({"alg": "RS256"}, CLAIMS, rsa_key(), "PS256")
    assert verify(parse_token(token, ROOM), parse_key_file(pem(rsa_key()))) is None


def test_the_header_is_read() -> None:
    token = parse_token(sign({"alg": "ES256", "kid": "a/b", "typ": "application/AT+jwt"}, CLAIMS, ec_key(), "ES256"), ROOM)
    assert (token.algorithm, token.kid, token.typ, token.unverified()) == ("ES256", "a/b", "at+jwt", CLAIMS)
    bare = parse_token(sign({"alg": "ES256"}, CLAIMS, ec_key(), "ES256"), ROOM)
    assert (bare.kid, bare.typ) == (None, "")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"alg": "ES256", "crit": ["exp"], "exp": 1}, "extension"),
        ({"alg": "ES256", "crit": []}, "extension"),
        ({"alg": "ES256", "b64": False, "crit": ["b64"]}, "extension"),
        ({"alg": "ES256", "b64": False}, "extension"),
        ({}, "header"),
        ({"alg": None}, "header"),
        ({"alg": ["ES256"]}, "header"),
        ({"alg": "ES256", "kid": 1}, "header"),
        ({"alg": "ES256", "kid": "k" * 257}, "header"),
        ({"alg": "ES256", "typ": ["JWT"]}, "header"),
        (b'{"alg": "none", "alg": "ES256"}', "header"),
        (b'["ES256"]', "header"),
        (b"nonsense", "header"),
        (b'{"alg": "ES256", "x": NaN}', "header"),
    ],
)
def test_headers_that_are_refused(header: dict[str, object] | bytes, why: str) -> None:
    with pytest.raises(TokenError, match=why):
        parse_token(sign(header, CLAIMS, ec_key(), "ES256"), ROOM)


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "x5t", "x5t#S256"])
def test_keys_that_a_token_brings_are_not_looked_at(name: str) -> None:
    """RFC 8725 section 3.10. The thief signs with a key of his own, and shows where it is."""
    own = ec_key(2)
    shown = own.as_dict(private=False) if name == "jwk" else [encode(own.as_bytes())] if name == "x5c" else "https://thief.example/keys"
    stolen = sign({"alg": "ES256", name: shown}, CLAIMS, own, "ES256")
    keys = parse_jwks(json.dumps({"keys": [ec_key().as_dict(private=False)]}).encode())
    assert verify(parse_token(stolen, ROOM), keys) is None
    honest = sign({"alg": "ES256", name: shown}, CLAIMS, ec_key(), "ES256")
    assert verify(parse_token(honest, ROOM), keys) == CLAIMS


@pytest.mark.parametrize(
    "claims", [b"[]", b'"ann"', b"", b'{"sub": "ann", "sub": "bob"}', b'{"a": {"b": 1, "b": 2}}', b'{"exp": 1e999}', b"\xff"]
)
def test_claims_that_make_no_sense(claims: bytes) -> None:
    keys = parse_key_file(pem(ec_key()))
    token = sign({"alg": "ES256"}, claims, ec_key(), "ES256")
    with pytest.raises(TokenError):
        verify(parse_token(token, ROOM), keys)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a signed"), ("abc", "not a signed"), ("a.b", "not a signed"), ("..", "not a signed"), ("a..b", "not a signed"),
        ("a.b.c.d", "not a signed"), ("a.b.c.d.e", "encrypted"), ("a.b.c\n", "not a signed"), (" a.b.c", "not a signed"),
        ("a.b.c=", "not a signed"), ("é.b.c", "not a signed"), ("a.b.c", "encoded"), ("YR.YQ.YQ", "encoded"),
    ],
)
def test_what_is_no_token(text: str, why: str) -> None:
    with pytest.raises(TokenError, match=why):
        parse_token(text, ROOM)


def test_a_token_that_is_too_large_is_not_even_split() -> None:
    token = sign({"alg": "ES256"}, {"x": "y" * 9000}, ec_key(), "ES256")
    with pytest.raises(TokenError, match="too large"):
        parse_token(token, ROOM)
    assert verify(parse_token(token, len(token)), parse_key_file(pem(ec_key()))) is not None
    with pytest.raises(TokenError, match="too large"):
        parse_token("not a token" * 1000, ROOM)


@given(st.text(alphabet="aZ_-.=\n 9é", max_size=40) | st.text(max_size=40))
def test_any_text_is_a_token_or_is_refused(text: str) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(TokenError):
        assert len(parse_token(text, ROOM).signed) < len(text)
