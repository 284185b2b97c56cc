"""A client's connection: its clocks, its last bytes, its end."""

from __future__ import annotations

import pytest

from proxyd_ext.snapshot.spec import ProxyAction, RouteSpec, TargetSpec
from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Peer

MIB = 1 << 20


def gone(rig: Rig) -> bool:
    return rig.total("connections") == 0


def test_head_timeout(clocked: Rig) -> None:
    """A head that does not arrive in time is answered 408, counted, and its connection closed."""
    clocked.serve(clocked.origin(), header_ms=10_000)
    client = clocked.connect()
    client.send(b"GET / HTTP/1.1\r\nX: ")
    clocked.settle()
    for _ in range(9):
        clocked.advance(1_000)
        client.send(b"y")  # bytes that dribble do not buy time
    clocked.advance(999)
    assert client.silent()
    clocked.advance(1)
    response = client.response()
    assert (response.status, response.field("connection")) == (408, "close")
    assert client.ended()
    assert clocked.requests("-") == {("OTHER", 408): 1}
    assert clocked.errors("-") == {"head_timeout": 1}
    assert clocked.listeners["web"].stats()["rejected"] == {"head_timeout": 1}


def test_first_request_must_come_within_the_head_timeout(clocked: Rig) -> None:
    """A connection that says nothing is closed without an answer: nothing was asked."""
    clocked.serve(clocked.origin(), header_ms=10_000, idle_ms=75_000)
    client = clocked.connect()
    clocked.advance(9_999)
    assert client.silent()
    clocked.advance(1)
    assert client.ended()
    assert clocked.listeners["web"].stats()["rejected"] == {"head_timeout": 1}
    assert clocked.requests("-") == {}


def test_idle_timeout(clocked: Rig) -> None:
    clocked.serve(clocked.origin().serve(), header_ms=10_000, idle_ms=75_000)
    client = clocked.connect()
    client.send(get())
    client.response()
    clocked.advance(74_999)
    assert client.silent()
    client.send(get())
    client.response()
    clocked.advance(74_999)
    assert client.silent()
    clocked.advance(1)
    assert client.ended()
    stats = clocked.listeners["web"].stats()
    assert (stats["accepted"], stats["open"], stats["rejected"], stats["in_flight"]) == (1, 0, {}, 0)


def test_head_timeout_counts_from_the_first_byte_of_each_head(clocked: Rig) -> None:
    clocked.serve(clocked.origin().serve(), header_ms=10_000, idle_ms=75_000)
    client = clocked.connect()
    client.send(get())
    client.response()
    clocked.advance(60_000)
    client.send(b"G")
    clocked.advance(9_999)
    assert client.silent()
    clocked.advance(1)
    assert client.response().status == 408


def test_zero_is_no_limit(clocked: Rig) -> None:
    """snapshot/spec.py: times of 0 are no limit."""
    clocked.serve(clocked.origin().serve(), header_ms=0, idle_ms=0)
    client = clocked.connect()
    clocked.advance(1_000_000)
    client.send(b"GET / HTTP/1.1\r\n")
    clocked.advance(1_000_000)
    assert client.silent()
    client.send(b"Host: a\r\n\r\n")
    assert client.response().status == 200
    clocked.advance(1_000_000)
    client.send(get())
    assert client.response().status == 200


def test_minimum_body_rate(clocked: Rig) -> None:
    """After 5 s a body must have come at min_body_rate on average."""
    origin = clocked.origin()
    clocked.serve(origin, min_body_rate=100)
    client = clocked.connect()
    client.send(get("/", "Content-Length: 100000", method="POST") + b"x" * 400)
    peer = origin.accept()
    peer.head()
    clocked.advance(4_999)
    assert client.silent()
    client.send(b"x" * 200)
    clocked.advance(500)
    for _ in range(10):  # 100 a second
        assert client.silent()
        client.send(b"x" * 100)
        clocked.advance(1_000)
    assert client.silent()
    for _ in range(10):  # and then 10
        client.send(b"x" * 10)
        clocked.advance(1_000)
    response = client.response()
    assert (response.status, response.field("connection")) == (408, "close")
    assert clocked.errors() == {"body_timeout": 1}
    assert peer.was_reset() or peer.eof
    assert clocked.of(origin)["errors"] == {}


