from __future__ import annotations

import pytest

from proxyd.admin.target import client_part, field_part, port_part, query_part, request_parts, without_port


@pytest.mark.parametrize(("url", "host", "expected"), [
    ("/a/b?x=1", "", ("GET", "", "/a/b")),
    ("/a", "Shop.example:8080", ("GET", "shop.example", "/a")),
    ("http://shop.example:8080/a?b#c", "", ("GET", "shop.example", "/a")),
    ("https://user:pw@shop.example", "", ("GET", "shop.example", "/")),
    ("shop.example/a", "", ("GET", "shop.example", "/a")),
    ("http://shop.example/a", "other.example", ("GET", "other.example", "/a")),
    ("http://[::1]:80/%2e/", "", ("GET", "[::1]", "/%2e/")),
    ("/a#b", "", ("GET", "", "/a")),
])
def test_parts(url: str, host: str, expected: tuple[str, str, str]) -> None:
    assert request_parts("get", url, host) == expected


@pytest.mark.parametrize(("method", "url", "words"), [
    ("G T", "/", "not a method"),
    ("", "/", "not a method"),
    ("GET", "ftp://x/", "not an http URL"),
    ("GET", "http://[::1/", "Invalid IPv6"),
])
def test_what_is_no_request(method: str, url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        request_parts(method, url)


def test_a_bare_ipv6_address_keeps_its_end() -> None:
    assert without_port("::1") == "::1"
    assert without_port("[::1]") == "[::1]"
    assert without_port("[::1]:80") == "[::1]"


def test_a_client_is_an_address() -> None:
    assert [client_part(text) for text in ("", "10.0.0.1", "2001:DB8::0:1")] == ["", "10.0.0.1", "2001:db8::1"]
    with pytest.raises(ValueError, match=r"`10\.0\.0\.0/8` is not an IP address"):
        client_part("10.0.0.0/8")


def test_a_query_and_a_field() -> None:
    assert [query_part(url) for url in ("/a", "/a?b=c#d", "http://x/?a?b", "/a#b?c")] == ["", "b=c", "a?b", ""]
    assert field_part("X-A", " b ") == ("X-A", "b")
    for name, value in (("", "b"), ("a b", "c"), ("a", "b\r\nc: d"), ("a", "b\0")):
        with pytest.raises(ValueError, match=r"field|line break"):
            field_part(name, value)


@pytest.mark.parametrize(("url", "host", "port"), [
    ("http://a.example/x", "", ""), ("http://a.example:8080/x:1", "", "8080"), ("a.example:81/x", "", "81"), ("[::1]:81/x", "", "81"),
    ("http://[::1]/x", "", ""), ("/x:1", "", ""), ("/x", "b.example:82", "82"), ("http://a.example:8080/x", "b.example", ""),
])
def test_the_port_that_is_named(url: str, host: str, port: str) -> None:
    assert port_part(url, host) == port
