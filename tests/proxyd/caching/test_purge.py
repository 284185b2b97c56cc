from __future__ import annotations

from typing import Any

import pytest

from proxyd.caching.purge import (
    TEXTS_MAX,
    Asked,
    Purge,
    build_orders,
    carry_out,
    maybe_asked,
    parse_order,
    parse_request,
    urls_of,
    words_of,
)
from tests.support.store import FakeStore, as_cache


class Tier:
    """A `Spreader` that reaches nobody when it is asked for `lost`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bool]] = []

    async def purge(self, kind: str, text: str, soft: bool) -> tuple[int, bool | None]:
        self.asked.append((kind, text, soft))
        return 2, None if text == "alone" else text != "lost"


# ---------------------------------------------------------------------- URLs
@pytest.mark.parametrize(("text", "urls"), [
    ("http://Example.COM:80/a", ["http://example.com/a"]),
    ("HTTPS://example.com:443", ["https://example.com/"]),
    ("http://example.com:443/a?b=1&B=%2f#c", ["http://example.com:443/a?b=1&B=%2f"]),
    ("example.com/%7Ea/../b", ["http://example.com/b", "https://example.com/b"]),
    ("example.com:80/a", ["http://example.com/a", "https://example.com:80/a"]),
    ("http://[::1]:8080/x?", ["http://[::1]:8080/x?"]),
    ("http://h/a?to=http://b//c", ["http://h/a?to=http://b//c"]),
])
def test_urls_in_the_normal_form_of_the_cache(text: str, urls: list[str]) -> None:
    assert list(urls_of(text)) == urls


@pytest.mark.parametrize("text", ["/a", "ftp://h/a", "http:///a", "http://h/../a", "http://u@h/", "http://h:port/", "http://[::1/"])
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|host|path"):
        list(urls_of(text))


# ---------------------------------------------------------------------- JSON
@pytest.mark.parametrize(("order", "orders"), [
    ({"url": "http://h/a"}, [Purge("url", "http://h/a")]),
    ({"prefix": "https://h/s/", "soft": True}, [Purge("prefix", "https://h/s/", True)]),
    ({"tag": ["a", "b", "a"]}, [Purge("tag", "a"), Purge("tag", "b")]),
    ({"host": "H:8080"}, [Purge("host", "h:8080")]),
    ({"all": True, "soft": False}, [Purge("all")]),
])
def test_an_order_names_one_kind(order: dict[str, Any], orders: list[Purge]) -> None:
    assert list(parse_order(order)) == orders


@pytest.mark.parametrize(("order", "said"), [
    ({}, "give one of url, prefix, tag, host, all"),
    ({"url": "http://h/", "tag": "x"}, "not url and tag"),
    ({"all": False}, "`all` is true"),
    ({"tag": ["x"], "soft": "yes"}, "`soft` is true or false"),
    ({"tags": "x"}, "`tags` is not known"),
    ({"tag": []}, "a text or a list"),
    ({"tag": [1]}, "a text or a list"),
    ({"tag": "a b"}, "blanks"),
    ({"tag": ""}, "empty"),
    ({"tag": "a\ud800"}, r"`a\?` is not a tag"),
    ({"host": "h/a"}, "is not a host"),
    ({"tag": ["x"] * (TEXTS_MAX + 1)}, f"up to {TEXTS_MAX}"),
])
def test_a_wrong_order_is_told(order: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_order(order)


# ---------------------------------------------------------------------- PURGE
@pytest.mark.parametrize(("payload", "orders"), [
    (b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/a?b=1", [Purge("url", "http://h/a?b=1")]),
    (b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/static/*\nsoft-purge: 1", [Purge("prefix", "http://h/static/", True)]),
    (b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/a\nFastly-Soft-Purge: 1", [Purge("url", "http://h/a", True)]),
    (b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/a\nSoft-Purge: 0", [Purge("url", "http://h/a")]),
    (b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/a\nSurrogate-Key: a  b\nCache-Tag: c,d, a", [Purge("tag", tag) for tag in "abcd"]),
    (b"PURGE\n10.0.0.9 10.0.0.1\n/a\nHost: H.example", [Purge("url", "http://h.example/a"), Purge("url", "https://h.example/a")]),
])
def test_a_purge_request(payload: bytes, orders: list[Purge]) -> None:
    assert list(parse_request(payload)) == orders


def test_who_asked_and_for_what() -> None:
    payload = b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/a?token=1\nHost: h"
    assert maybe_asked(payload, parse_request(payload)) == Asked("10.0.0.9", "10.0.0.1", "url http://h/a", ("url",))
    assert maybe_asked(b"PURGE\n10.0.0.9 10.0.0.1\nnot a url?x", ()) == Asked("10.0.0.9", "10.0.0.1", "not a url", ())
    assert maybe_asked(b"PURGE", ()) == Asked("", "", "", ())
    assert maybe_asked(b"DELETE\naside:k", parse_request(b"DELETE\naside:k")) is None
    assert words_of(build_orders("tag", list("abcdefg"))) == "tag a, tag b, tag c, tag d, tag e and 2 more"


@pytest.mark.parametrize("payload", [b"", b"PURGE", b"PURGE\n", b"PURGE\n10.0.0.9 10.0.0.1\n/a"])
def test_a_purge_request_without_a_url(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"URL|host"):
        parse_request(payload)


# ---------------------------------------------------------------------- carrying out
async def test_every_order_reaches_the_store() -> None:
    store = FakeStore()
    assert await carry_out(as_cache(store), build_orders("tag", ["a", "b"], soft=True), None) == (6, None)
    assert store.purges == [("tag", "a", True), ("tag", "b", True)]
    assert await carry_out(None, build_orders("tag", ["a"]), None) == (0, None)


async def test_with_a_shared_tier_it_is_the_tier_that_purges_memory() -> None:
    store, tier = FakeStore(), Tier()
    assert await carry_out(as_cache(store), build_orders("tag", ["a", "b"]), tier) == (4, True)
    assert await carry_out(as_cache(store), build_orders("tag", ["a", "lost"]), tier) == (4, False)
    assert tier.asked[:2] == [("tag", "a", False), ("tag", "b", False)]
    assert await carry_out(as_cache(store), build_orders("tag", ["alone"]), tier) == (2, None)
    assert store.purges == []
