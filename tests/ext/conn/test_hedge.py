"""Hedged requests: a second try beside a slow first one, the first answer wins, and nothing is left of the other."""

from __future__ import annotations

from typing import Any

import pytest

from proxyd_ext.snapshot.spec import HedgeSpec, RetrySpec
from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Origin, Peer


def hedged(rig: Rig, count: int = 2, hedge: HedgeSpec | None = None, **settings: Any) -> list[Origin]:
    origins = [rig.origin() for _ in range(count)]
    rig.serve(*origins, action={"hedge": hedge or HedgeSpec(after_ms=100)}, upstream={"passive_failures": 0}, **settings)
    return origins


def both_asked(rig: Rig, client: Peer, first: Origin, second: Origin) -> tuple[Peer, Peer]:
    client.send(get())
    slow, _ = first.asked()
    rig.settle()
    rig.advance(99)
    assert not second.waiting()
    rig.advance(1)
    quick, request = second.asked()
    assert request.method == "GET"
    return slow, quick


def at_rest(rig: Rig) -> None:
    stats = rig.states["app"].stats()
    assert (stats["in_flight"], stats["retries_in_flight"]) == (0, 0)


@pytest.mark.parametrize("winner", ["first", "second"])
def test_the_first_answer_wins(clocked: Rig, winner: str) -> None:
    first, second = hedged(clocked)
    client = clocked.connect()
    slow, quick = both_asked(clocked, client, first, second)
    assert clocked.states["app"].stats()["in_flight"] == 2
    (slow if winner == "first" else quick).send(OK)
    assert client.response().body == b"ok"
    assert (quick if winner == "first" else slow).ended()
    assert clocked.states["app"].stats()["hedges"] == {"begun": 1, "won": int(winner == "second")}
    at_rest(clocked)
    # The winner's connection is clean, and serves the next request.
    client.send(get())
    clocked.settle()
    clocked.advance(100)
    assert clocked.total("exchanges") == 1
    client.reset()


@pytest.mark.parametrize("fails", ["first", "second"])
@pytest.mark.parametrize("how", ["reset", "garbage"])
def test_one_fails_and_the_other_goes_on(clocked: Rig, fails: str, how: str) -> None:
    first, second = hedged(clocked)
    client = clocked.connect()
    slow, quick = both_asked(clocked, client, first, second)
    loser, winner = (slow, quick) if fails == "first" else (quick, slow)
    if how == "reset":
        loser.reset()
    else:
        loser.send(b"no answer\r\n\r\n")
    clocked.settle()
    assert client.silent()
    winner.send(OK)
    assert client.response().body == b"ok"
    at_rest(clocked)


def test_both_fail(clocked: Rig) -> None:
    """The second failure is handled as if there had been no other: a retry where there is a server left, else the answer."""
    first, second, third = hedged(clocked, 3, target={"retry": RetrySpec(attempts=1)})
    client = clocked.connect()
    slow, quick = both_asked(clocked, client, first, second)
    slow.reset()
    clocked.settle()
    quick.reset()
    peer, _ = third.asked()
    peer.send(OK)
    assert client.response().body == b"ok"
    at_rest(clocked)


def test_a_hedge_that_cannot_connect(clocked: Rig) -> None:
    first, second = hedged(clocked)
    second.refuse()
    client = clocked.connect()
    client.send(get())
    slow, _ = first.asked()
    clocked.settle()
    clocked.advance(100)
    slow.send(OK)
    assert client.response().body == b"ok"
    at_rest(clocked)


def test_no_other_server_no_hedge(clocked: Rig) -> None:
    (only,) = hedged(clocked, 1)
    client = clocked.connect()
    client.send(get())
    slow, _ = only.asked()
    clocked.settle()
    clocked.advance(100)
    assert not only.waiting()
    slow.send(OK)
    assert client.response().body == b"ok"
    assert clocked.states["app"].stats()["hedges"] == {"begun": 0, "won": 0}
    at_rest(clocked)


