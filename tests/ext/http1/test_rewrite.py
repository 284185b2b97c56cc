"""Writing heads: what is cut, what is said, that a head comes out as one head, and answers of our own."""
from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.http1.head import parse_request, parse_response
from proxyd_ext.http1.rewrite import decimal, http_date, rewrite_request, rewrite_response, status_line
from tests.reference import http1 as oracle

CODE = {int(row["code"]): word for word, row in faults().items()}
OURS = [
    (b"X-Forwarded-For", b"192.0.2.1"), (b"X-Forwarded-Proto", b"http"), (b"X-Forwarded-Host", b"a"),
    (b"X-Request-ID", b"0123456789abcdef"), (b"Via", b"1.1 proxyd"),
]
DATE = (b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT")
Lines = list[tuple[bytes, bytes]]


def split(head: Any) -> tuple[bytes, Lines]:
    """A head that must be one: (start line, fields)."""
    assert isinstance(head, bytes), f"fault {head}"
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1
    assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n")
    start, *lines = head[:-4].split(b"\r\n")
    matches = [re.fullmatch(rb"([!-9;-~]+):[ \t]*(.*?)[ \t]*", line) for line in lines]
    return start, [(m[1], m[2]) for m in matches if m] if None not in matches else pytest.fail(f"not a field among {lines}")


def forward(*lines: bytes, start: bytes = b"GET /p?q HTTP/1.1", host: bytes = b"a", **edits: Any) -> tuple[bytes, Lines]:
    hosts = [b"Host: " + host] if host else []
    return split(rewrite_request(b"\r\n".join([start, *hosts, *lines, b"", b""]), **edits))


def without(names: Lines, *dropped: bytes) -> Lines:
    return [line for line in names if line[0] not in dropped]


# ---- requests


def test_a_plain_request() -> None:
    head = rewrite_request(b"GET /p?q HTTP/1.1\r\nAccept: */*\r\nHost: a\r\nX-B:  c \r\n\r\nbehind")
    assert head == (
        b"GET /p?q HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX-B:  c \r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"
        b"X-Forwarded-Host: a\r\nX-Request-ID: 0123456789abcdef\r\nVia: 1.1 proxyd\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("start", "edits", "line"),
    [
        (b"GET / HTTP/1.1", {}, b"GET / HTTP/1.1"),
        (b"GET /? HTTP/1.1", {}, b"GET /? HTTP/1.1"),
        (b"GET /a?b HTTP/1.0", {}, b"GET /a?b HTTP/1.1"),
        (b"PURGE http://a/x?y HTTP/1.1", {}, b"PURGE /x?y HTTP/1.1"),
        (b"GET http://a HTTP/1.1", {}, b"GET / HTTP/1.1"),
        (b"OPTIONS * HTTP/1.1", {}, b"OPTIONS * HTTP/1.1"),
        (b"OPTIONS http://a HTTP/1.1", {}, b"OPTIONS * HTTP/1.1"),
        (b"GET /a/../b?c HTTP/1.1", {"path": b"/b", "query": b"d"}, b"GET /b?d HTTP/1.1"),
        (b"GET /a?c HTTP/1.1", {"path": b"/b"}, b"GET /b HTTP/1.1"),
        (b"GET /a HTTP/1.1", {"path": b"/b", "query": b""}, b"GET /b? HTTP/1.1"),
    ],
)
def test_request_lines(start: bytes, edits: dict[str, bytes], line: bytes) -> None:
    assert forward(start=start, **edits) == (line, [(b"Host", b"a"), *(OURS if b"1.0" not in start else [*OURS[:-1], (b"Via",
        b"1.0 proxyd")])])


def test_the_host_is_the_one_that_counts() -> None:
    assert forward(host=b"a:8080")[1][0] == (b"Host", b"a:8080")
    _, lines = forward(start=b"GET http://real:81/ HTTP/1.1", host=b"other")
    assert lines[0] == (b"Host", b"real:81")
    assert (b"X-Forwarded-Host", b"real:81") in lines
    assert b"other" not in b"".join(value for _, value in lines)


def test_the_host_may_be_replaced() -> None:
    _, lines = split(rewrite_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", host=b"origin.internal"))
    assert lines == [(b"Host", b"origin.internal"), *OURS]


def test_http_10_without_a_host() -> None:
    start, lines = split(rewrite_request(b"GET / HTTP/1.0\r\n\r\n"))
    assert (start, lines) == (b"GET / HTTP/1.1", [(b"Host", b""), *without(OURS, b"X-Forwarded-Host", b"Via"), (b"Via", b"1.0 proxyd")])


HOP_BY_HOP = [
    b"Connection: keep-alive", b"Keep-Alive: 5", b"Proxy-Connection: x", b"TE: trailers", b"Upgrade: h2c",
    b"Proxy-Authorization: Basic x", b"Proxy-Authenticate: Basic",
    b"connection: close", b"KEEP-ALIVE: 5",
]


@pytest.mark.parametrize("line", HOP_BY_HOP)
def test_hop_by_hop_fields_are_cut(line: bytes) -> None:
    kept = [b"A: 1", b"B: 2", b"C: 3"]
    expected = [(b"Host", b"a"), (b"A", b"1"), (b"B", b"2"), (b"C", b"3"), *OURS]
    for at in range(4):
        assert forward(*kept[:at], line, *kept[at:])[1] == expected
        assert forward(*kept[:at], line, line, *kept[at:])[1] == expected
    assert forward(line)[1] == [(b"Host", b"a"), *OURS]
    assert forward(line, kept[0], line, kept[1], line)[1] == [expected[0], *expected[1:3], *OURS]


def test_fields_named_by_connection_are_cut() -> None:
    _, lines = forward(b"X-A: 1", b"Connection: x-a, x-c", b"X-B: 2", b"X-C: 3", b"Connection: x-d", b"x-a: 4", b"X-D: 5")
    assert lines == [(b"Host", b"a"), (b"X-B", b"2"), *OURS]


def test_connection_cannot_name_away_what_we_write() -> None:
    named = b"host, content-length, transfer-encoding, via, x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-request-id, forwarded"
    for trusted in (False, True):
        _, lines = forward(b"Connection: " + named, b"Content-Length: 3", b"X-Forwarded-For: 9.9.9.9", b"Via: 1.1 x", b"X-Request-ID: y",
            start=b"POST / HTTP/1.1", trusted=trusted)
        assert lines == [(b"Host", b"a"), (b"Content-Length", b"3"), *OURS]


def test_what_end_to_end_fields_stay() -> None:
    lines = [b"Trailer: X", b"Expect: 100-continue", b"Cookie: a=b", b"Cookie: c=d", b"Authorization: x", b"traceparent: 00-1-2-03",
        b"Cache-Control: no-cache", b"X-Empty:", b"Priority: u=1"]
    _, written = forward(*lines)
    assert [name + b": " + value for name,
        value in written[1:len(lines) + 1]] == [b"X-Empty: " if line == b"X-Empty:" else line for line in lines]


def test_an_expectation_of_http_10_is_cut() -> None:
    assert b"Expect" not in dict(forward(b"Expect: 100-continue", start=b"POST / HTTP/1.0")[1])


def test_strangers_are_not_believed() -> None:
    said = [b"X-Forwarded-For: 6.6.6.6", b"x-forwarded-for: 7.7.7.7", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: evil",
        b"X-Request-ID: evil", b"Forwarded: for=6.6.6.6", b"X-Real-IP: 6.6.6.6"]
    assert forward(*said)[1] == [(b"Host", b"a"), *OURS]


def test_trusted_peers_are_believed() -> None:
    said = [b"X-Forwarded-For: 6.6.6.6 , 8.8.8.8", b"x-forwarded-for: 7.7.7.7", b"X-Forwarded-For:", b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: front", b"X-Request-ID: theirs",
            b"Forwarded: for=6.6.6.6", b"X-Real-IP: 6.6.6.6"]
    assert forward(*said, trusted=True)[1] == [
        (b"Host", b"a"), (b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Host", b"front"), (b"X-Request-ID", b"theirs"),
        (b"Forwarded", b"for=6.6.6.6"), (b"X-Real-IP", b"6.6.6.6"),
        (b"X-Forwarded-For", b"6.6.6.6 , 8.8.8.8, 7.7.7.7, 192.0.2.1"), (b"Via", b"1.1 proxyd"),
    ]
    assert forward(trusted=True)[1] == [(b"Host", b"a"), *OURS]
    assert forward(b"X-Request-ID:", b"X-Forwarded-Proto: ", b"X-Forwarded-Host:", trusted=True)[1] == [(b"Host", b"a"), *OURS]


def test_a_peer_without_an_address() -> None:
    assert forward(b"X-Forwarded-For: 6.6.6.6", client_ip=b"")[1] == [(b"Host", b"a"), *OURS[1:]]
    assert (b"X-Forwarded-For", b"6.6.6.6, 7.7.7.7") in forward(b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 7.7.7.7", client_ip=b"",
        trusted=True)[1]
    assert forward(b"X-Forwarded-For:", client_ip=b"", trusted=True)[1] == [(b"Host", b"a"), *OURS[1:]]


def test_via_is_one_list() -> None:
    assert forward(b"Via: 1.0 x, 1.1 y", b"A: b", b"via: 2 z")[1] == [(b"Host", b"a"), (b"A", b"b"), *OURS[:-1],
        (b"Via", b"1.0 x, 1.1 y, 2 z, 1.1 proxyd")]
    assert forward(via=b"edge-1")[1][-1] == (b"Via", b"1.1 edge-1")


@pytest.mark.parametrize(
    ("line", "edits", "written"),
    [
        (b"Content-Length: 0012", {}, [(b"Content-Length", b"12")]),
        (b"Content-Length: 0", {}, [(b"Content-Length", b"0")]),
        (b"Transfer-Encoding: CHUNKED", {}, [(b"Transfer-Encoding", b"chunked")]),
        (b"Content-Length: 12", {"body": oracle.BODY_CHUNKED}, [(b"Transfer-Encoding", b"chunked")]),
        (b"Transfer-Encoding: chunked", {"body": oracle.BODY_LENGTH, "content_length": 2**63},
        [(b"Content-Length", b"9223372036854775808")]),
        (b"Content-Length: 12", {"body": oracle.BODY_NONE}, []),
        (b"Transfer-Encoding: chunked", {"body": oracle.BODY_NONE}, []),
    ],
)
def test_request_framing_is_ours(line: bytes, edits: dict[str, Any], written: Lines) -> None:
    assert forward(b"A: b", line, start=b"POST / HTTP/1.1", **edits)[1] == [(b"Host", b"a"), (b"A", b"b"), *written, *OURS]


def test_an_upgrade() -> None:
    said = [b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket", b"Sec-WebSocket-Key: k", b"Sec-WebSocket-Version: 13"]
    key = [(b"Sec-WebSocket-Key", b"k"), (b"Sec-WebSocket-Version", b"13")]
    assert forward(*said, upgrade=True)[1] == [(b"Host", b"a"), *key, *OURS, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    assert forward(*said)[1] == [(b"Host", b"a"), *key, *OURS]


def test_extra_lines_come_last() -> None:
    assert forward(extra=b"X-Env: prod\r\nX-Y: z\r\n")[1] == [(b"Host", b"a"), *OURS, (b"X-Env", b"prod"), (b"X-Y", b"z")]


def test_a_request_that_does_not_fit() -> None:
    data = b"POST /p?q HTTP/1.1\r\nHost: a\r\nA: b\r\nVia: 1.1 x\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 5\r\n\r\n"
    edits: dict[str, Any] = {"trusted": True, "upgrade": True, "extra": b"X: y\r\n"}
    whole = rewrite_request(data, **edits)
    assert isinstance(whole, bytes)
    assert rewrite_request(data, cap=len(whole), **edits) == whole
    for cap in range(len(whole)):
        fault = rewrite_request(data, cap=cap, **edits)
        assert fault == -39   # FAULT_HEAD_REWRITE_TOO_LARGE; faults() has only one row for the word that it shares with the limit on heads
    assert isinstance(rewrite_request(data, client_ip=b"", trusted=True, cap=60), int)


# ---- responses


def answer(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", **edits: Any) -> tuple[bytes, Lines]:
    return split(rewrite_response(b"\r\n".join([start, *lines, b"", b""]), **edits))


def test_a_plain_response() -> None:
    head = rewrite_response(b"HTTP/1.1 200 Fine\r\nServer: x\r\nContent-Length: 5\r\nX:  y \r\n\r\nhello")
    assert head == b"HTTP/1.1 200 Fine\r\nServer: x\r\nX:  y \r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "line"),
    [(b"HTTP/1.0 404 Nope", b"HTTP/1.1 404 Nope"), (b"HTTP/1.1 200", b"HTTP/1.1 200 "), (b"HTTP/1.1 200 ", b"HTTP/1.1 200 "),
    (b"HTTP/1.1 999 \xff\t!", b"HTTP/1.1 999 \xff\t!")],
)
def test_status_lines_of_origins(start: bytes, line: bytes) -> None:
    assert answer(b"Content-Length: 0", start=start) == (line, [DATE, (b"Content-Length", b"0")])


def test_a_date_is_added_when_there_is_none() -> None:
    said = b"Mon, 02 Jan 2023 00:00:00 GMT"
    assert answer(b"date: " + said, b"Content-Length: 0")[1] == [(b"date", said), (b"Content-Length", b"0")]
    assert answer(b"Connection: date", b"Date: " + said, b"Content-Length: 0")[1] == [DATE, (b"Content-Length", b"0")]
    assert answer(b"Content-Length: 0", date=b"")[1] == [(b"Content-Length", b"0")]
    assert answer(start=b"HTTP/1.1 103 Early Hints")[1] == []


def test_repeats_and_repairs_are_forwarded() -> None:
    _, lines = answer(b"Set-Cookie: a=b; Path=/", b"X : y", b"Set-Cookie: c=d", b"Z: 1\r\n 2", b"Content-Length: 0")
    assert lines == [(b"Set-Cookie", b"a=b; Path=/"), (b"X", b"y"), (b"Set-Cookie", b"c=d"), (b"Z", b"1   2"), DATE,
        (b"Content-Length", b"0")]


@pytest.mark.parametrize("line", [line for line in HOP_BY_HOP if not line.lower().startswith(b"connection: close")])
def test_hop_by_hop_fields_of_responses_are_cut(line: bytes) -> None:
    for lines in ([line, b"A: 1", b"B: 2"], [b"A: 1", line, line, b"B: 2"], [b"A: 1", b"B: 2", line]):
        assert answer(*lines, b"Content-Length: 0")[1] == [(b"A", b"1"), (b"B", b"2"), DATE, (b"Content-Length", b"0")]
    assert answer(b"X-A: 1", b"Connection: x-a, date", b"B: 2", b"Content-Length: 0")[1] == [(b"B", b"2"), DATE, (b"Content-Length", b"0")]


@pytest.mark.parametrize(
    ("start", "lines", "edits", "written"),
    [
        (b"HTTP/1.1 200 OK", [b"Content-Length: 5, 05"], {}, [DATE, (b"Content-Length", b"5")]),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], {}, [DATE, (b"Transfer-Encoding", b"chunked")]),
        (b"HTTP/1.1 200 OK", [], {"body": oracle.BODY_CHUNKED}, [DATE, (b"Transfer-Encoding", b"chunked")]),
        (b"HTTP/1.1 200 OK", [], {}, [DATE, (b"Connection", b"close")]),   # until the connection closes: then it must
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], {"body": oracle.BODY_CLOSE}, [DATE, (b"Connection", b"close")]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 5"], {"body": oracle.BODY_NONE}, [DATE, (b"Content-Length", b"5")]),   # to a HEAD
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], {"body": oracle.BODY_NONE}, [DATE]),
        (b"HTTP/1.1 304 Not Modified", [b"Content-Length: 5"], {}, [DATE, (b"Content-Length", b"5")]),
        (b"HTTP/1.1 304 Not Modified", [], {}, [DATE]),
        (b"HTTP/1.1 204 No Content", [b"Content-Length: 0"], {}, [DATE]),
        (b"HTTP/1.1 204 No Content", [b"Transfer-Encoding: chunked"], {}, [DATE]),
        (b"HTTP/1.1 100 Continue", [b"Content-Length: 0"], {}, []),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 5"], {"close": True}, [DATE, (b"Content-Length", b"5"), (b"Connection", b"close")]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 5"], {"keep_alive": True},
        [DATE, (b"Content-Length", b"5"), (b"Connection", b"keep-alive")]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 5"], {"keep_alive": True, "close": True},
        [DATE, (b"Content-Length", b"5"), (b"Connection", b"close")]),
        (b"HTTP/1.1 101 Switching Protocols", [b"Connection: upgrade", b"Upgrade: WebSocket"], {"upgrade": True},
        [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 5"], {"extra": b"Age: 1\r\n"}, [DATE, (b"Content-Length", b"5"), (b"Age", b"1")]),
    ],
)
def test_response_framing_and_connection_are_ours(start: bytes, lines: list[bytes], edits: dict[str, Any], written: Lines) -> None:
    assert answer(*lines, start=start, **edits)[1] == written


