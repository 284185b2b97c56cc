"""One request and its response: every framing, whole, cut at every byte, and with another request behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Message, Peer


@dataclass(frozen=True, slots=True)
class Case:
    request: bytes
    start: str  # what the origin must hear
    body: bytes
    answer: bytes
    status: int
    reply: bytes  # body that the client must get
    framing: str = "length"  # towards the client
    closes: bool = False  # the connection ends behind the answer


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext="a;b"\r\nhel\r\n2 ; x\r\nlo\r\n0\r\nX-Sum: 7\r\n\r\n'
CHUNKED_POST = get("/c", "Transfer-Encoding: chunked", method="POST")

CASES = {
    "get": Case(get("/a?b=c"), "GET /a?b=c HTTP/1.1", b"", HELLO, 200, b"hello"),
    "empty line before": Case(b"\r\n" + get("/a"), "GET /a HTTP/1.1", b"", HELLO, 200, b"hello"),
    "absolute form": Case(get("http://test/a?b"), "GET /a?b HTTP/1.1", b"", HELLO, 200, b"hello"),
    "absolute form without path": Case(get("http://test"), "GET / HTTP/1.1", b"", HELLO, 200, b"hello"),
    "options star": Case(get("*", method="OPTIONS"), "OPTIONS * HTTP/1.1", b"", HELLO, 200, b"hello"),
    "head": Case(get("/a", method="HEAD"), "HEAD /a HTTP/1.1", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, b"", "none"),
    "head of chunked": Case(
        get("/a", method="HEAD"), "HEAD /a HTTP/1.1", b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, b"", "none"
    ),
    "head without framing": Case(get("/a", method="HEAD"), "HEAD /a HTTP/1.1", b"", b"HTTP/1.1 200 OK\r\n\r\n", 200, b"", "none"),
    "204": Case(get("/a"), "GET /a HTTP/1.1", b"", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", "none"),
    "304": Case(get("/a"), "GET /a HTTP/1.1", b"", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", "none"),
    "304 of chunked": Case(
        get("/a"), "GET /a HTTP/1.1", b"", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, b"", "none"
    ),
    "empty answer": Case(get("/a"), "GET /a HTTP/1.1", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "chunked answer": Case(get("/a"), "GET /a HTTP/1.1", b"", CHUNKS, 200, b"hello", "chunked"),
    "post": Case(post("/p", b"some body"), "POST /p HTTP/1.1", b"some body", HELLO, 200, b"hello"),
    "post of nothing": Case(post("/p"), "POST /p HTTP/1.1", b"", HELLO, 200, b"hello"),
    "put": Case(post("/p", b"x" * 80, method="PUT"), "PUT /p HTTP/1.1", b"x" * 80, HELLO, 200, b"hello"),
    "get with body": Case(post("/p", b"odd", method="GET"), "GET /p HTTP/1.1", b"odd", HELLO, 200, b"hello"),
    "other method": Case(get("/p", method="PROPFIND"), "PROPFIND /p HTTP/1.1", b"", HELLO, 200, b"hello"),
    "chunked post": Case(
        CHUNKED_POST + b'4\r\nsome\r\n05;q="\\""\r\n body\r\n0\r\n\r\n', "POST /c HTTP/1.1", b"some body", HELLO, 200, b"hello"
    ),
    "chunked post with trailers": Case(
        CHUNKED_POST + b"9\r\nsome body\r\n000\r\nX-Check: 1\r\nX-More: 2\r\n\r\n", "POST /c HTTP/1.1", b"some body", HELLO, 200, b"hello"
    ),
    "chunked post of nothing": Case(CHUNKED_POST + b"0\r\n\r\n", "POST /c HTTP/1.1", b"", HELLO, 200, b"hello"),
    "close": Case(get("/a", "Connection: close"), "GET /a HTTP/1.1", b"", HELLO, 200, b"hello", closes=True),
    "1.0": Case(get("/a", version="1.0"), "GET /a HTTP/1.1", b"", HELLO, 200, b"hello", closes=True),
    "1.0 without host": Case(get("/a", version="1.0", host=None), "GET /a HTTP/1.1", b"", HELLO, 200, b"hello", closes=True),
    "1.0 keep-alive": Case(get("/a", "Connection: keep-alive", version="1.0"), "GET /a HTTP/1.1", b"", HELLO, 200, b"hello"),
    "1.0 keep-alive post": Case(
        post("/a", b"body", "Connection: Keep-Alive", version="1.0"), "POST /a HTTP/1.1", b"body", HELLO, 200, b"hello"
    ),
    "1.0 chunked answer": Case(
        get("/a", "Connection: keep-alive", version="1.0"), "GET /a HTTP/1.1", b"", CHUNKS, 200, b"hello", "close", closes=True
    ),
}
PERSISTENT = {name: case for name, case in CASES.items() if not case.closes}


def method_of(case: Case) -> str:
    return case.start.split(" ")[0]


def answer(peer: Peer, case: Case) -> None:
    """The origin hears what it must, and answers."""
    request = peer.request()
    assert (request.start, request.body) == (case.start, case.body)
    assert request.all("host") == ["test"] or "1.0" in case.request.split(b"\r\n")[0].decode()
    peer.send(case.answer)


def hear(client: Peer, case: Case) -> Message:
    response = client.response(to=method_of(case))
    assert (response.status, response.body, response.framing) == (case.status, case.reply, case.framing)
    assert response.start.startswith("HTTP/1.1 ")
    return response


def check_end(client: Peer, case: Case, response: Message) -> None:
    if case.closes:
        assert response.field("connection") == "close"
        assert client.ended()
    else:
        assert client.silent()


@pytest.mark.parametrize("name", CASES)
def test_whole(rig: Rig, name: str) -> None:
    case = CASES[name]
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(case.request)
    answer(origin.accept(), case)
    check_end(client, case, hear(client, case))
    rig.counted(method_of(case) if method_of(case) != "PROPFIND" else "OTHER", case.status)
    rig.until(lambda: rig.of(origin)["connections_idle"] == 1, "the origin's connection is kept")
    assert rig.of(origin)["requests"] == {case.status: 1}


@pytest.mark.parametrize("name", CASES)
def test_dribbled(clocked: Rig, name: str) -> None:
    """Byte by byte from both sides."""
    case = CASES[name]
    origin = clocked.origin()
    clocked.serve(origin)
    client = clocked.connect()
    for at in range(len(case.request)):
        client.send(case.request[at : at + 1])
        clocked.settle()
    peer = origin.accept()
    request = peer.request()
    assert (request.start, request.body) == (case.start, case.body)
    for at in range(len(case.answer)):
        peer.send(case.answer[at : at + 1])
        clocked.settle()
    check_end(client, case, hear(client, case))


@pytest.mark.parametrize("name", PERSISTENT)
def test_cut_at_every_byte(clocked: Rig, name: str) -> None:
    """In two pieces, cut everywhere, one after the other on one connection to one origin connection."""
    case = PERSISTENT[name]
    origin = clocked.origin()
    clocked.serve(origin)
    client = clocked.connect()
    peer: Peer | None = None
    for at in range(1, len(case.request)):
        client.send(case.request[:at])
        clocked.settle()
        client.send(case.request[at:])
        peer = peer or origin.accept()
        answer(peer, case)
        check_end(client, case, hear(client, case))
    assert clocked.of(origin)["opened"] == 1
    for at in range(1, len(case.answer)):
        client.send(case.request)
        assert peer is not None
        assert peer.request().start == case.start
        peer.send(case.answer[:at])
        clocked.settle()
        peer.send(case.answer[at:])
        check_end(client, case, hear(client, case))
    assert clocked.of(origin)["opened"] == 1


@pytest.mark.parametrize("name", PERSISTENT)
def test_bytes_behind(rig: Rig, name: str) -> None:
    """The next request stands right behind: it is answered second, by itself, and takes nothing of the first."""
    case = PERSISTENT[name]
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(case.request + get("/behind"))
    peer = origin.accept()
    answer(peer, case)
    check = hear(client, case)
    assert check.field("connection") in (None, "keep-alive")
    assert peer.request().start == "GET /behind HTTP/1.1"
    peer.send(OK)
    assert client.response().body == b"ok"
    assert rig.of(origin)["opened"] == 1


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.closes])
def test_bytes_behind_the_last(rig: Rig, name: str) -> None:
    """What stands behind a request that ends its connection is never served."""
    case = CASES[name]
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(case.request + get("/behind"))
    peer = origin.accept()
    answer(peer, case)
    check_end(client, case, hear(client, case))
    assert peer.silent() or not peer.received
    assert sum(rig.requests().values()) == 1


def test_pipeline_in_order(rig: Rig) -> None:
    """Thirty requests in one segment, of all kinds, are answered in order."""
    origin = rig.origin().serve(
        lambda request: (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
            % (len(request.target) + len(request.body), request.target.encode() + request.body)
        )
    )
    rig.serve(origin)
    client = rig.connect()
    client.send(b"".join(post(f"/{i}", b"b%d" % i) if i % 3 else get(f"/{i}") for i in range(30)))
    for i in range(30):
        assert client.response().body == (b"/%db%d" % (i, i) if i % 3 else b"/%d" % i)
    assert client.silent()
    assert sum(rig.requests().values()) == 30


def test_pipeline_behind_a_slow_answer(rig: Rig) -> None:
    """The second request does not reach any origin before the first is answered."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/1"))
    peer, _ = origin.asked()
    client.send(get("/2") + get("/3"))
    peer.send(OK)
    assert client.response().body == b"ok"
    assert peer.request().target == "/2"
    assert peer.silent()
    peer.send(OK)
    assert peer.request().target == "/3"
    peer.send(OK)
    assert client.response().body + client.response().body == b"okok"


