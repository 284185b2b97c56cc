"""Tunnels: a WebSocket upgrade turns the two connections into two byte streams."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Peer

MIB = 1 << 20
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def noise(size: int, seed: int) -> bytes:
    """Bytes in which a lost, doubled or moved piece shows."""
    return hashlib.shake_128(b"%d" % seed).digest(size)


def tunnel(
    rig: Rig, *, behind_request: bytes = b"", behind_switch: bytes = b"", client_buffer: int = 0, origin_buffer: int = 0, **settings: Any
) -> tuple[Peer, Peer]:
    """A client and an origin with an open tunnel between them."""
    origin = rig.origin(receive_bytes=origin_buffer, send_bytes=origin_buffer)
    if client_buffer:
        rig.listen(send_bytes=client_buffer, receive_bytes=client_buffer)
    rig.serve(origin, **settings)
    client = rig.connect(receive_bytes=client_buffer, send_bytes=client_buffer)
    client.send(get("/chat", *UPGRADE) + behind_request)
    peer, request = origin.asked()
    assert request.field("connection") == "Upgrade"
    assert request.field("upgrade") == "websocket"
    assert request.field("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
    peer.send(SWITCH + behind_switch)
    response = client.response()
    assert response.status == 101
    assert (response.field("connection"), response.field("upgrade")) == ("Upgrade", "websocket")
    assert response.field("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert response.all("content-length") == response.all("transfer-encoding") == []
    return client, peer


def test_both_directions(rig: Rig) -> None:
    client, peer = tunnel(rig)
    for i in range(50):
        client.send(b"ping%d" % i)
        assert peer.read(5 + (i > 9)) == b"ping%d" % i
        peer.send(b"pong%d" % i)
        assert client.read(5 + (i > 9)) == b"pong%d" % i
    client.half_close()
    assert peer.ended()
    peer.send(b"still here")
    assert client.read(10) == b"still here"
    peer.half_close()
    assert client.ended()
    rig.counted("GET", 101)
    stats = rig.stats_of("web", "all").stats()
    assert stats["bytes_in"] == sum(len(b"ping%d" % i) for i in range(50))
    assert rig.of(rig.origins[0])["requests"] == {101: 1}
    assert rig.of(rig.origins[0])["connections_idle"] == 0
    assert rig.errors() == {}


@pytest.mark.parametrize(
    ("request_rest", "switch_rest"), [(b"early", b""), (b"", b"early"), (b"both", b"of them"), (b"x" * 100_000, b"y" * 200_000)]
)
def test_bytes_right_behind(rig: Rig, request_rest: bytes, switch_rest: bytes) -> None:
    """What stands behind the upgrade request or behind the 101 belongs to the tunnel."""
    client, peer = tunnel(rig, behind_request=request_rest, behind_switch=switch_rest)
    assert peer.read(len(request_rest)) == request_rest
    assert client.read(len(switch_rest)) == switch_rest
    client.send(b"on")
    assert peer.read(2) == b"on"
    peer.half_close()
    client.half_close()
    assert client.ended()
    assert peer.ended()


def test_bytes_behind_the_request_wait_for_the_switch(rig: Rig) -> None:
    """They are not sent to an origin that may refuse; then they are the next request."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/chat", *UPGRADE) + get("/next"))
    peer, _ = origin.asked()
    assert peer.silent()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrefused")
    assert client.response().body == b"refused"
    assert peer.request().target == "/next"
    peer.send(OK)
    assert client.response().body == b"ok"


@pytest.mark.parametrize("first", ["client", "origin"])
def test_half_close_either_way(rig: Rig, first: str) -> None:
    """An end is passed on; the other direction lives until it ends, too."""
    client, peer = tunnel(rig)
    ends, lives = (client, peer) if first == "client" else (peer, client)
    ends.send(b"bye")
    ends.half_close()
    assert lives.read(3) == b"bye"
    assert lives.ended()
    for _ in range(5):
        lives.send(b"more")
        assert ends.read(4) == b"more"
    lives.half_close()
    assert ends.ended()
    rig.until(lambda: rig.total("exchanges") == 0, "the tunnel is over")


