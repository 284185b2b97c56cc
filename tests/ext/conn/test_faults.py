"""Origins that fail: refused, reset, silent, garbled; what is tried again, where, and what never is."""

from __future__ import annotations

import pytest

from proxyd_ext.snapshot.spec import RetrySpec
from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Origin, Peer

MIB = 1 << 20
CHUNKED_POST = get("/", "Transfer-Encoding: chunked", method="POST") + b"4\r\nbody\r\n0\r\n\r\n"


def dead(rig: Rig) -> Origin:
    """An address where nobody listens."""
    origin = rig.origin()
    origin.refuse()
    return origin


def parked(rig: Rig, origin: Origin, client: Peer) -> Peer:
    """One exchange, after which the origin's connection is idle in the pool."""
    client.send(get())
    peer, _ = origin.asked()
    peer.send(OK)
    assert client.response().body == b"ok"
    rig.until(lambda: rig.of(origin)["connections_idle"] == 1, "the connection is parked")
    return peer


@pytest.mark.parametrize("sent", [get(), post("/", b"body"), CHUNKED_POST])
def test_refused(rig: Rig, sent: bytes) -> None:
    origin = dead(rig)
    rig.serve(origin)
    client = rig.connect()
    client.send(sent)
    response = client.response()
    assert response.status == 502
    assert response.field("proxy-status") == 'proxyd; error=connection_refused; details="connect_refused"'
    assert rig.of(origin)["errors"] == {"connect_refused": 1}
    assert rig.states["app"].stats()["retries"] == {}, "there is nobody else to try"
    if response.field("connection") != "close":
        client.send(sent)
        assert client.response().status == 502


@pytest.mark.parametrize("sent", [get(), post("/", b"body"), CHUNKED_POST, post("/", b"x" * 100_000)])
def test_refused_moves_on(rig: Rig, sent: bytes) -> None:
    """To another server: nothing was sent, so any request may go."""
    good = rig.origin()
    rig.serve(dead(rig), good)
    for _ in range(4):
        client = rig.connect()
        client.send(sent)
        peer, request = good.asked() if not good.peers else (good.peers[-1], None)
        if request is None:
            request = peer.request()
        assert len(request.body) in (0, 4, 100_000)
        peer.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert client.response().body == b"ok"
        peer.close()
        good.peers.clear()
        client.close()
    assert rig.of(good)["requests"] == {200: 4}
    assert rig.errors() == {}


def test_never_the_same_server_twice(rig: Rig) -> None:
    """Ten dead servers, more attempts than servers: each is tried once."""
    origins = [dead(rig) for _ in range(10)]
    rig.serve(*origins, target={"retry": RetrySpec(attempts=12)}, upstream={"passive_failures": 0})
    client = rig.connect()
    client.send(get())
    assert client.response().status == 502
    assert [rig.of(origin)["errors"] for origin in origins] == [{"connect_refused": 1}] * 10
    assert rig.states["app"].stats()["retries"] == {"connect_refused": 9}


@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_attempts_are_bounded(rig: Rig, attempts: int) -> None:
    origins = [dead(rig) for _ in range(6)]
    rig.serve(*origins, target={"retry": RetrySpec(attempts=attempts)}, upstream={"passive_failures": 0})
    client = rig.connect()
    client.send(get())
    assert client.response().status == 502
    assert sum(rig.of(origin)["errors"].get("connect_refused", 0) for origin in origins) == attempts + 1
    assert sum(rig.states["app"].stats()["retries"].values()) == attempts


def test_no_server(rig: Rig) -> None:
    """An upstream without members, or with none that is usable, answers at once."""
    rig.serve()
    client = rig.connect()
    client.send(get())
    response = client.response()
    assert (response.status, response.field("retry-after")) == (503, "1")
    assert response.field("proxy-status") == 'proxyd; error=destination_unavailable; details="no_server"'
    origin = rig.origin()
    rig.serve(origin)
    rig.server("app", origin).set_down("health", True)
    client.send(get())
    assert client.response().status == 503
    assert not origin.waiting()


BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy"
ON_5XX = RetrySpec(attempts=5, statuses=((500, 599),))


