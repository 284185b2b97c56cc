from __future__ import annotations

import pytest

from proxyd.config.target import client_part, field_part, flow_parts, port_part, protocol_part, query_part, request_parts, without_port


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


@pytest.mark.parametrize(("url", "parts"), [
    ("tcp://:5432", ("tcp", "", 5432, "")),
    ("TCP://127.0.0.1:5432/", ("tcp", "127.0.0.1", 5432, "")),
    ("tcp://localhost:5432", ("tcp", "127.0.0.1", 5432, "")),
    ("tcp://[::0:1]:5432", ("tcp", "::1", 5432, "")),
    ("tcp://", ("tcp", "", 0, "")),
    ("tcp://unix:/run/a.sock", ("tcp", "", 0, "/run/a.sock")),
    ("udp://:53", ("udp", "", 53, "")),
    ("tls://a.example:8443", ("tls", "a.example", 8443, "")),
    ("tls://a.example", ("tls", "a.example", 0, "")),
    ("tls://:8443", ("tls", "", 8443, "")),
    ("tls://192.0.2.1:8443", ("tls", "", 8443, "")),
    ("tls://[2001:db8::1]:8443", ("tls", "", 8443, "")),
    ("http://a.example/", None),
    ("/a", None),
    ("a.example:80", None),
])
def test_flows(url: str, parts: tuple[str, str, int, str] | None) -> None:
    assert flow_parts(url) == parts


@pytest.mark.parametrize(("url", "words"), [
    ("tcp://5432", "`5432` is not an address of this machine; write tcp://:PORT"),
    ("tcp://pg.internal:5432", "write tcp://:5432"),
    ("tcp://:65536", "names no listener; write tcp://:PORT"),
    ("tls://a/b:1", "write tls://NAME:PORT"),
    ("udp://::1:53", "names no listener"),
    ("tcp://[x]:1", "not an address"),
])
def test_what_is_no_flow(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        flow_parts(url)


def test_the_name_of_a_protocol() -> None:
    assert protocol_part("http/1.1") == "http/1.1"
    for bad in ("", "h 2", "\n", "h" * 256):
        with pytest.raises(ValueError, match="not the name of a protocol"):
            protocol_part(bad)