def test_close_delimited_answer(rig: Rig) -> None:
    """To an HTTP/1.1 client it goes out in chunks, and its connection lives on."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the")
    client.head()
    peer.send(b" end")
    peer.close()
    rig.until(lambda: client.got().endswith(b"0\r\n\r\n"), "the last chunk")
    client.received.clear()
    client.send(get("/2"))
    peer, _ = origin.asked()
    peer.send(OK)
    assert client.response().body == b"ok"


@pytest.mark.parametrize("answered", [b"HTTP/1.0 200 OK\r\n\r\nall of it", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_close_delimited_at_once(rig: Rig, version: str, answered: bytes) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", "Connection: keep-alive", version=version))
    peer, _ = origin.asked()
    peer.send(answered)
    peer.close()
    response = client.response()
    assert response.body == b"all of it"
    assert response.framing == ("chunked" if version == "1.1" else "close")
    assert client.silent() == (version == "1.1")
    rig.counted("GET", 200)
    assert rig.errors() == {}


def test_chunked_request_to_origin_and_trailers(rig: Rig) -> None:
    """A chunked body stays chunked, framed anew; trailers pass, framing fields among them do not."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(CHUNKED_POST + b"1;a=b\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n")
    peer, request = origin.asked()
    assert (request.framing, request.body, request.chunks, request.trailers) == ("chunked", b"x", [1], [("X-Sum", "1")])
    peer.send(OK)
    assert client.response().status == 200