@pytest.mark.parametrize("sent", [post("/", b"body"), get("/", "Connection: upgrade", "Upgrade: websocket")])
def test_what_is_not_hedged(clocked: Rig, sent: bytes) -> None:
    first, second = hedged(clocked)
    client = clocked.connect()
    client.send(sent)
    peer, _ = first.asked()
    clocked.settle()
    clocked.advance(1_000)
    assert not second.waiting()
    peer.send(OK)
    assert client.response().body == b"ok"


@pytest.mark.parametrize("ms", [0, 250])
def test_after_a_percentile(clocked: Rig, ms: int) -> None:
    """The control plane says how long; as long as it does not know, nothing is hedged."""
    first, second = hedged(clocked, hedge=HedgeSpec())
    clocked.states["app"].set_hedge_ms(ms)
    client = clocked.connect()
    client.send(get())
    slow, _ = first.asked()
    clocked.settle()
    clocked.advance(249)
    assert not second.waiting()
    clocked.advance(1)
    assert second.waiting() == (ms > 0)
    slow.send(OK)
    assert client.response().body == b"ok"


def test_hedges_keep_to_the_retry_budget(clocked: Rig) -> None:
    first, second = hedged(clocked, target={"retry": RetrySpec(budget_percent=0, budget_min=2)})
    clients = [clocked.connect() for _ in range(5)]
    for client in clients:
        client.send(get())
    clocked.settle()
    clocked.advance(100)
    assert clocked.states["app"].stats()["hedges"]["begun"] == 2
    assert clocked.states["app"].stats()["refused"] == {"retry_budget": 3}
    for origin in (first, second):
        while (peer := origin.maybe_accept()) is not None:
            peer.send(OK)
    for client in clients:
        assert client.response().body == b"ok"
    at_rest(clocked)


@pytest.mark.parametrize("gone", ["client", "deadline"])
def test_the_end_of_an_exchange_ends_both(clocked: Rig, gone: str) -> None:
    first, second = [clocked.origin() for _ in range(2)]
    clocked.serve(first, second, action={"hedge": HedgeSpec(after_ms=100), "total_ms": 500})
    client = clocked.connect()
    slow, quick = both_asked(clocked, client, first, second)
    if gone == "client":
        client.reset()
        clocked.until(lambda: clocked.total("exchanges") == 0, "the exchange is over")
    else:
        clocked.advance(400)
        assert client.response().status == 504
    assert slow.ended()
    assert quick.ended()
    at_rest(clocked)


def test_a_status_that_is_retried_loses_to_the_other_try(clocked: Rig) -> None:
    first, second = hedged(clocked, target={"retry": RetrySpec(statuses=[(503, 503)])})
    client = clocked.connect()
    slow, quick = both_asked(clocked, client, first, second)
    quick.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    clocked.settle()
    assert client.silent()
    slow.send(OK)
    assert client.response().body == b"ok"
    at_rest(clocked)


def test_no_hedge_while_the_circuit_is_not_closed(clocked: Rig) -> None:
    first, second = hedged(clocked)
    client = clocked.connect()
    client.send(get())
    slow, _ = first.asked()
    clocked.states["app"].set_circuit("open")
    clocked.settle()
    clocked.advance(100)
    assert not second.waiting()
    slow.send(OK)
    assert client.response().body == b"ok"


@pytest.mark.parametrize("most", [1, 2])
def test_another_hedge_when_one_has_failed(clocked: Rig, most: int) -> None:
    """One after another, as many as `max` says."""
    first, second, third = hedged(clocked, 3, HedgeSpec(after_ms=100, max=most), target={"retry": RetrySpec(attempts=0)})
    client = clocked.connect()
    slow, quick = both_asked(clocked, client, first, second)
    quick.reset()
    clocked.settle()
    clocked.advance(99)
    assert not third.waiting()
    clocked.advance(1)
    assert third.waiting() == (most == 2)
    slow.send(OK)
    assert client.response().body == b"ok"
    assert clocked.states["app"].stats()["hedges"] == {"begun": most, "won": 0}
    at_rest(clocked)
