"""Limits of requests in flight on the wire: however a request ends, what it counted is given back."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from proxyd_ext.filter.key import hash_key
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.snapshot.spec import HedgeSpec, InflightFilter, LimitKeyPart, RespondAction, RetrySpec, RouteSpec
from tests.support.engine import OK, Rig, get, post
from tests.support.questions import bearer, decision, hooked, script
from tests.support.wire import Origin, Peer

CLIENT = (LimitKeyPart("client.ip"),)
UPGRADE = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def limited(rig: Rig, most: int = 2, *, timeouts: int = 60_000, dry_run: bool = False, status: int = 429) -> tuple[Inflight, Origin]:
    table = Inflight("inflight")
    origin = rig.origin()
    step = InflightFilter("inflight", table, CLIENT, most, status, dry_run)
    rig.serve(origin, filters=[step], action={"first_byte_ms": timeouts}, target={"retry": RetrySpec(attempts=0)})
    return table, origin


def in_flight(table: Inflight) -> int:
    stats = table.stats()      # not of one moment: an engine may be giving back
    return stats["in_flight"] or stats["keys"]


def test_so_many_at_a_time(rig: Rig) -> None:
    table, origin = limited(rig)
    clients = [rig.connect() for _ in range(4)]
    peers = []
    for client in clients[:2]:
        client.send(get())
        peers.append(origin.asked()[0])
    assert in_flight(table) == 2
    for client in clients[2:]:
        client.send(get())
        assert client.response().status == 429
    peers[0].send(OK)
    assert clients[0].response().status == 200
    rig.until(lambda: in_flight(table) == 1, "one is given back")
    clients[3].send(get())
    rig.until(lambda: in_flight(table) == 2, "it is in")
    stats = table.stats()
    assert (stats["passed"], stats["refused"], stats["refused_dry_run"]) == (3, 2, 0)


def test_own_status_and_dry_run(clocked: Rig) -> None:
    _, origin = limited(clocked, 1, status=503)
    one, two = clocked.connect(), clocked.connect()
    one.send(get())
    origin.asked()
    two.send(get())
    answer = two.response()
    assert (answer.status, answer.all("retry-after")) == (503, ["1"])
    one.reset()
    table, origin = limited(clocked, 1, dry_run=True)
    clients = [clocked.connect() for _ in range(3)]
    peers = []
    for client in clients:
        client.send(get())
        peers.append(origin.asked()[0])
    assert (in_flight(table), table.stats()["refused_dry_run"]) == (1, 2)
    for peer in peers:
        peer.send(OK)
    assert [client.response().status for client in clients] == [200] * 3
    assert in_flight(table) == 0


def _answered(rig: Rig, client: Peer, peer: Peer) -> None:
    peer.send(OK)
    assert client.response().status == 200


def _chunked(rig: Rig, client: Peer, peer: Peer) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    client.head()
    peer.send(b"0\r\n\r\n")


def _truncated(rig: Rig, client: Peer, peer: Peer) -> None:
    peer.send(OK[:-1])
    client.head()
    peer.close()


def _garbage(rig: Rig, client: Peer, peer: Peer) -> None:
    peer.send(b"nonsense\r\n\r\n")
    assert client.response().status == 502


def _closed(rig: Rig, client: Peer, peer: Peer) -> None:
    peer.close()
    assert client.response().status == 502


def _client_reset(rig: Rig, client: Peer, peer: Peer) -> None:
    client.reset()


def _client_reset_in_the_answer(rig: Rig, client: Peer, peer: Peer) -> None:
    peer.send(OK[:-1])
    client.head()
    client.reset()


def _engines_closed(rig: Rig, client: Peer, peer: Peer) -> None:
    for engine in rig.engines:
        engine.close()
        if rig.mode == "inline":
            engine.poll()


@pytest.mark.parametrize(
    "end", [_answered, _chunked, _truncated, _garbage, _closed, _client_reset, _client_reset_in_the_answer, _engines_closed]
)
def test_given_back(rig: Rig, end: Callable[[Rig, Peer, Peer], None]) -> None:
    table, origin = limited(rig, 1)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    assert in_flight(table) == 1
    end(rig, client, peer)
    rig.until(lambda: in_flight(table) == 0, "it is given back")


def test_given_back_after_timeouts(clocked: Rig) -> None:
    table, origin = limited(clocked, 1, timeouts=100)
    client = clocked.connect()
    client.send(get())
    origin.asked()
    clocked.settle()
    clocked.advance(100)
    assert client.response().status == 504
    assert in_flight(table) == 0


def test_counted_once_through_retries_and_hedges(clocked: Rig) -> None:
    table = Inflight("inflight")
    dead, slow, good = clocked.origin(), clocked.origin(), clocked.origin()
    dead.refuse()
    step = InflightFilter("inflight", table, CLIENT, 1)
    clocked.serve(dead, slow, good, filters=[step], action={"hedge": HedgeSpec(after_ms=50)}, upstream={"passive_failures": 0})
    client = clocked.connect()
    client.send(get())
    peer, _ = slow.asked()
    clocked.settle()
    clocked.advance(50)
    second, _ = good.asked()
    assert in_flight(table) == 1
    peer.reset()
    second.send(OK)
    assert client.response().status == 200
    assert in_flight(table) == 0


def test_a_tunnel_is_in_flight_while_it_lasts(rig: Rig) -> None:
    table, origin = limited(rig, 1)
    client, other = rig.connect(), rig.connect()
    client.send(get("/", *UPGRADE))
    peer, _ = origin.asked()
    peer.send(SWITCH)
    assert client.response().status == 101
    client.send(b"ping")
    assert peer.read(4) == b"ping"
    other.send(get())
    assert other.response().status == 429
    client.half_close()
    assert peer.ended()
    assert in_flight(table) == 1
    peer.half_close()
    rig.until(lambda: in_flight(table) == 0, "it is given back")


def test_who_waits_is_in_flight(rig: Rig) -> None:
    """For a verdict, for a user's filter; and given back when the client does not."""
    table = Inflight("inflight")
    origin = rig.origin()
    rig.serve(origin, filters=[InflightFilter("inflight", table, CLIENT, 9), bearer(), script("request", "response")])
    clients = [rig.connect() for _ in range(3)]
    for client in clients:
        client.send(get("/", "Authorization: Bearer t"))
    asked = [decision(rig) for _ in clients]
    assert in_flight(table) == 3
    clients[0].reset()
    rig.until(lambda: in_flight(table) == 2, "the first has gone")
    for each in asked:
        each.allow()
    hooks = [hooked(rig), hooked(rig)]
    assert in_flight(table) == 2
    clients[1].reset()
    rig.until(lambda: in_flight(table) == 1, "the second has gone")
    for hook in hooks:
        hook.change()
    peer, _ = origin.asked()
    peer.send(OK)
    hooked(rig, "response").change()
    assert clients[2].response().status == 200
    rig.until(lambda: in_flight(table) == 0, "all have gone")


