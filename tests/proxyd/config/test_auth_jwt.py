from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.config import load, load_text
from proxyd.config.auth_jwt import ASYMMETRIC, SYMMETRIC, Jwt
from proxyd.config.canonical import canonical_text, config_hash
from proxyd.config.units import Duration, Size
from proxyd.jose import keyset
from tests.support.config import config_of, first_finding
from tests.support.tokens import ec_key, pem, rsa_key

HEAD = "listen: ':1'\nto: 'a:1'\ndefaults: {use: sso}\npolicies:\n sso:\n  auth:\n   jwt: "
ISSUER = "issuer: 'https://id.example.com', audience: shop"


def jwt(options: str = "") -> Jwt:
    policy = config_of(f"{HEAD}{{{ISSUER}{options and ', '}{options}}}\n").policies["sso"]
    assert policy.auth is not None
    assert policy.auth.jwt is not None
    return policy.auth.jwt


def test_what_holds_without_a_word() -> None:
    found = jwt()
    assert (found.issuers, found.audiences, found.keys, found.types) == (("https://id.example.com",), ("shop",), None, ("JWT", "at+jwt"))
    assert (found.skew, found.refresh, found.stale, found.max_token) == (Duration("30s"), Duration("10m"), Duration("1d"), Size("8KiB"))
    assert (found.require_exp, found.user, found.source, found.hide) == (True, "sub", ("bearer", ""), False)
    assert found.accepted_algorithms == ASYMMETRIC
    assert found.challenge("sso") == 'Bearer realm="sso"'


def test_the_algorithms_are_those_of_the_keys() -> None:
    assert (ASYMMETRIC, SYMMETRIC) == (keyset.ASYMMETRIC, keyset.SYMMETRIC)
    assert jwt(f"keys: {{secret: {'s' * 32}}}").accepted_algorithms == SYMMETRIC
    assert jwt("algorithms: [ES256, EdDSA]").accepted_algorithms == ("ES256", "EdDSA")
    assert jwt("algorithms: RS256").accepted_algorithms == ("RS256",)


def test_words_for_everything() -> None:
    any_ = config_of(f"{HEAD}{{issuer: any, audience: any, keys: 'https://x/k'}}\n").policies["sso"].auth
    assert any_ is not None
    assert any_.jwt is not None
    assert (any_.jwt.issuers, any_.jwt.audiences) == ((), ())
    assert any_.jwt.keys is not None
    assert any_.jwt.keys.jwks == "https://x/k"


@pytest.mark.parametrize(
    ("text", "source"),
    [("header: X-Token", ("header", "X-Token")), ("cookie: session", ("cookie", "session")), ("query: t", ("query", "t"))],
)
def test_where_the_token_is(text: str, source: tuple[str, str]) -> None:
    assert jwt(text).source == source


