"""max_requests and the queue before it: nobody over the limit, first come first served, no room forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.snapshot.spec import ProxyAction, RouteSpec, TargetSpec
from tests.support.engine import OK, Rig, get
from tests.support.wire import Origin, Peer

BALANCES = ["round_robin", "least_conn", "p2c", "ewma", "random", "first", "hash", "maglev"]


def serve(rig: Rig, *origins: Origin, most: int = 1, **settings: Any) -> None:
    """Servers that take `most` exchanges at a time."""
    app = rig.upstream(*origins, **{"max_pending": 100, "queue_ms": 2_000, **settings})
    app = replace(app, members=[replace(member, max_requests=most) for member in app.members])
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]))], [app])


def ask(rig: Rig, count: int) -> list[Peer]:
    """So many clients, whose requests come one after the other."""
    clients = []
    for number in range(count):
        client = rig.connect()
        client.send(get(f"/{number}"))
        clients.append(client)
        _await(rig, number + 1)
    return clients


def _await(rig: Rig, count: int) -> None:
    """Until so many exchanges are on the upstream or wait for it."""
    stats = rig.states["app"].stats
    rig.until(lambda: stats()["in_flight"] + stats()["pending"] == count, f"{count} are there: {stats()}")


def answers(rig: Rig, clients: Sequence[Peer]) -> list[int]:
    """Which clients have an answer by now."""
    rig.turn()
    return [number for number, client in enumerate(clients) if client.got()]


@pytest.mark.parametrize("balance", BALANCES)
def test_first_come_first_served(rig: Rig, balance: str) -> None:
    origin = rig.origin()
    serve(rig, origin, balance=balance)
    clients = ask(rig, 5)
    peer, first = origin.asked()
    served = [first.target]
    assert rig.states["app"].stats()["pending"] == 4
    for number in range(5):
        if number:
            if peer.sock.fileno() < 0 or origin.waiting():
                peer = origin.accept()
            served.append(peer.request().target)
        peer.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert clients[number].response().body == b"ok"
        peer.close()
    assert served == [f"/{number}" for number in range(5)]
    stats = rig.states["app"].stats()
    assert (stats["in_flight"], stats["pending"]) == (0, 0)


@pytest.mark.parametrize("balance", BALANCES)
def test_nobody_over_the_limit(rig: Rig, balance: str) -> None:
    origins = [rig.origin() for _ in range(3)]
    serve(rig, *origins, most=2, balance=balance)
    clients = ask(rig, 10)
    assert [rig.of(origin)["in_flight"] for origin in origins] == [2, 2, 2]
    assert rig.states["app"].stats()["pending"] == 4
    for origin in origins:
        origin.serve()
    for client in clients:
        assert client.response().status == 200
    assert sum(len(origin.requests) for origin in origins) >= 4


def test_too_many_wait(rig: Rig) -> None:
    origin = rig.origin()
    serve(rig, origin, max_pending=2)
    clients = ask(rig, 3)
    late = rig.connect()
    late.send(get())
    response = late.response()
    assert (response.status, response.field("retry-after")) == (503, "1")
    assert response.field("proxy-status") == 'proxyd; error=connection_limit_reached; details="queue_full"'
    assert rig.states["app"].stats()["refused"] == {"queue_full": 1}
    origin.serve()
    for client in clients:
        assert client.response().status == 200


def test_waiting_is_bounded_in_time(clocked: Rig) -> None:
    origin = clocked.origin()
    serve(clocked, origin)
    clients = ask(clocked, 2)
    clocked.advance(1_999)
    assert answers(clocked, clients) == []
    clocked.advance(1)
    response = clients[1].response()
    assert (response.status, response.field("proxy-status")) == (503, 'proxyd; error=connection_limit_reached; details="queue_timeout"')
    stats = clocked.states["app"].stats()
    assert (stats["pending"], stats["refused"]) == (0, {"queue_timeout": 1})
    origin.serve()
    assert clients[0].response().status == 200


def test_without_a_queue(rig: Rig) -> None:
    origin = rig.origin()
    serve(rig, origin, max_pending=0)
    (client,) = ask(rig, 1)
    late = rig.connect()
    late.send(get())
    assert late.response().status == 503
    origin.serve()
    assert client.response().status == 200


@pytest.mark.parametrize("when", ["waiting", "woken"])
def test_a_waiter_that_goes_away(rig: Rig, when: str) -> None:
    """Its place, or the room that it was just given, is the next one's."""
    origin = rig.origin()
    serve(rig, origin)
    clients = ask(rig, 3)
    peer, _ = origin.asked()
    if when == "waiting":
        clients[1].reset()
        rig.until(lambda: rig.states["app"].stats()["pending"] == 1, "it has left the queue")
        peer.send(OK)
    else:
        peer.send(OK)
        clients[1].reset()
    assert clients[0].response().body == b"ok"
    origin.serve()
    assert clients[2].response().status == 200
    rig.until(lambda: rig.states["app"].stats()["in_flight"] == 0, "nobody is on the server")


def test_a_limit_of_the_whole_upstream(rig: Rig) -> None:
    origins = [rig.origin() for _ in range(3)]
    serve(rig, *origins, most=0, max_requests=2)
    clients = ask(rig, 5)
    stats = rig.states["app"].stats()
    assert (stats["in_flight"], stats["pending"], stats["limit"]) == (2, 3, 2)
    for origin in origins:
        origin.serve()
    for client in clients:
        assert client.response().status == 200


def test_under_load_over_two_engines(threaded: Rig) -> None:
    """Many clients, two places: never more than two at a time, and everybody is served."""
    most = 0
    origin = threaded.origin()

    def answer(request: object) -> bytes:
        nonlocal most
        most = max(most, threaded.of(origin)["in_flight"])
        return OK

    origin.serve(answer)
    serve(threaded, origin, most=2, queue_ms=30_000)
    clients = [threaded.connect() for _ in range(24)]
    for _ in range(5):
        for client in clients:
            client.send(get())
        for client in clients:
            assert client.response().status == 200
    assert most <= 3     # a third may be counted in for the moment in which it is refused
    assert len(origin.requests) == 120


def test_a_circuit_that_opens_while_others_wait(clocked: Rig) -> None:
    origin = clocked.origin()
    serve(clocked, origin)
    clients = ask(clocked, 2)
    clocked.states["app"].set_circuit("open")
    origin.asked()[0].send(OK)
    assert clients[0].response().status == 200
    response = clients[1].response()
    assert (response.status, response.field("proxy-status")) == (503, 'proxyd; error=destination_unavailable; details="circuit_open"')


def test_the_lower_of_two_limits_holds(rig: Rig) -> None:
    """That of the config, and that which adapts; a reload tells the first anew and leaves the other."""
    origin = rig.origin().serve()
    state = rig.states.setdefault("app", UpstreamState("app"))
    for adaptive, most, limit in ((0, 5, 5), (3, 5, 3), (9, 5, 5), (9, 0, 9), (0, 0, 0)):
        state.set_limit(adaptive)
        serve(rig, origin, most=0, max_requests=most)
        assert state.stats()["limit"] == limit
