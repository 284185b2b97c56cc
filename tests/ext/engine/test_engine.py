"""One engine's life: snapshots that replace one another, drain, close."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from typing import Any

import pytest

from proxyd_ext.engine import Engine
from proxyd_ext.snapshot.spec import ProxyAction, RespondAction, RetrySpec, RouteSpec, TargetSpec
from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Origin, Peer

PROXY = ProxyAction([TargetSpec(0)])
HERE = RouteSpec("here", RespondAction(200, b"here"))
WEBSOCKET = get("/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n"


def exchange(rig: Rig, client: Peer, peer: Peer | None = None, *, origin: Origin | None = None) -> Peer:
    """One more GET on a connection, answered by an origin's script."""
    client.send(get())
    peer = peer or (origin or rig.origins[0]).accept()
    assert peer.request().method == "GET"
    peer.send(OK)
    assert client.response().body == b"ok"
    return peer


def test_publish_is_acknowledged_by_every_engine(rig: Rig) -> None:
    rig.publish([HERE])
    rig.publish([HERE])
    for _ in rig.engines:
        rig.event("retired", 1)
    assert rig.total("snapshot") == 2 * len(rig.engines)
    assert [event for _, event in rig.events] == []


def test_settings_change_for_connections_that_stand(rig: Rig) -> None:
    """A reload reaches connections from before, at their next request."""
    rig.publish([HERE], header_size=4096)
    client = rig.connect()
    client.send(get())
    assert client.response().body == b"here"
    rig.publish([RouteSpec("there", RespondAction(404, b"gone"))], header_size=16384)
    client.send(get("/", "X: " + "x" * 8000))
    response = client.response()
    assert (response.status, response.body) == (404, b"gone")


@pytest.mark.parametrize("sizes", [(4096, 65536), (65536, 4096), (4096, 16384)])
def test_header_size_changes_within_a_head(rig: Rig, sizes: tuple[int, int]) -> None:
    """A head that has begun to arrive under other limits ends in an answer, never in a full buffer."""
    before, after = sizes
    rig.publish([HERE], header_size=before)
    client = rig.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3000)
    rig.until(lambda: rig.total("buffers_bytes") > 0, "the head has begun")
    rig.publish([HERE], header_size=after)
    client.send(b"x" * 20000 + b"\r\n\r\n")
    assert client.response().status == (200 if after > 23100 else 431)


def test_exchange_keeps_its_snapshot(rig: Rig) -> None:
    """What was decided under the old snapshot stays so; it is retired when the exchange is over."""
    old, new = rig.origin(), rig.origin()
    rig.serve(old, filters=[])
    client = rig.connect()
    client.send(get())
    peer, _ = old.asked()
    rig.serve(new)
    others = [event for _, event in rig.events if event[0] == "retired"]
    assert len(others) == len(rig.engines) - 1
    rig.events.clear()
    peer.send(OK)
    assert client.response().body == b"ok"
    rig.event("retired", 1)
    exchange(rig, client, origin=new)
    assert rig.server("app", old).stats()["requests"] == {200: 1}


def test_server_removed(rig: Rig) -> None:
    """Its idle connections are closed, the busy one after its answer."""
    gone, stays = rig.origin(), rig.origin()
    rig.serve(gone)
    first, second = rig.connect(), rig.connect()
    idle = exchange(rig, first, origin=gone)
    second.send(get())
    busy = rig.until(lambda: (idle if idle.got() else None) or gone.maybe_accept(), "the second request")
    assert busy is not None
    busy.request()
    if busy is idle:  # it was reused: make another idle one
        idle = exchange(rig, first, origin=gone)
    rig.serve(stays)
    assert idle.ended()
    busy.send(OK)
    assert second.response().body == b"ok"
    assert busy.ended()
    stats = rig.of(gone)
    assert (stats["connections_idle"], stats["connections_active"], stats["opened"]) == (0, 0, 2)