def test_pipelined_requests_are_in_flight_one_by_one(rig: Rig) -> None:
    table = Inflight("inflight")
    step = InflightFilter("inflight", table, CLIENT, 1)
    rig.publish([RouteSpec("all", RespondAction(200, b"ok"), filters=[step])])
    client = rig.connect()
    client.send(get() * 50 + post("/", b"unread"))
    assert [client.response().status for _ in range(51)] == [200] * 51
    rig.until(lambda: in_flight(table) == 0, "all are given back")
    assert (table.stats()["passed"], table.stats()["refused"]) == (51, 0)


def test_several_keys_and_tables(clocked: Rig) -> None:
    """Each limit counts by its own key; what one refuses, the others give back."""
    by_client, by_path = Inflight("client"), Inflight("path")
    origin = clocked.origin()
    path = (LimitKeyPart("path"),)
    clocked.serve(origin, filters=[InflightFilter("client", by_client, CLIENT, 2), InflightFilter("path", by_path, path, 1)])
    one, two, three = (clocked.connect() for _ in range(3))
    one.send(get("/a"))
    first, _ = origin.asked()
    two.send(get("/a"))
    assert two.response().status == 429
    assert (in_flight(by_client), by_path.count(hash_key(path, ["/a"]))) == (1, 1)
    two.send(get("/b"))
    second, _ = origin.asked()
    three.send(get("/c"))
    assert three.response().status == 429
    assert by_path.count(hash_key(path, ["/c"])) == 0
    for peer, client in ((first, one), (second, two)):
        peer.send(OK)
        assert client.response().status == 200
    assert in_flight(by_client) == by_path.stats()["in_flight"] == 0
