"""Timers, seen through the idle clocks of many connections: against a plain dictionary of deadlines."""

from __future__ import annotations

import random

import pytest

from proxyd_ext.snapshot.spec import RespondAction, RouteSpec
from tests.support.engine import Rig, get
from tests.support.wire import Peer

HEADER_MS, IDLE_MS = 700, 2_000


@pytest.mark.parametrize("seed", range(6))
def test_against_a_dictionary(clocked: Rig, seed: int) -> None:
    """Connections come, speak, begin to speak and leave in any order; each is ended at its own deadline, not a millisecond off."""
    clocked.publish([RouteSpec("here", RespondAction(200, b"here"))], header_ms=HEADER_MS, idle_ms=IDLE_MS)
    draw = random.Random(seed)
    now = 0
    due: dict[Peer, int] = {}
    begun: set[Peer] = set()
    for _ in range(250):
        step = draw.random()
        if step < 0.25 or not due:
            due[clocked.connect()] = now + HEADER_MS
        elif step < 0.5:
            peer = draw.choice(list(due))
            peer.send(b"Host: a\r\n\r\n" if peer in begun else get())
            assert peer.response().body == b"here"
            begun.discard(peer)
            due[peer] = now + IDLE_MS
        elif step < 0.6:
            peer = draw.choice(list(due))
            if peer not in begun:
                peer.send(b"GET / HTTP/1.1\r\n")
                begun.add(peer)
                due[peer] = now + HEADER_MS
        elif step < 0.65:
            peer = draw.choice(list(due))
            peer.reset()
            del due[peer]
            begun.discard(peer)
        else:
            # To just before the next deadline, onto it, or any way beyond.
            first = min(due.values())
            now_then = draw.choice([max(now, first - 1), max(now, first), now + draw.randrange(1, 600)])
            clocked.advance(now_then - now)
            now = now_then
        clocked.settle()
        for peer, deadline in list(due.items()):
            peer.take()
            ended = peer.eof or b" 408 " in peer.received
            assert ended == (deadline <= now), (deadline, now, peer in begun)
            if ended:
                peer.close()
                del due[peer]
                begun.discard(peer)
        clocked.settle()
    for peer in due:
        peer.reset()


def test_many_timers_at_one_time(clocked: Rig) -> None:
    """Three hundred deadlines in the same millisecond."""
    clocked.publish([RouteSpec("here", RespondAction(200, b"here"))], header_ms=1_000)
    clients = []
    for _ in range(300):
        clients.append(clocked.connect())
        clocked.turn()
    clocked.advance(999)
    assert clocked.total("connections") == 300
    clocked.advance(1)
    assert clocked.total("connections") == 0


def test_next_deadline(clocked: Rig) -> None:
    clocked.publish([RouteSpec("here", RespondAction(200, b"here"))], header_ms=300)
    engine = clocked.engines[0]
    assert 0 < engine.next_deadline_ms() <= 1_000  # the engine's own tick
    clocked.advance(engine.next_deadline_ms())
    clocked.connect()
    clocked.settle()
    assert engine.next_deadline_ms() == 300
    clocked.advance(299)
    assert engine.next_deadline_ms() == 1
