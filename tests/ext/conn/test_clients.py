"""Connections per client address, over all engines."""

from __future__ import annotations

from proxyd_ext.snapshot.spec import RespondAction, RouteSpec
from tests.support.engine import Rig, get
from tests.support.wire import Peer

HERE = RouteSpec("here", RespondAction(200, b"here"))


def admitted(client: Peer) -> bool:
    client.send(get())
    client.pump.until(lambda: b"here" in client.got() or client.eof or client.broken, "an answer or an end")
    return b"here" in client.received


def test_limit(rig: Rig) -> None:
    """So many at a time from one address, whichever engine takes them; other addresses have their own."""
    rig.publish([HERE], per_client=5)
    clients = [rig.connect() for _ in range(5)]
    assert all(admitted(client) for client in clients)
    for _ in range(3):
        assert not admitted(rig.connect())
    assert admitted(rig.connect(source="127.0.0.2"))
    stats = rig.listeners["web"].stats()
    assert (stats["accepted"], stats["open"], stats["rejected"]) == (9, 6, {"client_limit": 3})
    clients[2].reset()
    rig.until(lambda: rig.listeners["web"].stats()["open"] == 5, "one has gone")
    assert admitted(rig.connect())
    assert not admitted(rig.connect())


def test_limit_changes_with_a_reload(rig: Rig) -> None:
    rig.publish([HERE], per_client=1)
    first = rig.connect()
    assert admitted(first)
    assert not admitted(rig.connect())
    rig.publish([HERE], per_client=2)
    second = rig.connect()
    assert admitted(second)
    assert not admitted(rig.connect())
    rig.publish([HERE], per_client=0)
    assert all(admitted(rig.connect()) for _ in range(5))
    rig.publish([HERE], per_client=1)
    first.received.clear()
    assert admitted(first)
    assert not admitted(rig.connect())
    first.reset()
    second.reset()
    rig.until(lambda: rig.listeners["web"].stats()["open"] == 5, "the counted ones have gone")
    assert admitted(rig.connect())


def test_listeners_count_together(rig: Rig) -> None:
    """The limit is on a client, not on a client at a listener."""
    rig.publish([HERE], listeners=["one", "two"], per_client=2)
    assert admitted(rig.connect("one"))
    assert admitted(rig.connect("two"))
    assert not admitted(rig.connect("one"))
    assert not admitted(rig.connect("two"))


def test_unix_clients_have_no_address(rig: Rig, tmp_path: object) -> None:
    rig.listen(path=f"{tmp_path}/s")
    rig.publish([HERE], per_client=1)
    assert all(admitted(rig.connect()) for _ in range(5))


def test_many_that_come_and_go(threaded: Rig) -> None:
    """Counts stay exact under two engines: afterwards there is room for exactly the limit."""
    threaded.publish([HERE], per_client=50)
    for _ in range(10):
        clients = [threaded.connect() for _ in range(50)]
        assert all(admitted(client) for client in clients)
        for client in clients:
            client.reset()
        threaded.until(lambda: threaded.listeners["web"].stats()["open"] == 0, "all have gone")
    assert sum(admitted(threaded.connect()) for _ in range(60)) == 50