def test_minimum_body_rate_is_off(clocked: Rig) -> None:
    origin = clocked.origin()
    clocked.serve(origin, min_body_rate=0, action={"between_bytes_ms": 3_000_000})
    client = clocked.connect()
    client.send(get("/", "Content-Length: 4", method="POST") + b"b")
    peer = origin.accept()
    peer.head()
    clocked.advance(1_000_000)
    client.send(b"ody")
    assert peer.read(4) == b"body"
    peer.send(OK)
    assert client.response().status == 200


def test_slow_origin_is_not_the_clients_fault(clocked: Rig) -> None:
    """While the origin takes nothing, the client's rate is not measured."""
    origin = clocked.origin(receive_bytes=4096)
    clocked.listen(receive_bytes=65_536)
    clocked.serve(origin, min_body_rate=1000, action={"between_bytes_ms": 50_000})
    client = clocked.connect()
    client.send(get("/", f"Content-Length: {20 * MIB}", method="POST") + b"x" * (20 * MIB))
    peer = origin.accept()
    peer.head()
    peer.received.clear()
    for _ in range(40):
        clocked.advance(1_000)
    assert clocked.requests() == {}
    assert client.unsent > 0


def stand_still(clocked: Rig, size: int, chunked: bool) -> tuple[Peer, Peer]:
    """An answer that cannot go on, because the client does not read: (client, origin)."""
    origin = clocked.origin(send_bytes=1 << 17)
    clocked.listen(send_bytes=1 << 17)
    clocked.serve(origin, action={"between_bytes_ms": 10_000})
    client = clocked.connect(receive_bytes=1 << 17)
    client.send(get())
    peer, _ = origin.asked()
    if chunked:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size))
    else:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (size, b"x" * size))
    clocked.at_rest(lambda: peer.unsent)
    assert peer.unsent > 0
    return client, peer


@pytest.mark.parametrize("chunked", [False, True])
def test_stalled_client(clocked: Rig, chunked: bool) -> None:
    """A client that takes nothing of its answer for 60 s is cut off."""
    _, peer = stand_still(clocked, 16 * MIB, chunked)
    for _ in range(59):
        clocked.advance(1_000)
    assert clocked.total("exchanges") == 1
    for _ in range(61):
        clocked.advance(1_000)
    clocked.until(lambda: gone(clocked), "the client is cut off")
    assert clocked.errors() == {"client_stalled": 1}
    assert peer.was_reset() or peer.eof
    assert clocked.of(clocked.origins[0])["errors"] == {}


@pytest.mark.parametrize("chunked", [False, True])
def test_slow_client_that_goes_on(clocked: Rig, chunked: bool) -> None:
    """As long as it takes something now and then it is served, whatever the origin's clocks say."""
    client, _ = stand_still(clocked, 16 * MIB, chunked)
    for i in range(1, 20):
        client.read_on(400_000 * i)
        clocked.advance(30_000)
    assert len(client.response().body) == 16 * MIB
    clocked.counted("GET", 200)
    assert clocked.errors() == {}


def end_standing_still(clocked: Rig, *fields: str) -> tuple[Peer, int]:
    """An exchange that is over, its last 900 kB still in our backlog because the client does not read."""
    origin = clocked.origin()
    clocked.listen(send_bytes=1 << 16)
    clocked.serve(origin, idle_ms=75_000, buffer=MIB)
    client = clocked.connect(receive_bytes=1 << 16)
    client.send(get("/", *fields))
    peer, _ = origin.asked()
    size = 900_000
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size))
    clocked.until(lambda: clocked.total("exchanges") == 0, "the exchange is over")
    clocked.at_rest(lambda: clocked.total("buffers_bytes"))
    assert clocked.total("buffers_bytes") > 600_000
    return client, size


@pytest.mark.parametrize("fields", [(), ("Connection: close",)])
def test_slow_end_of_an_answer(clocked: Rig, fields: tuple[str, ...]) -> None:
    """A client that takes the last bytes slowly, but takes them, gets them all."""
    client, size = end_standing_still(clocked, *fields)
    for i in range(1, 6):
        client.read_on(150_000 * i)
        clocked.advance(50_000)
    assert len(client.response().body) == size