def test_a_response_that_does_not_fit() -> None:
    data = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nB: c\r\n\r\n"
    whole = rewrite_response(data, close=True, extra=b"X: y\r\n")
    assert isinstance(whole, bytes)
    assert rewrite_response(data, close=True, extra=b"X: y\r\n", cap=len(whole)) == whole
    for cap in range(len(whole)):
        fault = rewrite_response(data, close=True, extra=b"X: y\r\n", cap=cap)
        assert isinstance(fault, int)
        assert CODE[-fault] == "upstream_head_too_large"


# ---- properties

NAMES = [
    b"A", b"X-B", b"Cookie", b"Connection", b"Keep-Alive", b"TE", b"Upgrade", b"Via", b"X-Forwarded-For", b"X-Forwarded-Proto",
    b"X-Forwarded-Host", b"X-Request-ID", b"Forwarded", b"X-Real-IP",
    b"Content-Length", b"Transfer-Encoding", b"Trailer", b"Expect", b"Proxy-Authorization", b"Date", b"Set-Cookie",
]
VALUES = [b"", b"v", b"3", b"chunked", b"close", b"keep-alive, x-b", b"x-b, a, via", b"upgrade", b"websocket",
    b"100-continue", b"1.1 x", b"6.6.6.6", b"a longer value of several words, with a comma"]