@pytest.mark.parametrize("number", [1, 3])
def test_the_last_answer_stands(rig: Rig, number: int) -> None:
    """All servers answer 503: each is asked once, and what the last one says is what the client gets, not that there is no server."""
    origins = [rig.origin().serve(BUSY) for _ in range(number)]
    rig.serve(*origins, target={"retry": ON_5XX})
    client = rig.connect()
    for turn in range(1, 3):
        client.send(get())
        response = client.response()
        assert (response.status, response.body, response.field("proxy-status")) == (503, b"busy", None)
        assert [rig.of(origin)["requests"] for origin in origins] == [{503: turn}] * number
    assert rig.states["app"].stats()["retries"] == ({"503": 2 * (number - 1)} if number > 1 else {})
    assert rig.states["app"].stats()["retries_in_flight"] == 0
    assert rig.errors() == {}


def test_the_last_answer_stands_beside_servers_that_are_down(rig: Rig) -> None:
    origins = [rig.origin().serve(BUSY) for _ in range(3)]
    rig.serve(*origins, target={"retry": ON_5XX})
    for origin in origins[1:]:
        rig.server("app", origin).set_down("health", True)
    client = rig.connect()
    client.send(get())
    assert client.response().body == b"busy"
    assert [len(origin.requests) for origin in origins] == [1, 0, 0]


def test_retry_after_is_waited_for(clocked: Rig) -> None:
    """The only server wants a second: it gets it, though nothing else is waited for."""
    origin = clocked.origin()
    clocked.serve(origin, target={"retry": RetrySpec(attempts=1, statuses=((503, 503),), retry_after_max_ms=2_000)})
    client = clocked.connect()
    client.send(get("/1"))
    peer, _ = origin.asked()
    peer.send(BUSY)
    clocked.advance(999)
    assert client.silent()
    assert peer.silent()
    clocked.advance(1)
    assert peer.request().target == "/1"
    peer.send(OK)
    assert client.response().body == b"ok"
    assert clocked.states["app"].stats()["retries"] == {"503": 1}


def test_retry_after_that_is_too_long(clocked: Rig) -> None:
    origin = clocked.origin().serve(BUSY)
    clocked.serve(origin, target={"retry": RetrySpec(statuses=((503, 503),), retry_after_max_ms=999)})
    client = clocked.connect()
    client.send(get())
    assert client.response().body == b"busy"
    assert len(origin.requests) == 1