def test_trailers_that_would_be_framing(rig: Rig) -> None:
    """RFC 9110 §6.5.1: fields that frame, route or authenticate a message do not pass as trailers, either way."""
    trailers = (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nX-Ok: 1\r\nConnection: close\r\nAuthorization: x\r\n"
        b"X-Forwarded-For: 1.2.3.4\r\n"
    )
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(CHUNKED_POST + b"1\r\nx\r\n0\r\n" + trailers + b"\r\n")
    peer, request = origin.asked()
    assert request.trailers == [("X-Ok", "1")]
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + trailers + b"\r\n")
    assert [name for name, _ in client.response().trailers if name not in ("X-Ok", "Authorization", "X-Forwarded-For")] == []
    assert client.silent()


def test_endless_empty_lines(rig: Rig) -> None:
    """A few before a request line are skipped (RFC 9112 §2.2), a stream of them is no request."""
    rig.serve(rig.origin())
    client = rig.connect()
    client.send(b"\r\n" * 3)
    rig.until(lambda: rig.total("connections") == 1, "it is accepted")
    assert client.silent()
    client.send(b"\r\n" * 100)
    assert client.response().status == 400
    assert client.ended()


def test_chunked_answer_trailers(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", "TE: trailers"))
    peer, _ = origin.asked()
    peer.send(CHUNKS)
    response = client.response()
    assert (response.body, response.trailers) == (b"hello", [("X-Sum", "7")])
    assert b";" not in response.head.split(b"\r\n\r\n")[1]


def test_interim_answers(rig: Rig) -> None:
    """100 and 103 pass to an HTTP/1.1 client, in order, before the final answer."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(post("/", b"body", "Expect: 100-continue")[:-4])
    peer = origin.accept()
    assert b"Expect: 100-continue" in peer.head()
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.response().status == 100
    client.send(b"body")
    assert peer.read(4) == b"body"
    peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n" + OK)
    assert client.response().field("link") == "</a>; rel=preload"
    assert client.response().field("link") == "</b>"
    assert client.response().body == b"ok"
    rig.counted("POST", 200)


def test_interim_answers_are_kept_from_http_1_0(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", version="1.0"))
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert client.response().status == 200


def test_expect_refused_by_the_origin(rig: Rig) -> None:
    """The client never sends its body, and cannot go on with this connection."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", "Expect: 100-continue", "Content-Length: 1000", method="POST"))
    peer = origin.accept()
    peer.head()
    peer.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
    response = client.response()
    assert (response.status, response.body, response.field("connection")) == (417, b"no", "close")
    assert client.ended()
    assert peer.rest() == b""


