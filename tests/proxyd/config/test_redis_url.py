from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config import load_text
from proxyd.config.address import Address
from proxyd.config.redis_url import RedisUrl
from proxyd.diagnostics import render_all
from proxyd.diagnostics.nodes import SecretText


@pytest.mark.parametrize(
    ("text", "expected", "url"),
    [
        ("redis://a", RedisUrl(Address("a", 6379)), "redis://a:6379/0"),
        ("redis://a/", RedisUrl(Address("a", 6379)), "redis://a:6379/0"),
        ("redis://10.0.0.1:1/15", RedisUrl(Address("10.0.0.1", 1), 15), "redis://10.0.0.1:1/15"),
        ("rediss://[::1]", RedisUrl(Address("::1", 6379), tls=True), "rediss://[::1]:6379/0"),
        ("redis://me@a", RedisUrl(Address("a", 6379), user="me"), "redis://me@a:6379/0"),
        ("redis://:p%40%3a@a:1", RedisUrl(Address("a", 1), password="p@:"), "redis://:p%40%3A@a:1/0"),
        ("redis://me:p:q@a:1", RedisUrl(Address("a", 1), user="me", password="p:q"), "redis://me:p%3Aq@a:1/0"),
        ("unix:/run/r.sock", RedisUrl(Address(path="/run/r.sock")), "unix:///run/r.sock?db=0"),
        ("unix://:p@/run/r.sock?db=3", RedisUrl(Address(path="/run/r.sock"), 3, password="p"), "unix://:p@/run/r.sock?db=3"),
    ],
)
def test_its_forms(text: str, expected: RedisUrl, url: str) -> None:
    found = RedisUrl.parse(text)
    assert (found, found.url) == (expected, url)
    assert RedisUrl.parse(found.url) == found


def test_it_never_prints_the_password() -> None:
    plain, outside = RedisUrl.parse("redis://me:hunter2@a"), RedisUrl.parse(SecretText("redis://me:hunter2@a"))
    assert (str(plain), repr(plain)) == ("redis://me:***@a:6379/0", "RedisUrl('redis://me:***@a:6379/0')")
    assert str(outside) == "***"
    assert plain == outside


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("http://me:hunter2@a", "PXD-035"),
        ("me:hunter2@a", "PXD-035"),
        ("redis://me:hunter2@", "PXD-035"),
        ("redis://me:hun/ter2@a", "PXD-035"),
        ("redis://me:hunter2@a/x", "PXD-035"),
        ("redis://me:hunter2@a?db=1", "PXD-035"),
        ("redis://me:hunter2@a:99999", "PXD-035"),
        ("redis://me:hunter2@a:/1", "PXD-035"),
        ("redis://me:hunter2@::1", "PXD-035"),
        ("redis://me:hunter2@a/99999", "PXD-033"),
        ("unix://me:hunter2@run/r.sock", "PXD-035"),
        ("5", "PXD-035"),
    ],
)
def test_mistakes_are_told_without_it(text: str, code: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        RedisUrl.parse(text)
    assert caught.value.type == code
    found = load_text(f"listen: ':1'\ncache: {{shared: {{redis: '{text}'}}}}\n", env={}).diagnostics
    said = [f"{item.message} {item.help}" for item in found]
    assert code in {item.code for item in found}, render_all(found)
    assert not any("hunter" in line or "ter2" in line for line in said)