def test_server_kept(rig: Rig) -> None:
    """Its idle connection serves on under the new snapshot, and its counters go on."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer = exchange(rig, client)
    rig.serve(origin)
    exchange(rig, client, peer)
    assert (rig.of(origin)["opened"], rig.of(origin)["requests"]) == (1, {200: 2})
    assert rig.requests() == {("GET", 200): 2}


def test_listener_added(rig: Rig) -> None:
    rig.publish([HERE], listeners=["one"])
    first = rig.connect("one")
    first.send(get())
    assert first.response().body == b"here"
    rig.publish([HERE], listeners=["one", "two"])
    for client in (first, rig.connect("one"), rig.connect("two")):
        client.send(get())
        assert client.response().body == b"here"
    assert rig.listeners["two"].stats()["accepted"] == 1


def test_listener_removed(rig: Rig) -> None:
    """Resting connections are closed when they stay silent, those that ask or have asked after their answer; the others never notice."""
    origin = rig.origin()
    app = rig.upstream(origin)
    route = RouteSpec("all", PROXY)
    rig.publish([route], [app], listeners=["one", "two"])
    idle, silent, busy, head, other = (*(rig.connect("one") for _ in range(4)), rig.connect("two"))
    for client in (idle, other):
        exchange(rig, client).close()
    head.send(b"GET / HT")
    busy.send(get())
    peer, _ = origin.asked()
    rig.until(lambda: rig.listeners["one"].stats()["open"] == 4, "four connections")
    rig.publish([route], [app], listeners=["two"])
    with pytest.raises(ConnectionRefusedError):
        rig.connect("one")
    head.send(b"TP/1.1\r\nHost: a\r\n\r\n")
    late, _ = origin.asked()
    for client, answering in ((head, late), (busy, peer)):
        answering.send(OK)
        response = client.response()
        assert (response.status, response.field("connection")) == (200, "close")
        assert client.ended()
        client.half_close()
        answering.close()
    if rig.mode == "inline":
        rig.advance(1_000)
    for client in (idle, silent):
        assert client.ended()
        client.half_close()
    rig.until(lambda: rig.listeners["one"].stats()["open"] == 0, "nothing open")
    exchange(rig, other)


def test_removed_listener_drains_its_queue(clocked: Rig) -> None:
    """Connections that wait in the accept queue when the listener goes are still taken."""
    clocked.publish([HERE], listeners=["one"])
    waiting = [clocked.connect("one") for _ in range(20)]
    for client in waiting:
        client.send(get())
    clocked.publish([HERE], listeners=["two"])
    for client in waiting:
        client.rest()
    assert clocked.listeners["one"].stats()["accepted"] == 20


def test_tunnels_survive(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(WEBSOCKET)
    peer, _ = origin.asked()
    peer.send(SWITCH)
    assert client.response().status == 101
    for i in range(20):
        if i % 2:
            rig.publish([HERE])
        else:
            rig.serve(origin)
        client.send(b"ping")
        assert peer.read(4) == b"ping"
        peer.send(b"pong")
        assert client.read(4) == b"pong"
    client.half_close()
    peer.half_close()
    assert client.ended()
    rig.counted("GET", 101)
    for generation in range(1, 21):
        for _ in rig.engines:
            rig.event("retired", generation)


def test_snapshots_passed_over(clocked: Rig) -> None:
    """Two snapshots before the engine's next turn: each is acknowledged and, in the end, retired."""
    clocked.publish([HERE])
    clocked.publish([RouteSpec("second", RespondAction(200, b"second"))], wait=False)
    clocked.publish([RouteSpec("third", RespondAction(200, b"third"))], wait=False)
    client = clocked.connect()
    client.send(get())
    assert client.response().body == b"third"
    for generation in (2, 3):
        clocked.event("ack", generation)
    for generation in (1, 2):
        clocked.event("retired", generation)


def test_many_reloads_under_requests(threaded: Rig) -> None:
    """No request fails, no snapshot is left behind."""
    origin = threaded.origin().serve()
    other = threaded.origin().serve()
    threaded.serve(origin)
    clients = [threaded.connect() for _ in range(8)]
    answered = 0
    for client in clients:
        client.send(get())
    for i in range(60):
        threaded.serve(*((origin,) if i % 2 else (origin, other)), target={"retry": RetrySpec(attempts=i % 3)})
        for client in clients:
            client.take()
            if b"\r\n\r\n" in client.received:
                assert client.response().status == 200
                answered += 1
                client.send(get())
    for client in clients:
        assert client.response().status == 200
    assert answered > 60
    for generation in range(1, 61):
        for _ in threaded.engines:
            threaded.event("retired", generation)


