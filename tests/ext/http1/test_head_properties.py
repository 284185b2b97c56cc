"""The head parser against a plain oracle, h11 and httptools: whatever is accepted is read the same by all of them."""
from __future__ import annotations

import itertools
import re
from typing import Any

import h11
import httptools
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxyd_ext.http1.head import parse_request, parse_response
from tests.reference import http1 as oracle

NAMES_POOL = [
    b"Host", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Upgrade", b"TE", b"Trailer", b"Keep-Alive", b"X-A",
    b"Cookie", b"Accept", b"Via", b"Proxy-Connection",
    b"content-length", b"TRANSFER-ENCODING",
]
VALUES_POOL = [
    b"", b"a", b"a.example:80", b"close", b"keep-alive", b"upgrade", b"x-a, close", b"0", b"3", b"3, 3", b"4", b"chunked", b"gzip",
    b"gzip, chunked", b"Chunked", b"100-continue",
    b"websocket", b"trailers", b"some longer text, of more than 16 bytes", b"\xe9\xff", b"a\tb", b"host, cookie, x-a",
]
REQUEST_LINES = [
    b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"GET /x HTTP/1.0", b"OPTIONS * HTTP/1.1", b"PUT http://b.example:8/y?z HTTP/1.1",
    b"DELETE http://b?q HTTP/1.1", b"CONNECT c:1 HTTP/1.1",
    b"HEAD /%41//..;a=b/'(x)' HTTP/1.1", b"PATCH /a|b HTTP/1.1",
]
STATUS_LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 ", b"HTTP/1.1 304", b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/1.1 500 Out of \xc3\xb6l", b"HTTP/1.1 103 Early Hints"]
SEPARATORS = [b": ", b":", b":\t", b": \t "]
ENDINGS = [b"\r\n", b" \r\n", b"\t \r\n"]
# Written out, so that a line is one draw: draws are what these tests spend their time on.
LINES = [b"".join(parts) for parts in itertools.product(NAMES_POOL, SEPARATORS, VALUES_POOL, ENDINGS)]
# Those that do not have a head refused by themselves, for tests of what is accepted: else nearly all that is drawn is thrown away.
REQUEST_FIELDS = [line for line in LINES if isinstance(parse_request(b"POST / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n"), dict)]
RESPONSE_FIELDS = [line for line in LINES if isinstance(parse_response(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n"), dict)]
host_line = st.sampled_from([b"Host: a.example\r\n"] * 8 + [b"", b"Host: [::1]:80\r\n", b"Host:\r\n"])


@st.composite
def heads(draw: st.DrawFn, start_lines: list[bytes], host: bool, mutations: int, lines: list[bytes] = LINES) -> bytes:
    """A head put together from the pools, ended by an empty line, with a few bytes changed, added or taken away."""
    fields = draw(st.lists(st.sampled_from(lines), max_size=5))
    if host:
        fields.insert(draw(st.integers(0, len(fields))), draw(host_line))
    text = bytearray(draw(st.sampled_from(start_lines)) + b"\r\n" + b"".join(fields))
    for _ in range(draw(st.integers(0, mutations))):
        at = draw(st.integers(0, len(text)))
        what = draw(st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b":", b",", b"\x7f", b"\x80", b"x", b"1", b"\r\n ",
            b"#", b"@", b'"', b";"]))
        text[at:at + draw(st.integers(0, 1))] = what
    return bytes(text) + b"\r\n\r\n"[draw(st.integers(0, 1)) * 2:]


def as_request(head: dict[str, Any]) -> oracle.Request:
    return oracle.Request(
        head["method"], head["target_form"], head["path"], head["query"], head["host"], head["minor"], head["body"],
        head["content_length"], head["flags"],
        tuple(oracle.Field(name, value, hop) for name, value, _, hop in head["fields"]), head["size"],
    )


def as_response(head: dict[str, Any]) -> oracle.Response:
    return oracle.Response(
        head["status"], head["reason"], head["minor"], head["body"], head["content_length"], head["flags"],
        tuple(oracle.Field(name, value, hop) for name, value, _, hop in head["fields"]), head["size"],
    )


@settings(max_examples=1000, deadline=None)
@given(heads(REQUEST_LINES, host=True, mutations=2))
def test_requests_against_the_oracle(data: bytes) -> None:
    assume(b"\r\n\r\n" in data.removeprefix(b"\r\n").removeprefix(b"\r\n").removeprefix(b"\r\n"))
    got: Any = parse_request(data)
    expected = oracle.parse_request(data)
    if expected is None:
        assert isinstance(got, int)
        assert got < 0
    else:
        assert as_request(got) == expected
    assert parse_request(data, cuts=range(1, len(data))) == got


@settings(max_examples=1000, deadline=None)
@given(heads(STATUS_LINES, host=False, mutations=2))
def test_responses_against_the_oracle(data: bytes) -> None:
    assume(b"\r\n\r\n" in data)
    got: Any = parse_response(data)
    expected = oracle.parse_response(data)
    if expected is None:
        assert isinstance(got, int)
        assert got < 0
    else:
        assert as_response(got) == expected
    assert parse_response(data, cuts=range(1, len(data))) == got


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 80))
def test_any_bytes_at_all(data: bytes, cut: int) -> None:
    for parse in (parse_request, parse_response):
        for start in (b"", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"):
            whole = parse(start + data)
            halves = parse(start + data, cuts=[min(cut, len(start + data))])
            # While the head is incomplete, what is wrong with it may be told later (when the bytes have doubled, or at its end).
            assert halves == whole or (halves == 0 and isinstance(whole, int) and whole < 0)
            assert not isinstance(whole, dict) or whole["size"] <= len(start + data)


class _Collected:
    """What httptools tells of the messages it is fed."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes, str, list[tuple[bytes, bytes]], bytes]] = []
        self.parser: Any = None
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.url, self.body = b"", b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages.append((self.parser.get_method(), self.url, self.parser.get_http_version(), self.fields, self.body))


def body_for(head: dict[str, Any]) -> tuple[bytes, bytes]:
    """(a body framed as the head says, its content)."""
    if head["body"] == oracle.BODY_CHUNKED:
        return b"3\r\nabc\r\n0\r\n\r\n", b"abc"
    content = b"x" * (head["content_length"] or 0)
    return content, content


def target_of(data: bytes) -> bytes:
    return data.split(b" ", 2)[1]


@settings(max_examples=500, deadline=None)
@given(heads(REQUEST_LINES, host=True, mutations=1, lines=REQUEST_FIELDS))
def test_what_is_accepted_httptools_reads_the_same(data: bytes) -> None:
    """One way only: httptools takes more than we do (several Host fields, bare line ends in places, "gzip, chunked", ...)."""
    head: Any = parse_request(data)
    assume(isinstance(head, dict) and head["method_id"] and not data.startswith(b"\r\n") and (head["content_length"] or 0) < 10_000)
    # It leaves HTTP at an Upgrade and at CONNECT,
    assume(head["flags"] & (oracle.UPGRADE_WEBSOCKET | oracle.UPGRADE_OTHER) == 0 and head["target_form"] != oracle.TARGET_AUTHORITY)
    assume(not re.search(rb"(?i)chunked[ \t]*\t", data))   # and refuses a tab behind a coding, where RFC 9110 §5.5 has it removed
    body, content = body_for(head)
    sink = _Collected()
    sink.parser = httptools.HttpRequestParser(sink)
    again = head["flags"] & oracle.KEEP_ALIVE and b"proxy-connection" not in data.lower()   # it takes Proxy-Connection for Connection
    sink.parser.feed_data(data[:head["size"]] + body + (b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n" if again else b""))
    method, url, version, fields, read = sink.messages[0]
    assert (method, url, version) == (head["method"], target_of(data), f"1.{head['minor']}")
    assert [(name, value.strip(b" \t")) for name, value in fields] == [field[:2] for field in head["fields"]]
    assert read == content
    assert [message[1] for message in sink.messages[1:]] == ([b"/next"] if again else [])


@settings(max_examples=500, deadline=None)
@given(heads(REQUEST_LINES, host=True, mutations=1, lines=REQUEST_FIELDS))
def test_what_is_accepted_h11_reads_the_same(data: bytes) -> None:
    """One way only: h11 takes more than we do (any Host value, a list of equal lengths, folded fields, bare LF, ...)."""
    head: Any = parse_request(data)
    assume(isinstance(head, dict) and not data.startswith(b"\r\n") and (head["content_length"] or 0) < 10_000)
    assume(head["method"] != b"CONNECT")   # h11 reads no body there
    body, content = body_for(head)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data[:head["size"]] + body + b"rest")
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (head["method"], target_of(data), b"1.%d" % head["minor"])
    # h11 names fields in lower case and writes an expected length anew.
    assert [(name, value) for name, value in event.headers] == [
        (name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value) for name, value, _, _ in head["fields"]
    ]
    read = b""
    while isinstance(event := connection.next_event(), h11.Data):
        read += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert read == content
    assert connection.trailing_data[0] == b"rest"


@settings(max_examples=500, deadline=None)
@given(heads(STATUS_LINES, host=False, mutations=1, lines=RESPONSE_FIELDS))
def test_responses_that_are_accepted_h11_reads_the_same(data: bytes) -> None:
    """One way only, after our repairs: h11 joins folds with one space where we keep the width, and takes what we call ambiguous."""
    head: Any = parse_response(data)
    assume(isinstance(head, dict) and head["status"] >= 200 and (head["content_length"] or 0) < 10_000)
    body, content = body_for(head) if head["body"] != oracle.BODY_NONE else (b"", b"")
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(head["head"] + body)
    if head["body"] == oracle.BODY_CLOSE:
        connection.receive_data(b"")
    event = connection.next_event()
    assert isinstance(event, h11.Response)
    assert (event.status_code, event.reason, event.http_version) == (head["status"], head["reason"], b"1.%d" % head["minor"])
    lengths = [name for name, _, _, _ in head["fields"] if name.lower() == b"content-length"]
    if len(lengths) < 2:   # h11 drops equal repeats
        assert [name for name, _ in event.headers] == [name.lower() for name, _, _, _ in head["fields"]]
    read = b""
    while isinstance(event := connection.next_event(), h11.Data):
        read += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert read == content