ENDINGS = ["close", "half_close", "reset"]
PARTS = [b"", b"HTTP", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("sent", [get(), post("/", b"body")])
def test_ends_before_its_head_on_a_fresh_connection(rig: Rig, sent: bytes, part: bytes, ending: str) -> None:
    """The request may have been executed: a GET is repeated on another server, a POST is a 502 with the reason."""
    first, second = rig.origin(), rig.origin().serve()
    rig.serve(first, second)
    client = rig.connect()
    client.send(sent)
    peer, _ = first.asked()
    peer.send(part)
    if part and rig.mode == "inline":
        rig.settle()
    getattr(peer, ending)()
    response = client.response()
    if sent == get():
        assert response.body == second.label.encode()
    else:
        assert response.status == 502
        assert response.field("proxy-status") in (
            'proxyd; error=connection_terminated; details="upstream_closed"',
            'proxyd; error=connection_terminated; details="upstream_reset"',
        )
        assert second.requests == []
    assert not first.waiting()
    errors = rig.of(first)["errors"]
    assert sum(errors.values()) == 1
    assert errors.keys() <= {"upstream_closed", "upstream_reset"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_stale_connection(rig: Rig, method: str, ending: str) -> None:
    """The keep-alive race (RFC 9112 §9.3.1): the reused connection dies before any byte of an answer; once more, on a fresh one."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer = parked(rig, origin, client)
    client.send(post("/again", b"body", method=method) if method == "PUT" else get("/again", method=method))
    peer.request()
    getattr(peer, ending)()
    fresh, request = origin.asked()
    assert request.target == "/again"
    assert request.body == (b"body" if method == "PUT" else b"")
    fresh.send(OK if method != "HEAD" else OK[:-2])
    assert client.response(to=method).status == 200
    stats = rig.of(origin)
    assert (stats["opened"], stats["errors"], stats["requests"]) == (2, {}, {200: 2})
    assert rig.server("app", origin).state()["consecutive_failures"] == 0
    assert sum(rig.states["app"].stats()["retries"].values()) == 1


def test_stale_only_once(rig: Rig) -> None:
    """The fresh connection dies, too: that is a failure."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer = parked(rig, origin, client)
    client.send(get("/again"))
    peer.request()
    peer.close()
    fresh, _ = origin.asked()
    fresh.close()
    assert client.response().status == 502
    assert not origin.waiting()
    assert rig.of(origin)["errors"] == {"upstream_closed": 1}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("sent", [post("/again", b"body"), CHUNKED_POST, post("/again", b"x", method="PATCH")])
def test_post_is_executed_at_most_once(rig: Rig, sent: bytes, ending: str) -> None:
    """Its bytes were sent: whether the origin acted on them nobody knows, so it is not sent again."""
    origin = rig.origin()
    rig.serve(origin, rig.origin().serve())
    other = rig.origins[1]
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(OK)
    client.response()
    client.send(get())  # round robin: the other one
    client.response()
    client.send(sent)
    peer.request()
    getattr(peer, ending)()
    assert client.response().status == 502
    assert not origin.waiting()
    assert len(other.requests) == 1


def test_part_of_an_answer_is_not_the_race(rig: Rig) -> None:
    """Even on a reused connection: the origin had begun to answer."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer = parked(rig, origin, client)
    client.send(get("/again"))
    peer.request()
    peer.send(b"HTTP/1.1 2")
    peer.half_close()
    assert client.response().status == 502
    assert not origin.waiting()


def test_interim_answer_is_not_the_race(rig: Rig) -> None:
    """100 came: the origin was alive and had the request."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer = parked(rig, origin, client)
    client.send(get("/again"))
    peer.request()
    peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert client.response().status == 103
    peer.close()
    assert client.response().status == 502
    assert not origin.waiting()


@pytest.mark.parametrize("ending", ENDINGS)
def test_idle_connection_that_ends_leaves_the_pool(rig: Rig, ending: str) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer = parked(rig, origin, client)
    getattr(peer, ending)()
    rig.until(lambda: rig.of(origin)["connections_idle"] == 0, "it left the pool")
    client.send(post("/", b"body"))
    fresh, request = origin.asked()
    assert request.body == b"body"
    fresh.send(OK)
    assert client.response().status == 200
    assert rig.of(origin)["errors"] == {}


def test_stray_bytes_on_an_idle_connection(rig: Rig) -> None:
    """An answer that nobody asked for must never become the answer to the next request."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer = parked(rig, origin, client)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    rig.until(lambda: rig.of(origin)["connections_idle"] == 0, "it left the pool")
    client.send(get())
    fresh, _ = origin.asked()
    fresh.send(OK)
    assert client.response().body == b"ok"


@pytest.mark.parametrize("first", ["client", "origin"])
@pytest.mark.parametrize("sent", [get("/again"), post("/again", b"body")])
def test_stray_answer_in_the_turn_of_the_next_request(clocked: Rig, sent: bytes, first: str) -> None:
    """Both stand in the kernel when the engine wakes. What came before our request left cannot be its answer."""
    origin = clocked.origin()
    clocked.serve(origin)
    client = clocked.connect()
    peer = parked(clocked, origin, client)
    clocked.settle()
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for who, data in ((client, sent), (peer, evil)) if first == "client" else ((peer, evil), (client, sent)):
        who.send(data)
    fresh, request = origin.asked()
    assert request.target == "/again"
    fresh.send(OK)
    assert client.response().body == b"ok"


@pytest.mark.parametrize("behind", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\r\n"])
@pytest.mark.parametrize(
    "answer", [OK, b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]
)
def test_bytes_behind_an_answer(rig: Rig, answer: bytes, behind: bytes) -> None:
    """They end the connection; nobody gets them."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/1") + get("/2"))
    peer, _ = origin.asked()
    peer.send(answer + behind)
    assert client.response().status in (200, 204)
    fresh, request = origin.asked()
    assert request.target == "/2"
    fresh.send(OK)
    assert client.response().body == b"ok"
    assert peer.was_reset() or peer.eof


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("upstream_head_malformed", b"garbage\r\n\r\n"),
        ("upstream_head_malformed", b"HTTP/1.1 20 OK\r\n\r\n"),
        ("upstream_head_malformed", b"HTTP/2.0 200 OK\r\n\r\n"),
        ("upstream_head_malformed", b"HTTP/1.1 200 OK\r\nbad field\r\n\r\n"),
        ("upstream_head_malformed", b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"),
        ("upstream_head_malformed", b"SSH-2.0-OpenSSH_9.2p1\r\n" + b"x" * 100),
        ("upstream_framing", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk"),
        ("upstream_framing", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("upstream_framing", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
        ("upstream_head_too_large", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"),
        ("upstream_head_too_large", b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(300)) + b"\r\n"),
    ],
)
def test_garbled_answers(rig: Rig, word: str, answer: bytes) -> None:
    """502, the origin connection closed, nothing of it passed on, no second try."""
    origin = rig.origin()
    rig.serve(origin, rig.origin().serve())
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(answer)
    response = client.response()
    assert response.status == 502
    assert f'details="{word}"' in (response.field("proxy-status") or "")
    assert rig.of(origin)["errors"] == {word: 1}
    assert rig.errors() == {word: 1}
    assert peer.was_reset() or peer.eof
    assert client.silent()


def test_garbled_answer_byte_by_byte(clocked: Rig) -> None:
    origin = clocked.origin()
    clocked.serve(origin)
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n"
    for at in range(len(answer)):
        peer.send(answer[at : at + 1])
        clocked.settle()
    assert client.response().status == 502


def test_repaired_answers(rig: Rig) -> None:
    """What RFC 9112 tells a proxy to repair: a blank before the colon, folded lines."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\nX-Long: a\r\n  b\r\n\r\nok")
    response = client.response()
    assert response.body == b"ok"
    assert (response.field("x-long") or "").split() == ["a", "b"]


def test_answer_before_the_request(rig: Rig) -> None:
    """An origin that answers twice: the second answer is never taken for one to a request that it has not read."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/1"))
    peer, _ = origin.asked()
    peer.send(OK + OK)
    assert client.response().body == b"ok"
    client.send(get("/2"))
    fresh, request = origin.asked()
    assert request.target == "/2"
    fresh.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
    assert client.response().body == b"right"