@pytest.mark.parametrize("fields", [(), ("Connection: close",)])
def test_stalled_end_of_an_answer(clocked: Rig, fields: tuple[str, ...]) -> None:
    """And one that takes nothing for long is cut off."""
    end_standing_still(clocked, *fields)
    for _ in range(150):
        clocked.advance(1_000)
    clocked.until(lambda: gone(clocked), "the client is cut off")


def test_lingering_close(clocked: Rig) -> None:
    """After an answer that ends the connection we say FIN and read on for 5 s, so that the answer is not lost to a reset."""
    origin = clocked.origin()
    clocked.serve(origin, body_size=1000)
    client = clocked.connect()
    client.send(get("/", "Content-Length: 100000", method="POST"))
    assert client.response().status == 413
    assert client.ended()
    assert clocked.total("connections") == 1
    client.send(b"x" * 1000)
    clocked.advance(4_999)
    assert not client.broken
    assert clocked.total("connections") == 1
    clocked.advance(1)
    assert clocked.total("connections") == 0
    assert not origin.waiting()


def test_lingering_close_reads_a_bounded_amount(rig: Rig) -> None:
    """Whoever goes on sending after our FIN is reset after 16 MiB."""
    rig.serve(rig.origin(), body_size=1000)
    client = rig.connect()
    client.send(get("/", f"Content-Length: {64 * MIB}", method="POST"))
    assert client.response().status == 413
    client.send(bytes(64 * MIB))
    rig.until(lambda: client.refused, "the reset")
    assert gone(rig)


def test_lingering_ends_with_the_clients_fin(rig: Rig) -> None:
    rig.serve(rig.origin(), body_size=1000)
    client = rig.connect()
    client.send(get("/", "Content-Length: 100000", method="POST"))
    assert client.response().status == 413
    client.half_close()
    rig.until(lambda: gone(rig), "gone")


def test_body_size(rig: Rig) -> None:
    """A chunked body is measured as it comes."""
    origin = rig.origin().serve()
    rig.serve(origin, body_size=1000)
    client = rig.connect()
    client.send(post("/", b"x" * 1000))
    assert client.response().status == 200
    client.send(post("/", b"x" * 1001))
    assert client.response().status == 413
    assert len(origin.requests) == 1
    client = rig.connect()
    client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n0\r\n\r\n")
    assert client.response().status == 413
    assert client.ended()
    assert (
        rig.errors() | rig.errors("-") == {"body_too_large": 2}
        or rig.errors()["body_too_large"] + rig.errors("-").get("body_too_large", 0) == 2
    )


def test_idle_connections_hold_no_buffer(rig: Rig) -> None:
    origin = rig.origin().serve()
    rig.serve(origin)
    clients = [rig.connect() for _ in range(20)]
    for client in clients:
        client.send(get())
        assert client.response().status == 200
    rig.until(lambda: rig.total("buffers_bytes") == 0, "no buffer is out")
    assert rig.total("connections") == 20
    stats = rig.listeners["web"].stats()
    assert (stats["accepted"], stats["open"], stats["rejected"], stats["in_flight"]) == (20, 20, {}, 0)


def test_ipv6_and_unix_clients(rig: Rig, tmp_path: object) -> None:
    origin = rig.origin().serve()
    rig.listen("six", host="::1")
    rig.listen("local", path=f"{tmp_path}/s")
    route = rig.upstream(origin)
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]))], [route], listeners=["six", "local"])
    for name in ("six", "local", "six", "local"):
        client = rig.connect(name)
        client.send(get())
        assert client.response().status == 200
    assert [request.field("x-forwarded-for") for request in origin.requests] == ["::1", "unix", "::1", "unix"]


def test_clients_that_come_and_go(rig: Rig) -> None:
    """Two hundred connections in a row, closed in every way."""
    origin = rig.origin().serve()
    rig.serve(origin)
    for i in range(200):
        client = rig.connect()
        if i % 2:
            client.send(get())
            assert client.response().status == 200
        (client.close, client.reset, client.half_close)[i % 3]()
    rig.until(lambda: gone(rig), "gone")
    assert rig.listeners["web"].stats()["accepted"] == 200
