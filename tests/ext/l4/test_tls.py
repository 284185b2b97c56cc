"""Flows that begin with a ClientHello: which route they take, and what those are told that take none."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from proxyd_ext.snapshot.spec import FlowRoute, TargetSpec
from tests.support.engine import Rig
from tests.support.flows import await_end, serve_flows, stats
from tests.support.wire import Origin, Peer

UNRECOGNIZED_NAME, NO_PROTOCOL, DECODE_ERROR, INTERNAL_ERROR, UNEXPECTED, VERSION = 112, 120, 50, 80, 10, 70


def hello(name: str | None = None, alpn: tuple[str, ...] = ()) -> bytes:
    """What Python's ssl sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def alert(code: int) -> bytes:
    return bytes([21, 3, 3, 0, 2, 2, code])


def names(rig: Rig, **settings: Any) -> tuple[Origin, Origin, Origin]:
    """a.test goes to the first, *.deep.test with h2 to the second, everything else with a name to the third."""
    origins = rig.origin(), rig.origin(), rig.origin()
    uses = [rig.upstream(origin, name=f"u{i}") for i, origin in enumerate(origins)]
    routes = [
        FlowRoute("no-name", [], names=[""]),
        FlowRoute("a", [TargetSpec(0)], names=["a.test"]),
        FlowRoute("deep", [TargetSpec(1)], names=["*.deep.test"], alpn=["h2"]),
        FlowRoute("b", [TargetSpec(2)], names=["b.test", "x.deep.test"]),
    ]
    serve_flows(rig, routes=routes, upstreams=uses, kind="tls", **settings)
    return origins


def answered(origin: Origin, client: Peer, sent: bytes) -> None:
    peer = origin.accept()
    assert peer.read(len(sent)) == sent
    peer.send(b"server's hello")
    assert client.read(14) == b"server's hello"
    client.send(b"finished")
    assert peer.read(8) == b"finished"


def test_names_choose_servers(rig: Rig) -> None:
    first, second, third = names(rig)
    for origin, name, protocols in [
        (first, "a.test", ()), (first, "A.TEST", ("h2",)), (second, "x.y.deep.test", ("h2", "http/1.1")), (third, "b.test", ("h2",)),
        (third, "x.deep.test", ("http/1.1",)),
    ]:
        client, sent = rig.connect(), hello(name, protocols)
        client.send(sent)
        answered(origin, client, sent)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (hello("other.test"), UNRECOGNIZED_NAME),
        (hello("deep.test", ("h2",)), UNRECOGNIZED_NAME),
        (hello("y.deep.test", ("http/1.1",)), NO_PROTOCOL),
        (hello(), UNRECOGNIZED_NAME),
        (b"GET / HTTP/1.1\r\n\r\n", UNEXPECTED),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", DECODE_ERROR),
    ],
)
def test_who_has_no_route_is_told(rig: Rig, sent: bytes, told: int) -> None:
    names(rig)
    client = rig.connect()
    client.send(sent)
    assert client.read(7) == alert(told)
    assert client.ended()
    client.close()
    await_end(rig, "refused")
    assert sum(stats(rig)["rejected"].values()) == 1


def test_a_hello_byte_by_byte(rig: Rig) -> None:
    first, *_ = names(rig)
    client, sent = rig.connect(), hello("a.test")
    for at in range(len(sent)):
        client.send(sent[at : at + 1])
        rig.turn()
    answered(first, client, sent)


def test_a_hello_that_does_not_end(clocked: Rig) -> None:
    rig = clocked
    names(rig, header_ms=5_000)
    client = rig.connect()
    client.send(hello("a.test")[:100])
    rig.settle()
    rig.advance(4_999)
    assert stats(rig)["open"] == 1
    rig.advance(1)
    assert client.ended()
    assert stats(rig)["rejected"] == {"hello": 1}


def test_no_server_is_an_internal_error(rig: Rig) -> None:
    first, *_ = names(rig)
    first.refuse()
    client = rig.connect()
    client.send(hello("a.test"))
    assert client.read(7) == alert(INTERNAL_ERROR)
    assert client.ended()
    client.close()
    await_end(rig, "refused")


def test_a_client_that_leaves_before_its_hello(rig: Rig) -> None:
    names(rig)
    client = rig.connect()
    client.close()
    await_end(rig, "client")
    rig.connect().reset()
    rig.until(lambda: stats(rig)["open"] == 0, "both are gone")


def test_who_does_not_go_is_closed(clocked: Rig) -> None:
    """The alert was sent, and the client neither ends nor resets."""
    rig = clocked
    names(rig)
    client = rig.connect()
    client.send(hello("other.test"))
    assert client.read(7) == alert(UNRECOGNIZED_NAME)
    client.send(b"x" * 10_000)
    rig.settle()
    rig.advance(2_000)
    await_end(rig, "refused")