BLANKS = [b"", b" ", b"\t ", b"  "]
LINES = [name + b":" + before + value + after for name, before, value, after in product(NAMES, BLANKS, VALUES, BLANKS)]
lines = st.lists(st.sampled_from(LINES), max_size=8)


def kept(fields: tuple[oracle.Field, ...], *written: bytes) -> Lines:
    return [(field.name, field.value) for field in fields if not field.hop and field.name.lower() not in written]


@settings(max_examples=800, deadline=None)
@given(lines, st.booleans(), st.booleans(), st.sampled_from([b"GET /p?q HTTP/1.1", b"POST / HTTP/1.0", b"OPTIONS * HTTP/1.1"]))
def test_requests_come_out_as_the_oracle_says(said: list[bytes], trusted: bool, upgrade: bool, start: bytes) -> None:
    data = b"\r\n".join([start, b"Host: a", *said, b"", b""])
    head = oracle.parse_request(data)
    assume(head is not None)
    assert head is not None
    first, written = split(rewrite_request(data, trusted=trusted, upgrade=upgrade))
    assert first == start.replace(b"1.0", b"1.1")

    def believed(name: bytes) -> list[bytes]:
        found = [value for field, value in kept(head.fields) if field.lower() == name]
        return found if found and found[0] else []

    ours: Lines = []
    replaced = [b"host", b"content-length", b"via", b"x-forwarded-for"]
    if head.body == oracle.BODY_CHUNKED:
        ours.append((b"Transfer-Encoding", b"chunked"))
    elif head.body == oracle.BODY_LENGTH:
        ours.append((b"Content-Length", b"%d" % (head.content_length or 0)))
    forwarded = [value for name, value in kept(head.fields) if name.lower() == b"x-forwarded-for" and value and trusted]
    ours.append((b"X-Forwarded-For", b", ".join([*forwarded, b"192.0.2.1"])))
    for name, value in ((b"X-Forwarded-Proto", b"http"), (b"X-Forwarded-Host", b"a"), (b"X-Request-ID", b"0123456789abcdef")):
        if not (trusted and believed(name.lower())):
            replaced.append(name.lower())
            ours.append((name, value))
    if not trusted:
        replaced += [b"forwarded", b"x-real-ip"]
    vias = [value for name, value in kept(head.fields) if name.lower() == b"via" and value]
    ours.append((b"Via", b", ".join([*vias, b"1.%d proxyd" % head.minor])))
    if upgrade:
        ours += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    assert written == [(b"Host", b"a"), *kept(head.fields, *replaced), *ours]

    again = parse_request(b"\r\n".join([first, *(name + b": " + value for name, value in written), b"", b""]))
    assert isinstance(again, dict)   # what we send is what we would accept, with the same framing
    assert (again["body"], again["content_length"], again["host"], again["path"], again["query"]) == (head.body, head.content_length,
        head.host, head.path, head.query)
    assert not upgrade or again["flags"] & oracle.UPGRADE_WEBSOCKET or head.body != oracle.BODY_NONE or first[:3] != b"GET"


