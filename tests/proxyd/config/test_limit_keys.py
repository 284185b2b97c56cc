from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.limit_keys import MAX_PARTS, WORDS, check_limit_key, check_limit_word, identity_words, split_limit_key
from proxyd.config.rate_limit import RateLimit
from proxyd.snapshot.build_limits import limit_key
from proxyd_ext.filter.key import hash_key
from tests.support.config import config_of, first_finding


def key(text: str) -> tuple[str, ...]:
    found = config_of(f"{{listen: ':1', to: 'a:1', policies: {{p: {{rate_limit: {{rate: 1/s, key: {text}}}}}}}}}").policies["p"].rate_limit
    assert isinstance(found, RateLimit)
    return found.key


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("client.ip", ("client.ip", "")),
        ("host", ("host", "")),
        ("path", ("path", "")),
        ("method", ("method", "")),
        ("header:X-Tenant", ("header", "x-tenant")),
        ("cookie:Sid", ("cookie", "Sid")),
        ("query:Q", ("query", "Q")),
        ("user", ("user", "")),
        ("api_key", ("user", "")),
        ("jwt.sub", ("claim", "sub")),
        ("jwt.https://example.com/tenant", ("claim", "https://example.com/tenant")),
        ("route", ("route", "")),
        ("listener", ("listener", "")),
    ],
)
def test_words(word: str, expected: tuple[str, str]) -> None:
    assert check_limit_word(word) == word
    assert split_limit_key(word) == expected


def test_every_word_can_be_split() -> None:
    assert [split_limit_key(word)[1] for word in WORDS] == [""] * len(WORDS)
    with pytest.raises(ValueError, match="uri"):
        split_limit_key("uri")


def test_one_word_is_a_list_of_one() -> None:
    assert key("host") == ("host",)
    assert key("[client.ip, 'query:a']") == ("client.ip", "query:a")


def test_a_key_is_the_user_whatever_it_is_called() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_limit_key(("user", "client.ip", "api_key"))
    assert (caught.value.type, caught.value.message()) == ("PXD-025", "`api_key` is in the key already, as `user`")


def test_identity() -> None:
    assert identity_words(["client.ip", "api_key", "jwt.sub", "header:jwt.sub"]) == ("api_key", "jwt.sub")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("ip", "client.ip"),
        ("clientip", "client.ip"),
        ("$binary_remote_addr", "client.ip"),
        ("${http_x_tenant_id}", "header:X-Tenant-Id"),
        ("$cookie_sid", "cookie:sid"),
        ("$arg_q", "query:q"),
        ("uri", "path"),
        ("heder:X-A", "header:X-A"),
        ("jwt", "jwt.sub"),
        ("jwt:tenant", "jwt.tenant"),
        ("apikey", "api_key"),
        ("Host", "host"),
    ],
)
def test_the_words_of_others_are_understood_well_enough_to_say_ours(word: str, meant: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_limit_word(word)
    assert caught.value.type == "PXD-034"
    assert (caught.value.context or {})["help"].startswith(f"did you mean `{meant}`? write `client.ip`")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("body", ("PXD-034", 55)),
        ("client.cert.san", ("PXD-034", 55)),
        ("'header:a,b'", ("PXD-034", 55)),
        ("'header:a b'", ("PXD-082", 55)),
        ("'cookie:'", ("PXD-038", 55)),
        ("jwt.", ("PXD-034", 55)),
        ("[]", ("PXD-022", 50)),
        ("[client.ip, host, client.ip]", ("PXD-025", 73)),
        ("['header:A', 'header:a']", ("PXD-025", 68)),
        ("[host, path, method, route, listener, user, jwt.a, jwt.b, jwt.c]", ("PXD-033", 55)),
        ("{}", ("PXD-030", 55)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(
        f"policies: {{p: {{rate_limit: {{rate: 1/s, burst: 0, key: {text}}}}}}}\nlisten: :1\nto: 'a:1'\ndefaults: {{use: p}}\n"
    )
    assert found == (expected[0], 1, expected[1])


def test_a_key_has_as_many_parts_as_engines_put_together() -> None:
    """What `check` takes, the engines take, too."""
    words = ("client.ip", "host", "path", "method", "route")
    parts = limit_key(check_limit_key(words[:MAX_PARTS]), 32, 64)
    assert hash_key(parts, ("192.0.2.1", "h", "/", "GET")) > 0
    with pytest.raises(ValueError, match=f"one to {MAX_PARTS} parts"):
        hash_key(limit_key(words, 32, 64), ("192.0.2.1", "h", "/", "GET", "r"))
    with pytest.raises(PydanticCustomError, match=r"the key has 5 parts"):
        check_limit_key(words)