def test_requirements_and_claims() -> None:
    required = "require: {scope: [a, b], role: clerk, email_verified: true, level: 3}"
    found = jwt(f"{required}, forward: {{sub: X-User, a.b: X-B}}, claims: [tenant, sub]")
    assert found.require == {"scope": ("a", "b"), "role": ("clerk",), "email_verified": ("true",), "level": ("3",)}
    assert found.told == ("tenant", "sub", "a.b")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{}", "PXD-022"),
        ("{issuer: 'https://a'}", "PXD-022"),
        ("{issuer: [], audience: shop}", "PXD-022"),
        ("{issuer: ['https://a', any], audience: shop, keys: 'https://a/k'}", "PXD-024"),
        ("{issuer: 'https://a', audience: [shop, any]}", "PXD-024"),
        ("{issuer: any, audience: shop}", "PXD-022"),
        ("{issuer: my-issuer, audience: shop}", "PXD-022"),
        ("{issuer: 'http://id.example.com', audience: shop}", "PXD-081"),
        (f"{{{ISSUER}, audiences: shop}}", "PXD-021"),
        (f"{{{ISSUER}, keys: {{}}}}", "PXD-022"),
        (f"{{{ISSUER}, keys: keys.json}}", "PXD-038"),
        (f"{{{ISSUER}, keys: 'http://id.example.com/k'}}", "PXD-081"),
        (f"{{{ISSUER}, keys: 'https://u:p@a/k'}}", "PXD-038"),
        (f"{{{ISSUER}, keys: {{jwks: 'https://a/k', secret: {'s' * 32}}}}}", "PXD-024"),
        (f"{{{ISSUER}, keys: {{secret: short}}}}", "PXD-081"),
        (f"{{{ISSUER}, keys: {{file: missing.pem}}}}", "PXD-081"),
        (f"{{{ISSUER}, keys: {{file: [a]}}}}", "PXD-030"),
        (f"{{{ISSUER}, algorithms: [none]}}", "PXD-034"),
        (f"{{{ISSUER}, algorithms: [RS256, HS256]}}", "PXD-081"),
        (f"{{{ISSUER}, algorithms: RS256, keys: {{secret: {'s' * 32}}}}}", "PXD-081"),
        (f"{{{ISSUER}, algorithms: HS512, keys: {{secret: {'s' * 32}}}}}", "PXD-081"),
        (f"{{{ISSUER}, skew: 1h}}", "PXD-033"),
        (f"{{{ISSUER}, stale: 1s}}", "PXD-033"),
        (f"{{{ISSUER}, max_token: 1MiB}}", "PXD-033"),
        (f"{{{ISSUER}, require: {{scope: []}}}}", "PXD-022"),
        (f"{{{ISSUER}, require: {{'a b': c}}}}", "PXD-038"),
        (f"{{{ISSUER}, require: {{role: ''}}}}", "PXD-038"),
        (f"{{{ISSUER}, forward: {{sub: Host}}}}", "PXD-082"),
        (f"{{{ISSUER}, forward: {{sub: X-User, email: x-user}}}}", "PXD-025"),
        (f"{{{ISSUER}, claims: [{', '.join(f'c{number}' for number in range(17))}]}}", "PXD-033"),
        (f"{{{ISSUER}, header: Authorization}}", "PXD-024"),
        (f"{{{ISSUER}, header: X-T, cookie: t}}", "PXD-024"),
        (f"{{{ISSUER}, cookie: 'a b'}}", "PXD-038"),
    ],
)
def test_mistakes(text: str, code: str) -> None:
    found = load_text(f"{HEAD}{text}\n", env={}).diagnostics
    assert {item.code for item in found} == {code}
    assert all(item.span is not None and item.span.line >= 6 for item in found)


def test_secrets_are_not_told() -> None:
    text = f"{HEAD}{{{ISSUER}, keys: {{secret: '${{env:S}}'}}, algorithms: HS512}}\n"
    [item] = load_text(text, env={"S": "hunter2" * 5}).diagnostics
    assert (item.code, "hunter2" in item.message) == ("PXD-081", False)
    config = load_text(text.replace("HS512", "HS256"), env={"S": "hunter2" * 5}).config
    assert config is not None
    assert "hunter2" not in canonical_text(config)
    written = config_of(f"{HEAD}{{{ISSUER}, keys: {{secret: {'hunter2' * 5}}}}}\n")
    assert "hunter2" not in canonical_text(written), "even where it stands in the file"


# ------------------------------------------------------------------ files
def test_files_of_keys(tmp_path: Path) -> None:
    main, file = tmp_path / "proxyd.yaml", tmp_path / "issuer.pem"
    main.write_text(f"{HEAD}{{{ISSUER}, keys: {{file: issuer.pem}}}}\n")
    hashes, definitions = set(), set()
    for key in (ec_key(), rsa_key()):
        file.write_bytes(pem(key))
        result = load(main, env={})
        assert result.config is not None
        auth = result.config.policies["sso"].auth
        assert auth is not None
        assert auth.jwt is not None
        assert auth.jwt.keys is not None
        assert auth.jwt.keys.file is not None
        assert auth.jwt.keys.file.content == pem(key)
        assert file in result.files
        hashes.add(config_hash(result.config))
        definitions.add(auth.jwt.definition)
    assert len(hashes) == len(definitions) == 2, "another key is another config"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pem(ec_key(), private=True), "private key"), (b"", "not a JWKS"), (pem(rsa_key(bits=1024)), "1024 bits"),
        (b"x" * 300_000, "larger than"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "issuer.pem").write_bytes(content)
    main = tmp_path / "proxyd.yaml"
    main.write_text(f"{HEAD}{{{ISSUER}, keys: {{file: issuer.pem}}}}\n")
    [item] = load(main, env={}).diagnostics
    assert (item.code, why in item.message) == ("PXD-081", True)
    assert item.span is not None
    assert "issuer.pem" in item.span.source.lines[item.span.line][item.span.column :]


# ------------------------------------------------------------------ doubts
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{issuer: 'https://a', audience: any}", "PXD-117"),
        (f"{{{ISSUER}, query: token}}", "PXD-118"),
        (f"{{{ISSUER}, keys: {{secret: {'s' * 32}}}}}", "PXD-113"),
    ],
)
def test_doubts(text: str, code: str) -> None:
    assert first_finding(f"{HEAD}{text}\n")[0] == code
