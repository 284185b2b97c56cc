"""The head parser: tables of what is read and what is refused. Its properties stand in test_head_properties.py."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.http1.head import parse_authority, parse_request, parse_response
from tests.reference import http1 as oracle

CODE = {word: int(row["code"]) for word, row in faults().items()}
BEHIND = (b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n", b"\r\n\r\n", b"\0\xff\r", b" folded: no\r\n")
FIELD_IDS = [
    "other", "host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length",
    "expect", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "user-agent", "referer", "cookie",
    "authorization", "accept", "date", "server", "content-type", "traceparent", "proxy-authenticate", "proxy-authorization",
    "proxy-status", "set-cookie", "cache-control", "vary", "etag", "forwarded", "x-real-ip", "retry-after", "sec-websocket-key",
    "age", "expires", "pragma", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range",
    "last-modified", "content-range", "content-encoding", "accept-encoding", "location", "content-location", "cdn-cache-control",
    "surrogate-key", "cache-tag", "cache-status", "warning",
]


def every_way(parse: Any, data: bytes, **limits: int) -> Any:
    """Parse whole, split at every byte, byte by byte, and with bytes behind; all must give the same."""
    whole = parse(data, **limits)
    for cut in range(len(data) + 1):
        assert parse(data, cuts=[cut], **limits) == whole, f"cut at {cut}"
    assert parse(data, cuts=range(1, len(data)), **limits) == whole, "byte by byte"
    if whole != 0:
        for tail in BEHIND:
            assert parse(data + tail, **limits) == whole, f"with {tail!r} behind"
            assert parse(data + tail, cuts=range(1, len(data)), **limits) == whole
    return whole


def request(data: bytes) -> dict[str, Any]:
    """A request head that must be accepted; every proper prefix must be incomplete."""
    head = every_way(parse_request, data)
    assert isinstance(head, dict), f"refused with {head}"
    assert [parse_request(data[:n]) for n in range(head["size"])] == [0] * head["size"]
    return head


def response(data: bytes) -> dict[str, Any]:
    head = every_way(parse_response, data)
    assert isinstance(head, dict), f"refused with {head}"
    assert [parse_response(data[:n]) for n in range(head["size"])] == [0] * head["size"]
    return head


def get(*lines: bytes) -> bytes:
    """A GET with Host and these lines."""
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes) -> bytes:
    return b"POST" + get(*lines)[3:]


def ok(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return start + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


# ---- requests that are read


def test_a_plain_request() -> None:
    head = request(b"GET /a/b?x=1&y HTTP/1.1\r\nHost: example.org:8080\r\nAccept:  */* \t\r\nX-Empty:\r\n\r\n")
    assert (head["method"], head["method_id"], head["target_form"]) == (b"GET", 1, oracle.TARGET_ORIGIN)
    assert (head["path"], head["query"], head["host"]) == (b"/a/b", b"x=1&y", b"example.org:8080")
    assert (head["minor"], head["body"], head["content_length"], head["flags"]) == (1, oracle.BODY_NONE, None, oracle.KEEP_ALIVE)
    assert head["fields"] == [
        (b"Host", b"example.org:8080", 1, False), (b"Accept", b"*/*", 20, False), (b"X-Empty", b"", 0, False),
    ]


@pytest.mark.parametrize(
    ("line", "form", "path", "query", "host"),
    [
        (b"GET / HTTP/1.1", 0, b"/", None, b"a"),
        (b"GET /? HTTP/1.1", 0, b"/", b"", b"a"),
        (b"GET /a?b?c HTTP/1.1", 0, b"/a", b"b?c", b"a"),
        (b"GET //x//y HTTP/1.1", 0, b"//x//y", None, b"a"),
        (b'GET /"<>[\\]^`{|}~%zz HTTP/1.1', 0, b'/"<>[\\]^`{|}~%zz', None, b"a"),
        (b"GET /http://b/ HTTP/1.1", 0, b"/http://b/", None, b"a"),
        (b"get /lower HTTP/1.1", 0, b"/lower", None, b"a"),
        (b"GET http://b/x?y HTTP/1.1", 1, b"/x", b"y", b"b"),
        (b"GET HTTPS://b:8443/ HTTP/1.1", 1, b"/", None, b"b:8443"),
        (b"GET http://b HTTP/1.1", 1, b"/", None, b"b"),
        (b"GET http://b?y HTTP/1.1", 1, b"/", b"y", b"b"),
        (b"GET http://[2001:db8::1]:80/ HTTP/1.1", 1, b"/", None, b"[2001:db8::1]:80"),
        (b"OPTIONS * HTTP/1.1", 3, b"*", None, b"a"),
        (b"OPTIONS http://b:1 HTTP/1.1", 3, b"*", None, b"b:1"),
        (b"OPTIONS http://b/ HTTP/1.1", 1, b"/", None, b"b"),
        (b"OPTIONS http://b?q HTTP/1.1", 1, b"/", b"q", b"b"),
        (b"CONNECT b:443 HTTP/1.1", 2, None, None, b"b:443"),
        (b"TRACE /x HTTP/1.1", 0, b"/x", None, b"a"),
        (b"\r\n\r\n\r\n\r\nGET / HTTP/1.1", 0, b"/", None, b"a"),
    ],
)
def test_targets(line: bytes, form: int, path: bytes | None, query: bytes | None, host: bytes) -> None:
    head = request(line + b"\r\nHost: a\r\n\r\n")
    assert (head["target_form"], head["path"], head["query"], head["host"]) == (form, path, query, host)


@pytest.mark.parametrize(
    ("method", "number"),
    [(b"GET", 1), (b"HEAD", 2), (b"POST", 3), (b"PUT", 4), (b"DELETE", 5), (b"OPTIONS", 6), (b"PATCH", 7), (b"TRACE", 8), (b"CONNECT", 9),
     (b"PURGE", 0), (b"get", 0), (b"G", 0), (b"GETT", 0), (b"M-SEARCH", 0), (b"!#$%&'*+-.^_`|~", 0)],
)
def test_methods(method: bytes, number: int) -> None:
    target = b"a:1" if method == b"CONNECT" else b"/"
    head = request(method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head["method"], head["method_id"]) == (method, number)


@pytest.mark.parametrize("name", FIELD_IDS)
def test_field_names(name: str) -> None:
    number = FIELD_IDS.index(name)
    values = {"content-length": b"7", "transfer-encoding": b"chunked", "expect": b"100-continue"}
    for spelling in (name.encode(), name.upper().encode(), name.title().encode()):
        value = values.get(name, b"a")
        lines = [spelling + b": " + value] if name == "host" else [b"Host: a", spelling + b": " + value]
        head = request(b"POST / HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")
        hop = name.encode() in oracle.HOP_BY_HOP
        assert head["fields"][-1] == (spelling, value, number, hop)
    if name != "other":
        for near in (name[:-1].encode() + b"_", name.replace("-", "_").encode() + b"x", b"x" + name[1:].encode() + b"y"):
            assert request(get(near + b": a"))["fields"][-1][2] == 0, near


@pytest.mark.parametrize(
    ("lines", "body", "length"),
    [
        ([], 0, None),
        ([b"Content-Length: 0"], 1, 0),
        ([b"Content-Length: 0042"], 1, 42),
        ([b"Content-Length:\t9223372036854775807 "], 1, 2**63 - 1),
        ([b"Transfer-Encoding: chunked"], 2, None),
        ([b"transfer-encoding:CHUNKED\t"], 2, None),
    ],
)
def test_framing(lines: list[bytes], body: int, length: int | None) -> None:
    head = request(post(*lines))
    assert (head["body"], head["content_length"]) == (body, length)


ALIVE, CLOSE, WEBSOCKET, CONTINUE, NAMES, OTHER, TRAILERS = (
    oracle.KEEP_ALIVE, oracle.CONNECTION_CLOSE, oracle.UPGRADE_WEBSOCKET, oracle.EXPECT_CONTINUE, oracle.CONNECTION_NAMES,
    oracle.UPGRADE_OTHER, oracle.TRAILERS_ANNOUNCED,
)


@pytest.mark.parametrize(
    ("version", "lines", "flags"),
    [
        (b"1.1", [], ALIVE),
        (b"1.0", [], 0),
        (b"1.0", [b"Connection: Keep-Alive"], ALIVE),
        (b"1.0", [b"Proxy-Connection: keep-alive"], 0),
        (b"1.1", [b"Connection: close"], CLOSE),
        (b"1.1", [b"Connection: keep-alive, CLOSE"], CLOSE),
        (b"1.1", [b"Connection: keep-alive", b"Connection: x, ,close,"], CLOSE | NAMES),
        (b"1.1", [b"Connection: closed"], ALIVE | NAMES),
        (b"1.1", [b"Connection: TE", b"TE: trailers"], ALIVE),
        (b"1.1", [b"Connection:"], ALIVE),
        (b"1.1", [b"Connection: Upgrade", b"Upgrade: WebSocket"], ALIVE | WEBSOCKET),
        (b"1.1", [b"Connection: keep-alive, upgrade", b"Upgrade: websocket", b"Content-Length: 0"], ALIVE | WEBSOCKET),
        (b"1.1", [b"Connection: keep-alive, upgrade", b"Upgrade: websocket", b"Content-Length: 5"], ALIVE | OTHER),
        (b"1.1", [b"Connection: upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"], ALIVE | OTHER),
        (b"1.1", [b"Upgrade: websocket"], ALIVE | OTHER),
        (b"1.0", [b"Connection: upgrade", b"Upgrade: websocket"], OTHER),
        (b"1.1", [b"Connection: upgrade, http2-settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"], ALIVE | OTHER | NAMES),
        (b"1.1", [b"Connection: upgrade", b"Upgrade: websocket, h2c"], ALIVE | OTHER),
        (b"1.1", [b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: websocket"], ALIVE | OTHER),
        (b"1.1", [b"Expect: 100-Continue"], ALIVE | CONTINUE),
        (b"1.0", [b"Expect: 100-continue"], 0),
        (b"1.0", [b"Expect: miracles"], 0),
        (b"1.1", [b"Trailer: X"], ALIVE | TRAILERS),
    ],
)
def test_connection_flags(version: bytes, lines: list[bytes], flags: int) -> None:
    assert request(get(*lines).replace(b"HTTP/1.1", b"HTTP/" + version, 1))["flags"] == flags


def test_an_upgrade_is_for_get_only() -> None:
    assert request(post(b"Connection: upgrade", b"Upgrade: websocket"))["flags"] == ALIVE | OTHER


def test_fields_named_by_connection_are_hop_by_hop() -> None:
    head = request(get(b"Connection: X-A, host ,content-length, cookie", b"x-a: 1", b"X-B: 2", b"X-A: 3", b"Content-Length: 0",
        b"Cookie: c"))
    assert [name for name, _, _, hop in head["fields"] if hop] == [b"Connection", b"x-a", b"X-A", b"Cookie"]


def test_an_expectation_of_http_10_is_not_forwarded() -> None:
    head = request(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")
    assert head["fields"] == [(b"Expect", b"100-continue", 10, True)]
    assert head["host"] is None


def test_bytes_that_a_value_may_hold() -> None:
    value = bytes(c for c in range(256) if c == 9 or (c >= 0x20 and c != 0x7F)).strip()
    assert request(get(b"X: " + value))["fields"][-1][1] == value


# ---- requests that are refused

MALFORMED_LINES = [
    b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET\t/ HTTP/1.1", b"GET /", b"GET / ", b"GET",
    b"/ HTTP/1.1",
    b"G(T / HTTP/1.1", b"GET: / HTTP/1.1", b"GET / http/1.1", b"GET / HTTP/1", b"GET / HTTP/1.", b"GET / HTTP/11.1", b"GET / HTTP/1.10",
    b"GET / HTTP /1.1", b"GET / HTTP/1,1", b"GET / HTTQ/1.1", b"GET / HTTP/x.1", b"GET / HTTP/1.x", b"GET /a b HTTP/1.1",
    b"GET /#f HTTP/1.1",
    b"GET /\x7f HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1", b"GET /\0 HTTP/1.1", b"GET /\t HTTP/1.1", b"GET x HTTP/1.1", b"GET a/b HTTP/1.1",
    b"GET ?q HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS ** HTTP/1.1", b"GET ftp://a/ HTTP/1.1", b"GET http:/a/ HTTP/1.1",
    b"GET http:a HTTP/1.1",
    b"GET httpx://a/ HTTP/1.1", b"GET ws://a/ HTTP/1.1", b"CONNECT / HTTP/1.1", b"CONNECT a HTTP/1.1", b"CONNECT a: HTTP/1.1",
    b"CONNECT a:0 HTTP/1.1", b"CONNECT http://a:1/ HTTP/1.1", b"CONNECT u@a:1 HTTP/1.1", b"GET / HTTP/1.1\r", b"GET /\r HTTP/1.1",
    b"GET / HTTP/1.1\rHost: x", b"GET / HTTP/1.1\nHost: x", b"\nGET / HTTP/1.1", b"\r\rGET / HTTP/1.1", b"\r\n" * 5 + b"GET / HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-x", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2",
]
MALFORMED_FIELDS = [
    b"X : a", b"X\t: a", b" X: a", b"\tX: a", b"X", b"X a", b": a", b"", b"X(: a", b"X\x80: a", b"X\0: a", b"X: a\0", b"X: \x01",
    b"X: a\x7fb", b"X: a\x1b",
    b"X: a\rb", b"X: a\nb", b"X: a\r", b"X: a\n", b"X: a\n Y: b", b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\r\n :b", b"X: a\x0b",
    b"Transfer-Encoding: \x0bchunked",
    b"Content-Length: 5\r\n6", b"Transfer-Encoding\x00: chunked", b"Transfer-Encoding : chunked", b"Content-Length\x20: 5", b"\x00X: a",
    b"X: a\r\r\nTransfer-Encoding: chunked", b"Connection: a b", b'Connection: "x"', b"Connection: close; x", b"Connection: a=b",
    b"Connection: \xff",
]
BAD_HOSTS = [
    b"", b" ", b"a b", b"a,b", b"a/b", b"a@b", b"u:p@b", b"a?b", b"a#b", b"a\\b", b"http://a", b"a:b", b"a:1:2", b"a:-1", b"a:65536",
    b"a:99999999999", b"a:0", b":80", b".",
    b"[::1", b"::1", b"[::1]x", b"[::1]:x", b"[]", b"[g::1]", b"[1::2::3]", b"[fe80::1%25eth0]", b"[v1.x]", b"[127.0.0.1]", b"a%2eb",
    b"\xc3\xa9", b'a"', b"<a>", b"a|b", b"a\tb",
]
AMBIGUOUS = [
    [b"Content-Length: 5", b"Transfer-Encoding: chunked"], [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
    [b"Content-Length: 0", b"Transfer-Encoding: identity"], [b"Content-Length: 5", b"Content-Length: 6"],
    [b"Content-Length: 5", b"Content-Length: 5"],
    [b"Content-Length: 5, 5"], [b"Content-Length: 5,6"], [b"Content-Length: 5,"], [b"Content-Length:"], [b"Content-Length: "],
    [b"Content-Length: +5"],
    [b"Content-Length: -5"], [b"Content-Length: 0x5"], [b"Content-Length: 5 5"], [b"Content-Length: 5\t5"], [b"Content-Length: 5.0"],
    [b"Content-Length: 1e3"],
    [b'Content-Length: "5"'], [b"Content-Length: 5;"], [b"Content-Length: 5a"], [b"Content-Length: \xb2"],
    [b"Content-Length: 9223372036854775808"],
    [b"Content-Length: 18446744073709551616"], [b"Content-Length: 18446744073709551621"], [b"Content-Length: " + b"9" * 400],
    [b"Transfer-Encoding: chunked, gzip"], [b"Transfer-Encoding: chunked, chunked"],
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], [b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"],
    [b"Transfer-Encoding: gzip"],
    [b"Transfer-Encoding: identity"], [b"Transfer-Encoding: xchunked"], [b"Transfer-Encoding: chunkedx"], [b"Transfer-Encoding: chunke"],
    [b"Transfer-Encoding: chunked;q=1"], [b"Transfer-Encoding: ,chunked"], [b"Transfer-Encoding: chunked,"],
    [b"Transfer-Encoding: , chunked"], [b"Transfer-Encoding:"],
    [b"Transfer-Encoding: "], [b'Transfer-Encoding: "chunked"'], [b"Transfer-Encoding: 'chunked'"], [b"Transfer-Encoding: chunked x"],
    [b"Transfer-Encoding: x chunked"],
    [b"Transfer-Encoding: \xa0chunked"], [b"Transfer-Encoding: [chunked]"], [b'Transfer-Encoding: gzip;a="b, chunked"'],
    [b"Transfer-Encoding: gzip, chunked, chunked"], [b"Transfer-Encoding: gzip, chunked", b"Content-Length: 5"],
    [b"Transfer-Encoding: chunked;"],
    [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"],
]
REFUSED = (
    [(line + b"\r\nHost: a\r\n\r\n", "request_line_malformed") for line in MALFORMED_LINES]
    + [(get(line), "field_malformed") for line in MALFORMED_FIELDS if line]
    + [(b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: a\r\n\r\n", "field_malformed") for line in MALFORMED_FIELDS if line]
    + [(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", "host_invalid") for host in BAD_HOSTS]
    + [(b"GET http://" + host + b"/ HTTP/1.1\r\nHost: a\r\n\r\n", "host_invalid")
       for host in BAD_HOSTS if not set(b" #/?\xc3\t") & set(host)]
    + [(b"GET http://b/ HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", "host_invalid") for host in BAD_HOSTS]
    + [(post(*lines), "framing_ambiguous") for lines in AMBIGUOUS]
    + [(get(*lines), "framing_ambiguous") for lines in AMBIGUOUS]
    + [
        (b"GET / HTTP/1.1\r\n\r\n", "host_invalid"),
        (b"GET http://b/ HTTP/1.1\r\n\r\n", "host_invalid"),
        (b"CONNECT b:1 HTTP/1.1\r\n\r\n", "host_invalid"),
        (get(b"Host: a"), "host_invalid"),
        (get(b"host: b"), "host_invalid"),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "host_invalid"),
        (b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", "host_invalid"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "framing_ambiguous"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "framing_ambiguous"),
        (post(b"Transfer-Encoding: gzip, chunked"), "transfer_coding_unknown"),
        (post(b"Transfer-Encoding: gzip;q=1 ,\tchunked"), "transfer_coding_unknown"),
        (post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"), "transfer_coding_unknown"),
        (post(b"Transfer-Encoding: identity, chunked"), "transfer_coding_unknown"),
        (post(b"Expect: 101-continue"), "expectation_failed"),
        (post(b"Expect: 100-continue, x"), "expectation_failed"),
        (post(b"Expect:"), "expectation_failed"),
        (post(b"Expect: 100-continue", b"Expect: x"), "expectation_failed"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version_unsupported"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version_unsupported"),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "version_unsupported"),
        (b"GET / HTTP/0.0\r\nHost: a\r\n\r\n", "version_unsupported"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "version_unsupported"),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", "version_unsupported"),
        (get(b"Connection: " + b",".join(b"x%d" % i for i in range(65))), "head_too_large"),
    ]
)


@pytest.mark.parametrize(("data", "word"), REFUSED, ids=[f"{word}-{i}" for i, (_, word) in enumerate(REFUSED)])
def test_refused(data: bytes, word: str) -> None:
    assert every_way(parse_request, data) == -CODE[word], data


@pytest.mark.parametrize("start", [b"\x16\x03\x01", b"GET\x00", b"GET /a\n", b"GET / HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nX : ",
    b"GET / HTTP/1.1\n", b"\n", b"\r\n" * 5])
def test_nonsense_is_refused_before_the_head_ends(start: bytes) -> None:
    at_once: Any = parse_request(start)
    assert at_once < 0
    byte_by_byte: Any = parse_request(start + b"x" * len(start), cuts=range(1, 2 * len(start)))
    assert byte_by_byte < 0   # at the latest when the bytes have doubled


# ---- limits


def test_head_size_is_a_limit_on_complete_and_incomplete_heads() -> None:
    data = get(b"X: " + b"y" * 100)
    assert isinstance(every_way(parse_request, data, head_size=len(data)), dict)
    assert every_way(parse_request, data, head_size=len(data) - 1) == -CODE["head_too_large"]
    assert every_way(parse_request, data[:60], head_size=60) == -CODE["head_too_large"]
    assert parse_request(data[:59], head_size=60) == 0
    assert parse_request(b"A" * 16384) == -CODE["head_too_large"]
    data = ok(b"X: " + b"y" * 100)
    assert isinstance(every_way(parse_response, data, head_size=len(data)), dict)
    assert every_way(parse_response, data, head_size=len(data) - 1) == -CODE["upstream_head_too_large"]


def test_a_fault_behind_the_limit_is_the_limit() -> None:
    data = get(b"X: " + b"y" * 100, b"bad field")
    assert every_way(parse_request, data, head_size=100) == -CODE["head_too_large"]


def test_uri_length() -> None:
    data = b"GET /" + b"a" * 99 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    assert isinstance(every_way(parse_request, data, uri_length=100), dict)
    assert every_way(parse_request, data, uri_length=99) == -CODE["uri_too_long"]
    assert parse_request(b"GET /" + b"a" * 99, uri_length=99) == -CODE["uri_too_long"]
    assert parse_request(b"GET /" + b"a" * 99, uri_length=100) == 0


def test_field_count() -> None:
    data = get(*[b"X: y"] * 9)
    assert len(every_way(parse_request, data, field_count=10)["fields"]) == 10
    assert every_way(parse_request, data, field_count=9) == -CODE["head_too_large"]
    assert every_way(parse_response, ok(*[b"X: y"] * 10), field_count=9) == -CODE["upstream_head_too_large"]
    most: Any = parse_request(get(*[b"X: y"] * 255), field_count=100_000)
    assert len(most["fields"]) == 256
    assert parse_request(get(*[b"X: y"] * 256), field_count=100_000) == -CODE["head_too_large"]


def test_a_name_longer_than_its_size_can_say() -> None:
    for n in (65535, 65536):
        head: Any = parse_request(get(b"x" * n + b": y"), head_size=1 << 20)
        assert (head["fields"][1][0] == b"x" * n) if n == 65535 else head == -CODE["head_too_large"]


@pytest.mark.parametrize("size", range(1, 70))
def test_values_and_targets_of_every_length(size: int) -> None:
    """The scans work on blocks of 16: an end, or a bad byte, is found at every distance from them."""
    head: Any = parse_request(b"GET /" + b"t" * size + b" HTTP/1.1\r\nHost: a\r\nX: " + b"v" * size + b"\r\n\r\n")
    assert head["path"] == b"/" + b"t" * size
    assert head["fields"][1][1] == b"v" * size
    for at in range(size):
        for bad in b"\x00\x1f\x7f\n":
            value = bytearray(b"v" * size)
            value[at] = bad
            assert parse_request(get(b"X: " + value)) == -CODE["field_malformed"]
        for bad in b"\x00 \x7f\x80\xff#\r":
            target = bytearray(b"t" * size)
            target[at] = bad
            assert parse_request(b"GET /" + target + b" HTTP/1.1\r\nHost: a\r\n\r\n") == -CODE["request_line_malformed"]


# ---- authorities


@pytest.mark.parametrize(
    ("authority", "name", "port"),
    [(b"a", b"a", 0), (b"A.b.:80", b"A.b", 80), (b"a:", b"a", 0), (b"a.:", b"a", 0), (b"127.0.0.1:65535", b"127.0.0.1", 65535),
    (b"[::1]", b"::1", 0),
     (b"[2001:DB8::192.0.2.1]:1", b"2001:DB8::192.0.2.1", 1), (b"[::1]:", b"::1", 0), (b"a_b-c.d:00080", b"a_b-c.d", 80)],
)
def test_authorities(authority: bytes, name: bytes, port: int) -> None:
    assert parse_authority(authority) == (name, port)


@pytest.mark.parametrize("authority", [*BAD_HOSTS, b"..", b"a..", b"a..:80"])
def test_bad_authorities(authority: bytes) -> None:
    assert parse_authority(authority) == -CODE["host_invalid"]


@given(st.text("ab.:[]%0169@-_ /", max_size=12).map(str.encode))
def test_authorities_against_the_oracle(authority: bytes) -> None:
    expected = oracle.split_host(authority)
    assert parse_authority(authority) == (-CODE["host_invalid"] if expected is None else expected)


# ---- responses


@pytest.mark.parametrize(
    ("start", "lines", "status", "reason", "body", "length", "flags"),
    [
        (b"HTTP/1.1 200 OK", [], 200, b"OK", 3, None, ALIVE),
        (b"HTTP/1.1 200 ", [], 200, b"", 3, None, ALIVE),
        (b"HTTP/1.1 200", [b"Content-Length: 0"], 200, b"", 1, 0, ALIVE),
        (b"HTTP/1.0 200 OK", [b"Content-Length: 5"], 200, b"OK", 1, 5, 0),
        (b"HTTP/1.0 200 OK", [b"Content-Length: 5", b"Connection: keep-alive"], 200, b"OK", 1, 5, ALIVE),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 5", b"Connection: close"], 200, b"OK", 1, 5, CLOSE),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 5, 5", b"Content-Length: 05"], 200, b"OK", 1, 5, ALIVE),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: Chunked"], 200, b"OK", 2, None, ALIVE),
        (b"HTTP/1.1 999 \xfc \t?", [], 999, b"\xfc \t?", 3, None, ALIVE),
        (b"HTTP/1.1 100 Continue", [], 100, b"Continue", 0, None, ALIVE),
        (b"HTTP/1.1 103 Early Hints", [b"Link: </a>"], 103, b"Early Hints", 0, None, ALIVE),
        (b"HTTP/1.1 204 No Content", [b"Content-Length: 5"], 204, b"No Content", 0, 5, ALIVE),
        (b"HTTP/1.1 304 Not Modified", [b"Content-Length: 5"], 304, b"Not Modified", 0, 5, ALIVE),
        (b"HTTP/1.1 304 Not Modified", [b"Transfer-Encoding: chunked"], 304, b"Not Modified", 0, None, ALIVE),
        (b"HTTP/1.1 101 Switching Protocols", [b"Connection: Upgrade", b"Upgrade: websocket"], 101, b"Switching Protocols", 0, None,
        ALIVE | WEBSOCKET),
        (b"HTTP/1.1 101 Switching Protocols", [b"Connection: Upgrade", b"Upgrade: h2c"], 101, b"Switching Protocols", 0, None,
        ALIVE | OTHER),
        (b"HTTP/1.1 101 Switching Protocols", [b"Upgrade: websocket"], 101, b"Switching Protocols", 0, None, ALIVE | OTHER),
        (b"HTTP/1.1 426 Upgrade Required", [b"Connection: Upgrade", b"Upgrade: websocket"], 426, b"Upgrade Required", 3, None,
        ALIVE | OTHER),
        (b"HTTP/1.1 200 OK", [b"Connection: a b, close, \"x\""], 200, b"OK", 3, None, CLOSE),
        (b"HTTP/1.1 200 OK", [b"Connection: X-A", b"X-A: 1", b"Trailer: T"], 200, b"OK", 3, None, ALIVE | NAMES | TRAILERS),
    ],
)
def test_responses(start: bytes, lines: list[bytes], status: int, reason: bytes, body: int, length: int | None, flags: int) -> None:
    head = response(ok(*lines, start=start))
    assert (head["status"], head["reason"], head["body"], head["content_length"], head["flags"]) == (status, reason, body, length, flags)


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        (b"A : b\r\n", b"A:  b\r\n", [(b"A", b"b")]),
        (b"A \t :b\r\n", b"A:   b\r\n", [(b"A", b"b")]),
        (b"A: b\r\n c\r\n", b"A: b   c\r\n", [(b"A", b"b   c")]),
        (b"A: b\r\n\t c\r\n \r\n\td\r\nB: e\r\n", b"A: b    c      d\r\nB: e\r\n", [(b"A", b"b    c      d"), (b"B", b"e")]),
        (b"A:\r\n b\r\n", b"A:   b\r\n", [(b"A", b"b")]),
        (b"A: \r\n \r\n", b"A:    \r\n", [(b"A", b"")]),
        (b"A\t:\r\n\tb: c\r\n", b"A:    b: c\r\n", [(b"A", b"b: c")]),
    ],
)
def test_repairs(before: bytes, after: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    head = response(b"HTTP/1.1 200 OK\r\n" + before + b"\r\n")
    assert head["head"] == b"HTTP/1.1 200 OK\r\n" + after + b"\r\n"
    assert [field[:2] for field in head["fields"]] == fields


def test_framing_that_a_repair_brings_to_light() -> None:
    assert response(ok(b"Content-Length : 5"))["content_length"] == 5
    assert response(ok(b"Content-Length:\r\n 5"))["content_length"] == 5
    assert every_way(parse_response, ok(b"Content-Length: 5\r\n 6")) == -CODE["upstream_framing"]
    assert every_way(parse_response, ok(b"Content-Length : 5", b"Transfer-Encoding : chunked")) == -CODE["upstream_framing"]
    assert every_way(parse_response, ok(b"Transfer-Encoding:\r\n chunked\r\n ,gzip")) == -CODE["upstream_framing"]


BAD_STATUS_LINES = [
    b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20", b"HTTP/1.1 2000 OK", b"HTTP/1.1 200OK", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK",
    b"HTTP/1.1 099 OK", b"HTTP/1.1 2x0 OK",
    b"HTTP/1.1 -20 OK", b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK", b"HTTP/0.9 200 OK", b"ICY 200 OK", b"http/1.1 200 OK",
    b" HTTP/1.1 200 OK", b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200 O\rK",
    b"HTTP/1.1 200 OK\n", b"\r\nHTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n folded", b"HTTP/1.1 200\tOK", b"hello",
]
BAD_RESPONSE_FIELDS = [b"X", b": a", b"X y: a", b" X: a", b"X: a\0", b"X: a\nb", b"X: a\rb", b"X: a\r\n b\0", b"X: a\r\n b\rc", b"X(: a",
    b"X : \x01", b"X\r: a", b"X \r\n: a"]
BAD_RESPONSE_FRAMING = [
    [b"Content-Length: 5", b"Transfer-Encoding: chunked"], [b"Content-Length: 5", b"Content-Length: 6"], [b"Content-Length: 5, 6"],
    [b"Content-Length: x"], [b"Content-Length:"],
    [b"Content-Length: 5,"], [b"Content-Length: -1"], [b"Content-Length: 9223372036854775808"], [b"Transfer-Encoding: gzip"],
    [b"Transfer-Encoding: gzip, chunked"],
    [b"Transfer-Encoding: chunked, gzip"], [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], [b"Transfer-Encoding:"],
    [b"Transfer-Encoding: identity"],
    [b"Content-Length: 5", b"Content-Length: x"],
]
RESPONSE_REFUSED = (
    [(ok(start=line), "upstream_head_malformed") for line in BAD_STATUS_LINES]
    + [(ok(line, b"B: b"), "upstream_head_malformed") for line in BAD_RESPONSE_FIELDS]
    + [(ok(*lines), "upstream_framing") for lines in BAD_RESPONSE_FRAMING]
    + [(ok(*lines, start=b"HTTP/1.1 304 Not Modified"), "upstream_framing") for lines in BAD_RESPONSE_FRAMING]
    + [(ok(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK"), "upstream_framing"),
       (ok(b"Connection: " + b",".join(b"x%d" % i for i in range(65))), "upstream_head_too_large")]
)


@pytest.mark.parametrize(("data", "word"), RESPONSE_REFUSED, ids=[f"{word}-{i}" for i, (_, word) in enumerate(RESPONSE_REFUSED)])
def test_responses_refused(data: bytes, word: str) -> None:
    assert every_way(parse_response, data) == -CODE[word], data
