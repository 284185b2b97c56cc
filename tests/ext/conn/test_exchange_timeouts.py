"""What an exchange waits for from its origin, and for how long: under a clock that the test moves."""

from __future__ import annotations

import socket

import pytest

from proxyd_ext.snapshot.spec import RetrySpec
from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Peer

MIB = 1 << 20


def cut(peer: Peer) -> bool:
    """Whether the proxy closed this origin connection (bytes before do not matter)."""
    return peer.was_reset() or peer.eof


class FullOrigin:
    """A listening socket whose queue is full: connecting to it hangs."""

    def __init__(self, rig: Rig) -> None:
        self.origin = rig.origin(backlog=0)
        self.fillers = []
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((self.origin.host, self.origin.port))
            self.fillers.append(sock)

    def close(self) -> None:
        for sock in self.fillers:
            sock.close()


def test_connect_timeout(clocked: Rig) -> None:
    full = FullOrigin(clocked)
    clocked.serve(full.origin, target={"connect_ms": 3_000, "retry": RetrySpec(attempts=0)})
    client = clocked.connect()
    client.send(get())
    clocked.advance(2_999)
    assert client.silent()
    clocked.advance(1)
    response = client.response()
    assert response.status == 504
    assert response.field("proxy-status") == 'proxyd; error=connection_timeout; details="connect_timeout"'
    assert clocked.of(full.origin)["errors"] == {"connect_timeout": 1}
    assert clocked.states["app"].stats()["connect_seconds"]["count"] == 0
    full.close()


def test_connect_timeout_moves_on(clocked: Rig) -> None:
    """To another server, each with a connect time of its own; a POST, too, for nothing was sent."""
    full = FullOrigin(clocked)
    good = clocked.origin().serve()
    clocked.serve(full.origin, good, target={"connect_ms": 3_000})
    client = clocked.connect()
    client.send(post("/", b"body"))
    clocked.advance(3_000)
    assert client.response().body == good.label.encode()
    assert clocked.states["app"].stats()["retries"] == {"connect_timeout": 1}
    assert [request.body for request in good.requests] == [b"body"]
    full.close()


@pytest.mark.parametrize(
    "head", [get(), post("/", b"body"), get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n0\r\n\r\n"]
)
def test_first_byte_timeout(clocked: Rig, head: bytes) -> None:
    origin = clocked.origin()
    clocked.serve(origin, action={"first_byte_ms": 30_000})
    client = clocked.connect()
    client.send(head)
    peer, _ = origin.asked()
    clocked.advance(29_999)
    assert client.silent()
    clocked.advance(1)
    response = client.response()
    assert (response.status, response.field("connection")) == (504, None)
    assert clocked.of(origin)["errors"] == {"first_byte_timeout": 1}
    assert cut(peer)
    client.send(get())
    assert origin.asked()[1].start == "GET / HTTP/1.1"


def test_first_byte_time_starts_with_the_end_of_the_request(clocked: Rig) -> None:
    origin = clocked.origin()
    clocked.serve(origin, action={"first_byte_ms": 1_000, "between_bytes_ms": 60_000}, min_body_rate=0)
    client = clocked.connect()
    client.send(post("/", b"body")[:-1])
    peer = origin.accept()
    peer.head()
    clocked.advance(20_000)
    assert client.silent()
    client.send(b"y")
    clocked.advance(999)
    assert client.silent()
    clocked.advance(1)
    assert client.response().status == 504


def test_first_byte_timeout_is_not_repeated_elsewhere(clocked: Rig) -> None:
    """The origin may still be working on it."""
    first, second = clocked.origin(), clocked.origin().serve()
    clocked.serve(first, second, action={"first_byte_ms": 1_000})
    client = clocked.connect()
    client.send(get())
    first.asked()
    clocked.advance(1_000)
    assert client.response().status == 504
    assert second.requests == []


def test_interim_answers_do_not_buy_time(clocked: Rig) -> None:
    origin = clocked.origin()
    clocked.serve(origin, action={"first_byte_ms": 5_000})
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    for _ in range(4):
        clocked.advance(1_000)
        peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        assert client.response().status == 103
    clocked.advance(1_000)
    assert client.response().status == 504


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\nabc",
    ],
)
def test_between_bytes_timeout(clocked: Rig, start: bytes) -> None:
    """The answer has begun: it ends visibly truncated. What a splice moves is only looked at now and then, so it may take twice as long."""
    spliced = b"9000000" in start
    origin = clocked.origin()
    clocked.serve(origin, action={"between_bytes_ms": 60_000})
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(start)
    for _ in range(3):
        clocked.advance(59_999)
        peer.send(b"x" if b"Length" in start else b"1\r\nx\r\n")
    clocked.advance(59_999)
    client.take()
    assert not client.eof
    assert not client.broken
    clocked.advance(60_001 if spliced else 1)
    rest = client.rest()
    assert b"\r\n\r\n" in rest
    assert not rest.endswith(b"0\r\n\r\n")
    assert clocked.errors() == {"read_timeout": 1}
    assert clocked.of(origin)["errors"] == {"read_timeout": 1}
    assert cut(peer)


