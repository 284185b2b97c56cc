from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from proxyd.config import load_text
from proxyd.config.auth import Auth
from proxyd.config.auth_fields import spellings
from proxyd.config.canonical import canonical_text, config_hash
from proxyd.diagnostics import render_all
from tests.support.config import config_in, config_of, first_finding

KEY = "shop-0123456789abcdef"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
HASH = "$2y$04$" + "a" * 53
HEAD = "listen: ':1'\nroutes: [{use: p, respond: 200}]\n"


def text_of(auth: str, more: str = "") -> str:
    return f"{HEAD}policies: {{p: {{auth: {auth}}}}}\n{more}"


def auth_of(auth: str, more: str = "") -> Auth:
    found = config_of(text_of(auth, more)).policies["p"].auth
    assert found is not None
    return found


# ------------------------------------------------------------------ shapes
def test_a_policy_of_keys_and_its_defaults() -> None:
    auth = auth_of(f"{{api_key: {{keys: {{shop: {KEY}}}}}}}")
    keys = auth.api_key
    assert keys is not None
    assert (auth.kind, auth.ttl_s, auth.optional, auth.timeout.seconds, auth.remembered) == ("api_key", 3600, False, 5, 100_000)
    assert (keys.source, keys.hide, keys.forward) == (("header", "X-API-Key"), True, "X-Consumer")
    assert (keys.keys["shop"].sha256, keys.keys["shop"].plan, keys.keys["shop"].enabled) == (DIGEST, None, True)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("header: X-Key", ("header", "X-Key")),
        ("header: authorization", ("bearer", "")),
        ("query: key", ("query", "key")),
        ("cookie: key", ("cookie", "key")),
    ],
)
def test_where_the_key_is(place: str, expected: tuple[str, str]) -> None:
    keys = auth_of(f"{{api_key: {{{place}, keys: {{shop: {KEY}}}}}}}").api_key
    assert keys is not None
    assert keys.source == expected
    assert keys.challenge("p") == f'{"Bearer" if expected[0] == "bearer" else "ApiKey"} realm="p"'


def test_of_a_key_only_the_digest_is_kept() -> None:
    config = config_of(text_of(f"{{api_key: {{keys: {{a: {KEY}, b: {{sha256: {'A' * 64}}}, c: {{key: 1234567890123456}}}}}}}}"))
    assert KEY not in repr(config)
    assert KEY not in canonical_text(config, secrets=True)
    shown = canonical_text(config)
    assert DIGEST not in shown
    assert "aaaa" not in shown
    assert config_of(canonical_text(config, secrets=True)) == config


def test_a_policy_of_passwords() -> None:
    auth = auth_of(f"{{basic: {{users: {{ann: {HASH}}}}}}}")
    assert auth.basic is not None
    assert auth.basic.forward is not None
    assert (auth.kind, auth.ttl_s, auth.basic.hide, auth.basic.forward.user) == ("basic", 600, True, "X-User")
    assert auth.basic.challenge == 'Basic realm="proxyd", charset="UTF-8"'
    assert auth_of(f"{{basic: {{users: {{ann: {HASH}}}, forward: none}}}}").basic != auth.basic
    assert HASH not in canonical_text(config_of(text_of(f"{{basic: {{users: {{ann: {HASH}}}}}}}")))


def test_a_policy_that_asks_a_service() -> None:
    short, full = auth_of("{forward: 'http://a/x'}"), auth_of("{forward: {url: 'http://a/x', request_fields: [Authorization, Cookie]}}")
    assert short == full
    assert short.forward is not None
    assert (short.ttl_s, short.forward.per_target, short.forward.method) == (0, True, "GET")
    named = auth_of("{forward: {url: 'https://[::1]:8080/x?y=1', response_fields: [X-User, X-Role]}}").forward
    assert named is not None
    assert named.response_fields == {"X-User": "X-User", "X-Role": "X-Role"}
    mapped = auth_of("{forward: {url: 'http://a', response_fields: {Remote-User: X-User}, user: Remote-User}}").forward
    assert mapped is not None
    assert (mapped.response_fields, mapped.user) == ({"Remote-User": "X-User"}, "Remote-User")


def test_how_long_verdicts_are_remembered() -> None:
    assert auth_of("{forward: 'http://a/x', cache: 30s}").ttl_s == 30
    assert auth_of("{forward: 'http://a/x', cache: none}").ttl_s == 0


def test_every_spelling_that_an_application_could_take_for_the_field() -> None:
    assert spellings("x-user") == ("x-user", "x_user")
    assert set(spellings("a-b_c")) == {"a-b-c", "a_b-c", "a-b_c", "a_b_c"}
    assert spellings("user") == ("user",)


