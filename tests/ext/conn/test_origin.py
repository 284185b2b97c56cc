"""Idle origin connections: reused last in first out, bounded, left when the origin ends them."""

from __future__ import annotations

import pytest

from tests.support.engine import OK, Rig, get
from tests.support.wire import Origin, Peer


def busy(rig: Rig, origin: Origin, count: int) -> list[tuple[Peer, Peer]]:
    """So many exchanges at once: (client, origin's side) each."""
    pairs = []
    for _ in range(count):
        client = rig.connect()
        client.send(get())
        peer, _ = origin.asked()
        pairs.append((client, peer))
    return pairs


def finish(rig: Rig, pairs: list[tuple[Peer, Peer]]) -> None:
    for client, peer in pairs:
        peer.send(OK)
        assert client.response().body == b"ok"
    rig.until(lambda: rig.of(rig.origins[0])["connections_active"] == 0, "all are parked or closed")


def test_last_in_first_out(clocked: Rig) -> None:
    """The connection used last is used first: the others may grow old and go."""
    origin = clocked.origin()
    clocked.serve(origin)
    pairs = busy(clocked, origin, 3)
    finish(clocked, [pairs[1], pairs[0], pairs[2]])
    assert clocked.of(origin)["connections_idle"] == 3
    for expected in (2, 0, 1):
        pairs[0][0].send(get() if expected == 2 else b"")
    assert pairs[2][1].request().target == "/"
    pairs[1][0].send(get())
    assert pairs[0][1].request().target == "/"
    pairs[2][0].send(get())
    assert pairs[1][1].request().target == "/"
    stats = clocked.of(origin)
    assert (stats["opened"], stats["connections_idle"], stats["connections_active"], stats["in_flight"]) == (3, 0, 3, 3)
    for _, peer in pairs:
        peer.send(OK)
    for client, _ in pairs:
        assert client.response().status == 200


@pytest.mark.parametrize("most", [0, 1, 2])
def test_bound(rig: Rig, most: int) -> None:
    """`pool.max` idle connections a server, over all engines; the rest is closed."""
    origin = rig.origin()
    rig.serve(origin, upstream={"pool_max": most})
    pairs = busy(rig, origin, 5)
    finish(rig, pairs)
    assert rig.of(origin)["connections_idle"] == most
    closed = 0
    for _, peer in pairs:
        peer.take()
        closed += peer.eof
    assert closed == 5 - most


def test_bound_under_threads(threaded: Rig) -> None:
    """Never exceeded, not even for a moment, when engines park at the same time."""
    origin = threaded.origin().serve()
    threaded.serve(origin, upstream={"pool_max": 3})
    clients = [threaded.connect() for _ in range(16)]
    for _ in range(60):
        for client in clients:
            client.send(get())
        for client in clients:
            assert client.response().status == 200
            assert threaded.of(origin)["connections_idle"] <= 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_origin_that_closes(rig: Rig, answer: bytes) -> None:
    origin = rig.origin().serve(answer)
    rig.serve(origin)
    client = rig.connect()
    for _ in range(3):
        client.send(get())
        assert client.response().body == b"ok"
    stats = rig.of(origin)
    assert (stats["opened"], stats["connections_idle"]) == (3, 0)


def test_http_1_0_origin_that_keeps(rig: Rig) -> None:
    origin = rig.origin().serve(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
    rig.serve(origin)
    client = rig.connect()
    for _ in range(3):
        client.send(get())
        assert client.response().body == b"ok"
    assert rig.of(origin)["opened"] == 1


def test_servers_do_not_share(rig: Rig) -> None:
    """A connection serves its own server only."""
    origins = [rig.origin().serve() for _ in range(3)]
    rig.serve(*origins)
    client = rig.connect()
    for i in range(9):
        client.send(get())
        assert client.response().body == origins[i % 3].label.encode()
    assert [rig.of(origin)["opened"] for origin in origins] == [1, 1, 1]


def test_counters(rig: Rig) -> None:
    """Bytes both ways, connections in each state."""
    origin = rig.origin()
    rig.serve(origin)
    [(client, peer)] = busy(rig, origin, 1)
    stats = rig.of(origin)
    assert (stats["in_flight"], stats["connections_active"], stats["connections_idle"], stats["opened"]) == (1, 1, 0, 1)
    finish(rig, [(client, peer)])
    stats = rig.of(origin)
    assert (stats["in_flight"], stats["connections_active"], stats["connections_idle"], stats["opened"]) == (0, 0, 1, 1)
    assert stats["bytes_in"] == len(OK)
    assert stats["bytes_out"] > len(get())
    histograms = rig.states["app"].stats()
    assert histograms["connect_seconds"]["count"] == histograms["response_seconds"]["count"] == 1
    assert sum(histograms["response_seconds"]["buckets"]) == 1


def test_drain_closes_the_pool(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin)
    pairs = busy(rig, origin, 2)
    finish(rig, pairs)
    for engine in rig.engines:
        engine.drain()
    for _, peer in pairs:
        assert peer.ended()
    assert rig.of(origin)["connections_idle"] == 0