@settings(max_examples=800, deadline=None)
@given(lines, st.booleans(), st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 404", b"HTTP/1.1 204 No", b"HTTP/1.1 304 "]))
def test_responses_come_out_as_the_oracle_says(said: list[bytes], close: bool, start: bytes) -> None:
    data = b"\r\n".join([start, *said, b"", b""])
    head = oracle.parse_response(data)
    assume(head is not None)
    assert head is not None
    first, written = split(rewrite_response(data, close=close))
    assert first == b"HTTP/1.1 %d %s" % (head.status, head.reason)
    ours: Lines = []
    if not [name for name, _ in kept(head.fields) if name.lower() == b"date"]:
        ours.append(DATE)
    if head.body == oracle.BODY_CHUNKED:
        ours.append((b"Transfer-Encoding", b"chunked"))
    elif head.content_length is not None and head.status != 204:
        ours.append((b"Content-Length", b"%d" % head.content_length))
    if close or head.body == oracle.BODY_CLOSE:
        ours.append((b"Connection", b"close"))
    assert written == [*kept(head.fields, b"content-length"), *ours]

    again = parse_response(b"\r\n".join([first, *(name + b": " + value for name, value in written), b"", b""]))
    assert isinstance(again, dict)
    assert (again["status"], again["reason"], again["body"]) == (head.status, head.reason, head.body)
    assert again["content_length"] == (None if head.status == 204 else head.content_length)


# ---- answers of our own


@pytest.mark.parametrize("status", [s for s in HTTPStatus if s not in (102, 207, 208, 226, 418, 423, 424, 506, 507, 510)])
def test_status_lines(status: HTTPStatus) -> None:
    renamed = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}   # by RFC 9110
    assert status_line(status) == b"HTTP/1.1 %d %s\r\n" % (status, renamed.get(status, status.phrase).encode())
    assert len(status_line(status)) < 64


def test_a_status_without_a_name() -> None:
    assert status_line(299) == b"HTTP/1.1 299 \r\n"


@given(st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 9, 10, 99, 100, 2**32 - 1, 2**32, 10**19 - 1, 10**19, 2**64 - 1])))
def test_decimals(value: int) -> None:
    assert decimal(value) == b"%d" % value


@given(st.integers(0, 253402300799))
def test_dates(seconds: int) -> None:
    assert http_date(seconds) == format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True).encode()


@pytest.mark.parametrize("seconds", [0, 59, 86399, 86400, 68169599, 68169600, 951782399, 951782400, 951868800, 4107542400, 1709164800,
    253402300799])
def test_dates_at_edges(seconds: int) -> None:
    assert http_date(seconds) == format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True).encode()


def test_dates_end_with_the_year_9999() -> None:
    assert http_date(253402300800) == http_date(2**64 - 1) == b"Fri, 31 Dec 9999 23:59:59 GMT"