# ------------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("code", "marked"),
    [
        ("PXD-022", "»{}"),
        ("PXD-022", "»{optional: true}"),
        ("PXD-024", "{»forward: 'http://a/', api_key: {keys: {a: KEY}}}"),
        ("PXD-031", "{cache: »10, forward: 'http://a/'}"),
        ("PXD-033", "{cache: »2d, forward: 'http://a/'}"),
        ("PXD-033", "{timeout: »2m, forward: 'http://a/'}"),
        # keys
        ("PXD-022", "{»api_key: {hide: true}}"),
        ("PXD-087", "{api_key: {keys: {a: »short}}}"),
        ("PXD-087", "{api_key: {keys: {a: »'with a blank 012345'}}}"),
        ("PXD-087", "{api_key: {keys: {a: {key: »short}}}}"),
        ("PXD-022", "{api_key: {keys: {a: »{enabled: true}}}}"),
        ("PXD-087", "{api_key: {keys: {a: {sha256: »abc}}}}"),
        ("PXD-024", "{api_key: {keys: {a: {key: KEY, »sha256: abc}}}}"),
        ("PXD-087", "{api_key: {keys: {a: KEY, »b: KEY}}}"),
        ("PXD-036", "{api_key: {keys: {»'a:b': KEY}}}"),
        ("PXD-024", "{api_key: {header: A, »cookie: b, keys: {a: KEY}}}"),
        ("PXD-082", "{api_key: {forward: »Host, keys: {a: KEY}}}"),
        ("PXD-082", "{api_key: {forward: »A-B-C-D-E-F-G-H, keys: {a: KEY}}}"),
        # passwords
        ("PXD-022", "{»basic: {realm: x}}"),
        ("PXD-086", "{basic: {users: {ann: »hunter2}}}"),
        ("PXD-038", "{basic: {users: {ann: HASH}, realm: »'a\"b'}}"),
        # services
        ("PXD-022", "{»forward: {}}"),
        ("PXD-038", "{forward: »'ftp://a/'}"),
        ("PXD-038", "{forward: »'http://u:p@a/'}"),
        ("PXD-038", "{forward: »'http://a:99999/'}"),
        ("PXD-038", "{forward: »'http://a/#x'}"),
        ("PXD-082", "{forward: {url: 'http://a/', request_fields: »X-Forwarded-For}}"),
        ("PXD-022", "{forward: {url: 'http://a/', »request_fields: []}}"),
        ("PXD-082", "{forward: {url: 'http://a/', response_fields: {A: »Host}}}"),
    ],
)
def test_mistakes(code: str, marked: str) -> None:
    """`»` stands before what is pointed at."""
    marked = marked.replace("KEY", KEY).replace("HASH", HASH)
    line = text_of(marked).splitlines()[2]
    assert first_finding(text_of(marked.replace("»", ""))) == (code, 3, line.index("»") + 1)


def test_a_key_is_never_in_a_message() -> None:
    found = load_text(text_of("{api_key: {keys: {a: 'secret with blanks'}}}")).diagnostics
    assert "secret" not in found[0].message + found[0].help


def test_a_plan_that_nobody_has_defined() -> None:
    auth = f"{{api_key: {{keys: {{a: {{key: {KEY}, plan: gould}}}}}}}}"
    found = load_text(text_of(auth, "plans: {gold: {rate: 1/s}}\n"), env={}).errors
    assert [(item.code, item.path) for item in found] == [("PXD-088", "policies.p.auth.api_key.keys.a.plan")]
    assert "did you mean `gold`" in found[0].help
    broken = load_text(text_of(auth.replace("gould", "gold"), "plans: {gold: {rate: 1}}\n"), env={}).errors
    assert [item.code for item in broken] == ["PXD-031"]


# ------------------------------------------------------------------ lint
def warnings(text: str, **env: str) -> list[tuple[str, str]]:
    result = load_text(text, env=env)
    assert result.errors == [], render_all(result.diagnostics)
    return [(item.code, item.path) for item in result.warnings]


def test_keys_in_the_file_itself_are_warned_of() -> None:
    auth = f"{{api_key: {{keys: {{a: {KEY}, b: '${{env:B}}', c: {{sha256: {'c' * 64}}}}}}}}}"
    assert warnings(text_of(auth), B="0123456789abcdef0") == [("PXD-113", "policies.p.auth.api_key.keys.a.key")]


def test_keys_in_urls_are_warned_of() -> None:
    auth = f"{{api_key: {{query: key, keys: {{c: {{sha256: {'c' * 64}}}}}}}}}"
    assert warnings(text_of(auth)) == [("PXD-118", "policies.p.auth.api_key.query")]


def test_a_service_is_asked_about_everybody() -> None:
    assert warnings(text_of("{forward: 'http://a/', optional: true}")) == [("PXD-106", "policies.p.auth.optional")]
    assert warnings(text_of("{forward: 'http://a/'}")) == []


def test_plans_that_nobody_has_and_quotas_that_are_not_kept() -> None:
    auth = f"{{api_key: {{keys: {{a: {{sha256: {DIGEST}, plan: gold}}}}}}}}"
    assert warnings(text_of(auth, "plans: {gold: {quota: 1/day}, tin: {rate: 1/s}}\n")) == [
        ("PXD-116", "plans.gold.quota"), ("PXD-106", "plans.tin")
    ]
    assert warnings(text_of(auth, "plans: {gold: {quota: 1/day}}\nusage: /var/lib/u\n")) == []
    assert warnings(text_of(auth, "plans: {gold: {rate: 1/s}}\nusage: /var/lib/u\n")) == [("PXD-106", "usage")]


# ------------------------------------------------------------------ the hash that tells configs apart
def test_a_changed_file_is_another_config(tmp_path: Path) -> None:
    text = text_of("{api_key: keys.yaml}")
    (tmp_path / "keys.yaml").write_text(f"a: {KEY}\n")
    before = config_hash(config_in(tmp_path, text))
    assert config_hash(config_in(tmp_path, text)) == before
    (tmp_path / "keys.yaml").write_text(f"a: {KEY}x\n")
    assert config_hash(config_in(tmp_path, text)) != before
