"""PROXY headers on flows: read from those who may send them, written to servers that want them."""

from __future__ import annotations

import socket
import struct

import pytest

from proxyd_ext.snapshot.spec import AccessFilter
from tests.support.engine import Rig
from tests.support.flows import await_end, pair, serve_flows, stats
from tests.support.wire import Origin, Peer

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 5432\r\n"
V2 = SIGNATURE + b"\x21\x11\0\x0c" + socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 4711, 5432)
LOCAL = SIGNATURE + b"\x20\0\0\0"


def sent_header(origin: Origin) -> tuple[Peer, bytes]:
    """The connection at the server and the version 2 header on it."""
    peer = origin.accept()
    head = peer.read(16)
    assert head.startswith(SIGNATURE)
    return peer, head + peer.read(int.from_bytes(head[14:16], "big"))


@pytest.mark.parametrize("header", [V1, V2])
def test_the_client_is_whom_the_header_names(rig: Rig, header: bytes) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, proxy=["127.0.0.1/32"], upstream={"proxy": 1}, access=AccessFilter(allow=["192.0.2.0/24"]))
    client = rig.connect()
    client.send(header + b"hello")
    peer = origin.accept()
    assert peer.line() == V1
    assert peer.read(5) == b"hello"


def test_byte_by_byte(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, proxy=["127.0.0.1/32"])
    client = rig.connect()
    for byte in V1 + b"x":
        client.send(bytes([byte]))
        rig.turn()
    assert origin.accept().read(1) == b"x"


def test_a_local_connection_is_the_peers(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, proxy=["127.0.0.1/32"], upstream={"proxy": 2})
    client = rig.connect()
    client.send(LOCAL)
    _, header = sent_header(origin)
    port = client.sock.getsockname()[1]
    assert header[12:16] == b"\x21\x11\0\x0c"
    assert header[16:24] == socket.inet_aton("127.0.0.1") * 2
    assert header[24:] == struct.pack("!HH", port, rig.ports["web"])


def test_with_a_checksum_and_an_id(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, upstream={"proxy": 2, "proxy_crc": True, "proxy_unique_id": True})
    rig.connect()
    _, header = sent_header(origin)
    fields, rest = {}, header[28:]
    while rest:
        kind, size = rest[0], int.from_bytes(rest[1:3], "big")
        fields[kind], rest = rest[3 : 3 + size], rest[3 + size :]
    assert len(fields[3]) == 4
    assert len(bytes.fromhex(fields[5].decode())) == 8


def test_a_server_that_speaks_first_has_the_header_first(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, upstream={"proxy": 1})
    client, peer = pair(rig, origin)
    assert peer.line().startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
    peer.send(b"ready")
    assert client.read(5) == b"ready"
    assert stats(rig)["bytes_in"] == 0


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.2.3.4\r\n", SIGNATURE + b"\x31\x11\0\x0c" + bytes(12)])
def test_what_is_no_header_ends(rig: Rig, sent: bytes) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, proxy=["127.0.0.1/32"])
    client = rig.connect()
    client.send(sent)
    rig.until(lambda: client.over(), "the connection ends")
    await_end(rig, "refused")
    assert stats(rig)["rejected"] == {"proxy_header": 1}


def test_a_stranger_may_not_introduce_anybody(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, proxy=["10.0.0.0/8"])
    assert rig.connect().ended()
    assert stats(rig)["rejected"] == {"proxy_header": 1}


def test_whom_the_header_names_may_be_refused(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, proxy=["127.0.0.1/32"], access=AccessFilter(deny=["192.0.2.7/32"], default_allow=True), per_client=1)
    client = rig.connect()
    client.send(V1)
    await_end(rig, "refused")
    other = V1.replace(b"192.0.2.7", b"192.0.2.8")
    for _ in range(2):
        rig.connect().send(other)
    await_end(rig, "refused", 2)
    assert stats(rig)["rejected"] == {"denied": 1, "client_limit": 1}


def test_the_header_must_come_in_time(clocked: Rig) -> None:
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin, proxy=["127.0.0.1/32"], header_ms=3_000)
    client = rig.connect()
    client.send(V1[:20])
    rig.settle()
    rig.advance(3_000)
    assert client.ended()
    assert stats(rig)["rejected"] == {"proxy_header": 1}