@pytest.mark.parametrize("who", ["client", "origin"])
def test_reset(rig: Rig, who: str) -> None:
    client, peer = tunnel(rig)
    (client if who == "client" else peer).reset()
    other = peer if who == "client" else client
    assert other.was_reset() or other.eof
    rig.counted("GET", 101)
    assert rig.errors() == ({"client_closed": 1} if who == "client" else {"upstream_reset": 1})


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_much_data(rig: Rig, direction: str) -> None:
    """More each way than the kernel holds; memory stays bounded although nobody reads at first."""
    bound = 128 * 1024
    client, peer = tunnel(rig, client_buffer=65536, origin_buffer=65536, buffer=bound)
    up, down = noise(24 * MIB, 1), noise(24 * MIB, 2)
    if direction != "down":
        client.send(up)
    if direction != "up":
        peer.send(down)
    rig.at_rest(lambda: (client.unsent, peer.unsent))
    assert client.unsent + peer.unsent > 0
    # A buffer that was full may take one more read of up to 64 KiB, and comes in power-of-two classes.
    assert rig.total("buffers_bytes") <= 4 * (bound + 65536)
    if direction != "down":
        assert peer.read(len(up)) == up
    if direction != "up":
        assert client.read(len(down)) == down
    client.half_close()
    peer.half_close()
    assert client.ended()
    assert peer.ended()
    rig.until(lambda: rig.total("exchanges") == 0, "the tunnel is logged")
    stats = rig.stats_of("web", "all").stats()
    assert stats["bytes_in"] == (len(up) if direction != "down" else 0)
    assert stats["bytes_out"] >= (len(down) if direction != "up" else 0)


@pytest.mark.parametrize("sender", ["client", "origin"])
def test_half_close_behind_much_data(rig: Rig, sender: str) -> None:
    """The receiving side has ended its own direction already, and reads late: still every byte arrives before the end."""
    client, peer = tunnel(rig, client_buffer=65536, origin_buffer=65536)
    source, sink = (client, peer) if sender == "client" else (peer, client)
    data = noise(24 * MIB, 3)
    sink.half_close()
    assert source.ended()
    source.send(data)
    source.half_close()
    rig.at_rest(lambda: source.unsent)
    assert source.unsent > 0
    assert sink.read(len(data)) == data
    assert sink.ended()
    assert rig.errors() == {}


def test_idle_timeout(clocked: Rig) -> None:
    client, peer = tunnel(clocked, action={"tunnel_idle_ms": 3_600_000})
    clocked.advance(3_599_999)
    client.send(b"a")
    assert peer.read(1) == b"a"
    clocked.advance(3_599_999)
    peer.send(b"b")
    assert client.read(1) == b"b"
    clocked.advance(3_599_999)
    assert client.silent()
    clocked.advance(1)
    assert client.ended()
    assert peer.was_reset() or peer.eof


def test_other_timeouts_do_not_touch_it(clocked: Rig) -> None:
    client, peer = tunnel(
        clocked,
        action={"tunnel_idle_ms": 0, "first_byte_ms": 1000, "between_bytes_ms": 1000, "total_ms": 1000},
        idle_ms=1000,
        header_ms=1000,
    )
    clocked.advance(100_000)
    client.send(b"a")
    assert peer.read(1) == b"a"
    peer.send(b"b")
    assert client.read(1) == b"b"


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
        ("Connection: Upgrade", "Upgrade: websocket, h2c"),
        ("Connection: Upgrade", "Upgrade: foo"),
        ("Upgrade: websocket",),
    ],
)
def test_upgrades_that_do_not_pass(rig: Rig, fields: tuple[str, ...]) -> None:
    """They are dropped, and the request is served as an ordinary one."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", *fields))
    peer, request = origin.asked()
    assert request.all("upgrade") == request.all("connection") == []
    peer.send(OK)
    assert client.response().body == b"ok"


@pytest.mark.parametrize(
    "sent",
    [
        get(),
        get("/", "Connection: Upgrade", "Upgrade: h2c"),
        post("/", b"body", *UPGRADE),
        get("/", *UPGRADE, version="1.0"),
        post("/", b"body", *UPGRADE, method="GET"),
    ],
)
def test_switch_that_nobody_asked_for(rig: Rig, sent: bytes) -> None:
    """502: bytes of another protocol never reach a client that speaks HTTP."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(sent)
    peer, _ = origin.asked()
    peer.send(SWITCH + b"other protocol")
    response = client.response()
    assert response.status == 502
    assert b"other protocol" not in response.body
    assert response.field("proxy-status") == 'proxyd; error=http_upgrade_failed; details="upgrade_unexpected"'
    assert peer.was_reset() or peer.eof


def test_switch_to_something_else(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", *UPGRADE))
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tls\r\n\r\n")
    assert client.response().status == 502


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "426 Upgrade Required"])
def test_refused_by_the_origin(rig: Rig, status: str) -> None:
    """An ordinary answer; the connection goes on as HTTP, and the origin's is reused."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", *UPGRADE))
    peer, _ = origin.asked()
    peer.send(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode())
    assert client.response().body == b"no"
    client.send(get())
    assert peer.request().target == "/"
    peer.send(OK)
    assert client.response().body == b"ok"


def test_drain_lets_it_live(rig: Rig) -> None:
    client, peer = tunnel(rig)
    for engine in rig.engines:
        engine.drain()
    for _ in range(3):
        client.send(b"ping")
        assert peer.read(4) == b"ping"
        peer.send(b"pong")
        assert client.read(4) == b"pong"
    client.half_close()
    peer.half_close()
    assert client.ended()
    for _ in rig.engines:
        rig.event("drained")