@pytest.mark.parametrize("ending", ["close", "reset", "stay"])
@pytest.mark.parametrize("size", [1000, 2 << 20])
def test_early_final_answer(rig: Rig, size: int, ending: str) -> None:
    """The origin refuses a body before it is all there: the client gets that answer, whatever the origin does next."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", f"Content-Length: {size}", method="POST") + b"x" * (size // 2))
    peer = origin.accept()
    peer.head()
    peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    if ending != "stay":
        peer.close() if ending == "close" else peer.half_close()
    response = client.response()
    assert (response.status, response.body, response.field("connection")) == (413, b"big", "close")
    rig.counted("POST", 413)


def test_answer_while_the_request_goes_on(rig: Rig) -> None:
    """Both bodies stream at the same time."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(CHUNKED_POST)
    peer = origin.accept()
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.head()
    for i in range(5):
        client.send(b"2\r\n%02d\r\n" % i)
        assert peer.read(7) == b"2\r\n%02d\r\n" % i
        peer.send(b"3\r\n<%d>\r\n" % i)
        assert client.read(8) == b"3\r\n<%d>\r\n" % i
    client.send(b"0\r\n\r\n")
    assert peer.read(5) == b"0\r\n\r\n"
    peer.send(b"0\r\n\r\n")
    assert client.read(5) == b"0\r\n\r\n"
    rig.counted("POST", 200)


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        (400, b"GET /\r\n\r\n"),
        (400, b"GET / HTTP/1.1\nHost: a\n\n"),
        (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(200)) + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17000),
        (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (417, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: magic\r\n\r\na"),
    ],
)
def test_refused_requests(rig: Rig, status: int, request_bytes: bytes) -> None:
    """Never forwarded; nothing behind them is, either."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(request_bytes + get("/smuggled"))
    response = client.response()
    assert response.status == status
    if response.field("connection") == "close":
        assert client.ended()
        assert sum(rig.requests("-").values()) + sum(rig.requests("all").values()) == 1
    else:
        rig.until(origin.waiting, "the request behind")
        peer, request = origin.asked()
        assert request.target == "/smuggled"
        peer.send(OK)
        assert client.response().status == 200
    assert not origin.waiting()


@pytest.mark.parametrize(
    "chunks",
    [
        b"4\r\nsomeX\r\n",
        b"-1\r\n",
        b"ffffffffffffffffff\r\n",
        b"4 4\r\nsome\r\n",
        b"4\nsome\n",
        b"4\r\nsome\n0\r\n\r\n",
        b"0x4\r\nsome\r\n",
        b"1;" + b"x" * 20000,
        b"\r\n",
        b"0\r\nX: 1\r\n folded\r\n\r\n",
        b"0\r\n X: 1\r\n\r\n",
        b"0\r\nbad\0: 1\r\n\r\n",
    ],
)
def test_bad_chunks_end_the_exchange(rig: Rig, chunks: bytes) -> None:
    """400, and the origin never sees an end of that body."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(CHUNKED_POST + b"1\r\na\r\n" + chunks)
    response = client.response()
    assert (response.status, response.field("connection")) == (400, "close")
    assert client.ended()
    peer = origin.accept()
    assert peer.was_reset() or b"0\r\n\r\n" not in peer.received
    rig.counted("POST", 400)
    assert rig.errors() == {"chunk_malformed": 1}


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_refused(rig: Rig, method: str) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("test:443" if method == "CONNECT" else "/", method=method, host="test:443"))
    response = client.response(to=method)
    assert response.status == 405
    assert response.field("allow") == "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"
    assert not origin.waiting()


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        ("/a/./b//c/../d", "/a/b//d"),
        ("/%41%7e%2d", "/A~-"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%20b", "/a%20b"),
        ("/a|b", "/a%7Cb"),
        ("/a/.", "/a/"),
        ("/...%2f", "/...%2F"),
        ("/a?%41=/../b", "/a?%41=/../b"),
        ("/a?", "/a?"),
        ("http://test/x/../y?q", "/y?q"),
    ],
)
def test_path_is_forwarded_in_normal_form(rig: Rig, sent: str, forwarded: str) -> None:
    origin = rig.origin().serve()
    rig.serve(origin)
    client = rig.connect()
    client.send(get(sent))
    assert client.response().status == 200
    assert origin.requests[0].target == forwarded


