"""TCP flows of which one side is reset: the other is told by a reset, too, behind what was said before it."""

from __future__ import annotations

import fcntl
import hashlib
import socket
import struct
import termios

import pytest

from tests.support.engine import Rig
from tests.support.flows import await_end, pair, serve_flows, stats
from tests.support.wire import Peer

MIB = 1 << 20


def noise(size: int) -> bytes:
    return hashlib.shake_128(b"resets").digest(size)


def queued(peer: Peer) -> int:
    """Bytes that the kernel of the other side has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(peer.sock, termios.TIOCOUTQ, bytes(4)))[0])


def test_who_is_reset_by_what_still_comes_has_closed(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    client.half_close()
    assert peer.ended()
    client.close()
    peer.send(b"too late")
    assert rig.until(lambda: peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "a reset")
    await_end(rig, "client")


def test_the_last_bytes_of_a_client_that_resets(clocked: Rig) -> None:
    """Both come in one turn: of who writes and does not wait for answers."""
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    client.send(b"PING\r\n")
    assert peer.read(6) == b"PING\r\n"
    client.send(b"SET a 1\r\n")
    client.reset()
    assert peer.was_reset()
    assert bytes(peer.received) == b"SET a 1\r\n"
    await_end(rig, "client_reset")


def test_what_a_pipe_holds_goes_before_the_reset(threaded: Rig) -> None:
    rig = threaded
    origin = rig.origin()
    rig.listen(send_bytes=8192)
    serve_flows(rig, origin)
    client, peer = pair(rig, origin, receive_bytes=4096)
    peer.send(noise(600_000))
    rig.at_rest(lambda: (peer.unsent, stats(rig)["bytes_out"]))
    arrived = 600_000 - peer.unsent - queued(peer)
    peer.reset()
    assert client.was_reset()
    assert arrived > 100_000
    assert len(client.received) >= arrived
    assert noise(600_000).startswith(bytes(client.received))
    await_end(rig, "server_reset")


@pytest.mark.parametrize("more", [100, 20_000])
def test_a_server_that_refuses_what_is_still_being_sent(clocked: Rig, more: int) -> None:
    """It answers and closes with bytes unread, so that sending there fails before its answer is read."""
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    client.send(noise(MIB))
    assert peer.read(MIB) == noise(MIB)
    client.send(noise(60_000))
    rig.at_rest(lambda: stats(rig)["bytes_in"])
    client.send(noise(more))
    peer.send(b"552 too large")
    peer.close()
    assert client.read(13) == b"552 too large"
    rig.advance(100)
    assert client.was_reset()
    await_end(rig, "server_reset")


@pytest.mark.parametrize("more", [100, 20_000])
def test_a_client_that_leaves_what_is_still_being_sent(clocked: Rig, more: int) -> None:
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    peer.send(noise(MIB))
    assert client.read(MIB) == noise(MIB)
    peer.send(noise(60_000))
    rig.at_rest(lambda: stats(rig)["bytes_out"])
    peer.send(noise(more))
    client.send(b"QUIT")
    client.close()
    assert peer.was_reset()
    assert bytes(peer.received) == b"QUIT"
    await_end(rig, "client_reset")


def test_an_alert_for_who_has_ended(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, kind="tls")
    client = rig.connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    client.half_close()
    assert client.read(7)[:1] == b"\x15"
    assert client.ended()
    await_end(rig, "refused")