@pytest.mark.parametrize("size", [10, 3 * MIB])
def test_reset_within_the_request_body(rig: Rig, size: int) -> None:
    origin = rig.origin(receive_bytes=65_536)
    rig.serve(origin)
    client = rig.connect(send_bytes=65_536)
    client.send(post("/", b"x" * size)[:-1])
    peer = origin.accept()
    peer.head()
    peer.reset()
    response = client.response()
    assert (response.status, response.field("connection")) == (502, "close")
    assert rig.errors() == {"upstream_reset": 1}


def test_service_returns_by_itself(rig: Rig) -> None:
    """All origins dead: 502 or 503 at once; then they are back."""
    origin = dead(rig)
    rig.serve(origin)
    client = rig.connect()
    for _ in range(20):
        client.send(get())
        assert client.response().status in (502, 503)
    again = rig.origin()
    rig.serve(origin, again)
    again.serve()
    for _ in range(10):
        client.send(get())
        assert client.response().status == 200


def test_unix_origin(rig: Rig, tmp_path: object) -> None:
    origin = rig.origin(path=f"{tmp_path}/origin").serve()
    rig.serve(origin)
    client = rig.connect()
    for _ in range(3):
        client.send(get())
        assert client.response().body == origin.label.encode()
    assert rig.of(origin)["opened"] == 1
    origin.close()
    client.send(get())
    assert client.response().status == 502


def test_ipv6_origin(rig: Rig) -> None:
    origin = rig.origin(host="::1").serve()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    assert client.response().body == origin.label.encode()