@pytest.mark.parametrize("state", ["silent", "idle", "head", "busy", "body"])
def test_drain(rig: Rig, state: str) -> None:
    """Nothing new is accepted; a resting connection gets a second for a request that is on its way; a busy one gets its answer."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer: Peer | None = None
    if state == "idle":
        peer = exchange(rig, client)
    elif state == "head":
        client.send(b"GET / HTTP/1.1\r\n")
    elif state == "busy":
        client.send(get())
        peer, _ = origin.asked()
    elif state == "body":
        client.send(post("/", b"body")[:-1])
        peer = origin.accept()
        peer.head()
    rig.until(lambda: rig.total("connections") == 1, "it is accepted")
    for engine in rig.engines:
        engine.drain()
    for _ in range(len(rig.engines) - 1):
        rig.event("drained")
    if state in ("silent", "idle"):
        if rig.mode == "inline":
            rig.settle()
            assert client.silent()
            rig.advance(1_000)
        assert client.ended()
    else:
        if state == "head":
            client.send(b"Host: a\r\n\r\n")
            peer, _ = origin.asked()
        elif state == "body":
            client.send(b"y")
        assert peer is not None
        peer.send(OK)
        response = client.response()
        assert (response.body, response.field("connection")) == (b"ok", "close")
        assert client.ended()
        client.half_close()
    if peer is not None:
        assert peer.was_reset() or peer.eof
    rig.event("drained")
    assert rig.of(origin)["connections_idle"] == 0


@pytest.mark.parametrize("sockets", [1, 2, 3])
def test_hand_over(rig: Rig, sockets: int) -> None:
    """What is under way is finished; whoever comes from now on waits for the process that has the sockets, too."""
    passed: list[socket.socket] = []
    rig.listen("web", sockets=sockets, passed=lambda fd: passed.append(socket.socket(fileno=os.dup(fd))))
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    for engine in rig.engines:
        engine.hand_over()
    for _ in range(len(rig.engines) - 1):
        rig.event("drained")
    rig.turn()
    late = [rig.connect() for _ in range(20)]
    for each in late:
        each.send(b"hello")
    rig.turn()
    taken: list[socket.socket] = []

    def accepted() -> int:
        return int(rig.listeners["web"].stats()["accepted"])

    def take() -> bool:
        """An engine on a thread may have accepted some before it took the order: these are its own."""
        for sock in passed:
            with contextlib.suppress(BlockingIOError):
                taken.append(sock.accept()[0])
        return len(taken) + accepted() == 21

    rig.until(take, "all that came after the hand-over")
    peer.send(OK)
    response = client.response()
    assert (response.body, response.field("connection")) == (b"ok", "close")
    client.half_close()
    for each in late:
        each.close()
    rig.event("drained")
    if rig.mode == "inline":
        assert accepted() == 1
    for sock in [*passed, *taken]:
        sock.close()


def test_close_cuts_everything(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin)
    idle, busy, head, tunnel = (rig.connect() for _ in range(4))
    exchange(rig, idle).close()
    busy.send(get())
    origin.asked()
    head.send(b"GET")
    tunnel.send(WEBSOCKET)
    peer = origin.accept()
    peer.request()
    peer.send(SWITCH)
    assert tunnel.response().status == 101
    rig.until(lambda: rig.total("connections") == 4, "four connections")
    for engine in rig.engines:
        engine.close()
    rig.turn()
    for client in (idle, busy, head, tunnel):
        assert client.was_reset() or client.eof
    rig.until(lambda: rig.requests().get(("GET", 503), 0) + rig.requests().get(("GET", 499), 0) == 1, "the busy one is counted")


def test_drop_without_close() -> None:
    """An engine that is simply forgotten lets go of everything."""
    rig = Rig("inline")
    origin = rig.origin()
    rig.serve(origin)
    client, tunnel = rig.connect(), rig.connect()
    client.send(get())
    origin.asked()
    tunnel.send(WEBSOCKET)
    peer = origin.accept()
    peer.request()
    peer.send(SWITCH)
    assert tunnel.response().status == 101
    server = rig.server("app", origin)
    rig.engines.clear()
    assert client.was_reset() or client.eof
    assert tunnel.was_reset() or tunnel.eof
    assert (server.stats()["connections_active"], server.stats()["in_flight"]) == (0, 0)
    del server
    rig.finish()


def test_numbers(rig: Rig) -> None:
    """What Engine.stats says of an engine at rest."""
    rig.publish([HERE])
    for engine in rig.engines:
        stats: dict[str, Any] = dict(engine.stats())
        for word in ("connections", "exchanges", "buffers_bytes", "consults_refused", "consults_late", "commands_refused"):
            assert stats[word] == 0
        assert stats["snapshot"] == 1
        assert stats["turns"] > 0


def test_heartbeat(clocked: Rig) -> None:
    before = clocked.engines[0].heartbeat
    for _ in range(5):
        clocked.advance(1_000)
    assert clocked.engines[0].heartbeat == before + 5
    assert clocked.engines[0].next_deadline_ms() == 1_000


def test_heartbeat_of_threads(threaded: Rig) -> None:
    before = [engine.heartbeat for engine in threaded.engines]
    threaded.until(lambda: all(engine.heartbeat > old for engine, old in zip(threaded.engines, before, strict=True)), "a beat of each")
    assert all(engine.stats()["loop_lag_seconds"] < 5 for engine in threaded.engines)


def test_arguments_are_checked() -> None:
    for index, engines in ((1, 1), (-1, 1), (0, 65), (0, 0)):
        with pytest.raises(ValueError, match="at most 64"):
            Engine(index, engines)
    engine = Engine(0, 1, inline=True)
    with pytest.raises(ValueError, match="fake clock"):
        engine.advance(1)
    for status, kind in ((199, "a"), (600, "a"), (200, "a\r\nb")):
        with pytest.raises(ValueError, match="final status"):
            engine.answer(0, 1, status, b"", kind)


def test_publish_spec_of_other_listener_settings(rig: Rig) -> None:
    """Listeners may differ in their settings and tables."""
    origin = rig.origin().serve()
    first = rig.listener_spec([HERE], "one", 0)
    second = rig.listener_spec([RouteSpec("all", PROXY)], "two", 1)
    rig.publish([HERE])
    assert rig.spec is not None
    spec = replace(rig.spec, listeners=[first, second], tables=[[HERE], [RouteSpec("all", PROXY)]], upstreams=[rig.upstream(origin)])
    rig.publish_spec(spec)
    for name, body in (("one", b"here"), ("two", origin.label.encode())):
        client = rig.connect(name)
        client.send(get())
        assert client.response().body == body