def test_path_that_grows_much(rig: Rig) -> None:
    """Normalisation triples it; it is still a legal request."""
    origin = rig.origin().serve()
    rig.serve(origin)
    client = rig.connect()
    for size in range(500, 8001, 500):
        client.send(get("/" + "|" * size))
        assert client.response().status == 200, size
        assert origin.requests[-1].target == "/" + "%7C" * size


def test_largest_head_is_forwarded(rig: Rig) -> None:
    origin = rig.origin().serve()
    rig.serve(origin)
    client = rig.connect()
    head = get("/", "X: ")
    request = get("/", "X: " + "y" * (16384 - len(head)))
    assert len(request) == 16384
    client.send(request)
    assert client.response().status == 200
    client.send(request[:50] + b"z" + request[50:])
    assert client.response().status == 431


CutOff = Callable[[Peer], None]


@pytest.mark.parametrize(
    "part",
    [b"", b"POST", get("/", method="POST")[:-2], post("/", b"body")[:-4], post("/", b"body")[:-1], CHUNKED_POST, CHUNKED_POST + b"5\r\nab"],
)
@pytest.mark.parametrize("ending", ["reset", "close", "half_close"])
def test_client_leaves_before_its_request_is_whole(rig: Rig, part: bytes, ending: str) -> None:
    """Nothing hangs on; the origin, where it had been asked, sees its connection cut rather than a body's end."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(part)
    peer = None
    if b"\r\n\r\n" in part:
        peer = origin.accept()
        peer.head()
    getattr(client, ending)()
    rig.until(lambda: rig.listeners["web"].stats()["accepted"] == 1 and rig.total("connections") == 0, "the connection is gone")
    assert rig.total("exchanges") == 0
    if peer is not None:
        assert peer.was_reset() or b"0\r\n\r\n" not in peer.received
        rig.counted("POST", 499)
        assert rig.errors() == {"client_closed": 1}
        assert rig.of(origin)["connections_idle"] == 0


def test_client_resets_while_the_origin_thinks(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    client.reset()
    assert peer.was_reset() or peer.eof
    rig.counted("GET", 499)
    assert rig.of(origin)["in_flight"] == 0


@pytest.mark.parametrize("sent", [get("/1"), post("/1", b"body"), get("/1") + get("/2"), post("/1", b"b" * 100_000)])
def test_request_and_reset_at_once(clocked: Rig, sent: bytes) -> None:
    """Both stand in the kernel when the engine wakes: nobody waits for the origin in the name of a client that is gone."""
    origin = clocked.origin()
    clocked.serve(origin)
    client = clocked.connect()
    clocked.settle()
    client.send(sent)
    client.reset()
    clocked.until(lambda: clocked.total("connections") == 0, "the connection is gone")
    assert clocked.total("exchanges") == 0
    assert clocked.of(origin)["in_flight"] == 0


def test_client_resets_during_the_answer(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    client.head()
    client.reset()
    assert peer.was_reset() or peer.eof
    rig.counted("GET", 200)
    assert rig.errors() == {"client_closed": 1}


def test_half_close_behind_the_request(rig: Rig) -> None:
    """A client that asked and said FIN still gets its answer."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    client.half_close()
    peer, _ = origin.asked()
    peer.send(OK)
    assert client.response().body == b"ok"
    assert client.ended()
    rig.counted("GET", 200)
    assert rig.errors() == {}


def test_half_close_behind_a_pipeline(rig: Rig) -> None:
    origin = rig.origin().serve()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/1") + post("/2", b"body") + get("/3"))
    client.half_close()
    for _ in range(3):
        assert client.response().status == 200
    assert client.ended()
