"""Births and deaths of native objects."""

from __future__ import annotations

from proxyd_ext.core.live import counting, live_counts
from tests.support.engine import OK, Rig, get

USUAL = {"buffer", "client", "origin", "exchange", "snapshot", "server", "upstream", "listener"}
KINDS = USUAL | {"pipe", "copy", "cache", "use", "fill", "verdict", "filtered", "flow", "datagrams", "hello"}


def test_kinds() -> None:
    assert live_counts().keys() == KINDS
    assert all(count >= 0 for count in live_counts().values())


def test_an_exchange_in_the_middle() -> None:
    """What is alive while an answer is awaited, in a build that counts; nothing but zeros in one that does not."""
    rig = Rig("inline")
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    alive = {kind: count - rig.born[kind] for kind, count in live_counts().items()}
    assert alive == dict.fromkeys(KINDS, 0) | (dict.fromkeys(USUAL, 1) if counting() else {})
    peer.send(OK)
    client.response()
    alive = {kind: count - rig.born[kind] for kind, count in live_counts().items()}
    assert (alive["buffer"], alive["exchange"]) == (0, 0)
    rig.finish()