def test_between_bytes_timeout_of_an_answer_without_length(clocked: Rig) -> None:
    """To an HTTP/1.0 client only a reset tells that it is not whole."""
    origin = clocked.origin()
    clocked.serve(origin, action={"between_bytes_ms": 60_000})
    client = clocked.connect()
    client.send(get("/", version="1.0"))
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    client.read(10)
    clocked.advance(60_000)
    clocked.advance(60_000)
    assert client.was_reset()


def test_write_timeout(clocked: Rig) -> None:
    """The origin stops taking the request."""
    origin = clocked.origin(receive_bytes=4096)
    clocked.listen(receive_bytes=65_536)
    clocked.serve(origin, action={"between_bytes_ms": 10_000}, min_body_rate=0)
    client = clocked.connect()
    client.send(get("/", f"Content-Length: {20 * MIB}", method="PUT") + b"x" * (20 * MIB))
    peer = origin.accept()
    clocked.at_rest(lambda: client.unsent)
    assert client.unsent > 0
    clocked.advance(9_999)
    assert clocked.requests() == {}
    clocked.advance(10_001)
    client.unsent_dropped()
    response = client.response()
    assert (response.status, response.field("connection")) == (504, "close")
    assert clocked.errors() == {"write_timeout": 1}
    assert clocked.of(origin)["errors"] == {"write_timeout": 1}
    peer.close()


def test_total_timeout(clocked: Rig) -> None:
    origin = clocked.origin()
    clocked.serve(origin, action={"total_ms": 5_000})
    client = clocked.connect()
    client.send(get())
    origin.asked()
    clocked.advance(4_999)
    assert client.silent()
    clocked.advance(1)
    response = client.response()
    assert response.status == 504
    assert clocked.errors() == {"total_timeout": 1}
    assert clocked.of(origin)["errors"] == {"first_byte_timeout": 1}, "the server used the time up"
    client.send(get())  # the timer is the exchange's own: the next one has its full time
    peer, _ = origin.asked()
    clocked.advance(4_999)
    peer.send(OK)
    assert client.response().status == 200
    clocked.advance(10_000)
    assert client.silent()


def test_total_timeout_within_the_answer(clocked: Rig) -> None:
    origin = clocked.origin()
    clocked.serve(origin, action={"total_ms": 5_000})
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        clocked.advance(999)
        peer.send(b"1\r\nx\r\n")
    clocked.settle()
    client.take()
    assert not client.eof
    clocked.advance(5)
    assert not client.rest().endswith(b"0\r\n\r\n")
    assert clocked.errors() == {"total_timeout": 1}


@pytest.mark.parametrize("setting", ["first_byte_ms", "between_bytes_ms", "connect_ms"])
def test_zero_is_no_limit(clocked: Rig, setting: str) -> None:
    origin = clocked.origin()
    action = {"first_byte_ms": 10_000_000, "between_bytes_ms": 10_000_000}
    target = {"connect_ms": 10_000_000}
    (target if setting == "connect_ms" else action)[setting] = 0
    clocked.serve(origin, action=action, target=target, min_body_rate=0)
    client = clocked.connect()
    client.send(post("/", b"body")[:-1])
    clocked.advance(1_000_000)
    peer = origin.accept()
    client.send(b"y")
    peer.request()
    clocked.advance(1_000_000)
    peer.send(OK[:-1])
    clocked.advance(1_000_000)
    peer.send(OK[-1:])
    assert client.response().status == 200
    assert clocked.errors() == {}


def test_pool_idle(clocked: Rig) -> None:
    origin = clocked.origin()
    clocked.serve(origin, upstream={"pool_idle_ms": 50_000})
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(OK)
    client.response()
    clocked.advance(49_999)
    assert peer.silent()
    clocked.advance(1)
    assert peer.ended()
    stats = clocked.of(origin)
    assert (stats["opened"], stats["connections_idle"], stats["connections_active"]) == (1, 0, 0)


def test_pool_idle_zero_is_no_limit(clocked: Rig) -> None:
    origin = clocked.origin().serve()
    clocked.serve(origin, upstream={"pool_idle_ms": 0})
    client = clocked.connect()
    client.send(get())
    client.response()
    clocked.advance(60_000)
    assert clocked.of(origin)["connections_idle"] == 1
