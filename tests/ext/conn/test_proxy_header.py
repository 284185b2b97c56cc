"""PROXY headers on HTTP: the client's address on the way in, a header in front of each request's connection on the way out."""

from __future__ import annotations

import pytest

from proxyd_ext.snapshot.spec import AccessFilter
from tests.support.engine import OK, Rig, get

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"


def test_the_client_is_whom_the_header_names(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, proxy=["127.0.0.1/32"])
    client = rig.connect()
    client.send(V1 + get("/", "X-Forwarded-For: 9.9.9.9") + get("/2"))
    peer, request = origin.asked()
    assert request.all("x-forwarded-for") == ["192.0.2.7"]
    peer.send(OK)
    assert client.response().status == 200
    assert peer.request().field("x-forwarded-for") == "192.0.2.7"
    peer.send(OK)
    assert client.response().status == 200


def test_byte_by_byte(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, proxy=["127.0.0.1/32"])
    client = rig.connect()
    for byte in V1 + get():
        client.send(bytes([byte]))
        rig.turn()
    _, request = origin.asked()
    assert request.field("x-forwarded-for") == "192.0.2.7"


def test_a_request_without_a_header_ends(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, proxy=["127.0.0.1/32"])
    client = rig.connect()
    client.send(get())
    rig.until(lambda: client.over(), "the connection ends")
    assert not client.received
    assert rig.listeners["web"].stats()["rejected"] == {"proxy_header": 1}


def test_a_stranger_may_not_introduce_anybody(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, proxy=["10.0.0.0/8"])
    assert rig.connect().ended()
    assert rig.listeners["web"].stats()["rejected"] == {"proxy_header": 1}


def test_the_header_must_come_in_time(clocked: Rig) -> None:
    rig = clocked
    origin = rig.origin()
    rig.serve(origin, proxy=["127.0.0.1/32"], header_ms=3_000)
    client = rig.connect()
    rig.settle()
    rig.advance(3_000)
    assert client.ended()
    assert rig.listeners["web"].stats()["rejected"] == {"proxy_header": 1}


def test_who_may_connect(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, access=AccessFilter(allow=["127.0.0.8/32"]), connections=1)
    assert rig.connect(source="127.0.0.9").ended()
    client = rig.connect(source="127.0.0.8")
    client.send(get())
    peer, _ = origin.asked()
    assert rig.connect(source="127.0.0.8").ended()
    peer.send(OK)
    assert client.response().status == 200
    assert rig.listeners["web"].stats()["rejected"] == {"denied": 1, "connections": 1}


@pytest.mark.parametrize("version", [1, 2])
def test_each_request_has_its_connection_and_header(rig: Rig, version: int) -> None:
    origin = rig.origin()
    rig.serve(origin, upstream={"proxy": version})
    client = rig.connect(source="127.0.0.5")
    for _ in range(2):
        client.send(get())
        peer = origin.accept()
        if version == 1:
            assert peer.line().startswith(b"PROXY TCP4 127.0.0.5 127.0.0.1 ")
        else:
            head = peer.read(16)
            assert head[12:] == b"\x21\x11\0\x0c"
            assert peer.read(12)[:4] == bytes([127, 0, 0, 5])
        peer.request()
        peer.send(OK)
        assert client.response().status == 200
        assert peer.ended()
    assert rig.of(origin)["connections_idle"] == 0
