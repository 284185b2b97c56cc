"""A listener's handle: what it owns, what it counts."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from proxyd_ext.core.live import counting, live_counts
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot.spec import RespondAction, RouteSpec
from tests.support.engine import Rig, get

HERE = RouteSpec("here", RespondAction(200, b"here"))


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def listening() -> int:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock.detach()


def test_owns_its_descriptors() -> None:
    before = live_counts()["listener"]
    fds = [listening(), listening()]
    listener = Listener("web", "127.0.0.1:80", fds, False)
    assert (listener.name, listener.address) == ("web", "127.0.0.1:80")
    assert listener.stats() == {
        "accepted": 0, "open": 0, "rejected": {}, "in_flight": 0, "bytes_in": 0, "bytes_out": 0, "packets_in": 0, "packets_out": 0,
        "ended": {},
    }
    assert live_counts()["listener"] == before + (1 if counting() else 0)
    del listener
    assert not any(is_open(fd) for fd in fds)
    assert live_counts()["listener"] == before


@pytest.mark.parametrize(("name", "count"), [("web", 0), ("web", 65), ("w" * 128, 1), ("ü" * 64, 1)])
def test_what_is_refused(name: str, count: int) -> None:
    """And then the descriptors stay the caller's."""
    fd = listening()
    with pytest.raises(ValueError, match="1 to 64 sockets"):
        Listener(name, "x", [fd] * count, False)
    assert is_open(fd)
    os.close(fd)


def test_outlives_its_handle(rig: Rig) -> None:
    """A connection holds what it needs of a listener that nobody else knows any more."""
    rig.publish([HERE], listeners=["one"])
    client = rig.connect("one")
    client.send(b"GET / HTTP/1.1\r\n")
    rig.until(lambda: rig.total("connections") == 1, "it is accepted")
    rig.publish([HERE], listeners=["two"])
    rig.listeners.pop("one")
    rig.route_stats = {key: stats for key, stats in rig.route_stats.items() if key[0] != "one"}
    client.send(b"Host: a\r\n\r\n")
    assert client.response().body == b"here"
    for _ in rig.engines:
        client.half_close()
    rig.until(lambda: rig.total("connections") == 0, "it is gone")


def test_removed_and_added_again(rig: Rig) -> None:
    """A new handle for the same name: its counters begin anew, its port is another."""
    rig.publish([HERE], listeners=["one"])
    rig.publish([HERE], listeners=["two"])
    rig.listeners.pop("one")
    rig.publish([HERE], listeners=["one", "two"])
    client = rig.connect("one")
    client.send(get())
    assert client.response().body == b"here"
    assert rig.listeners["one"].stats()["accepted"] == 1


def test_the_same_handle_comes_back(clocked: Rig, tmp_path: object) -> None:
    """A shared socket that left with one reload and comes back with the next listens again."""
    clocked.listen("one", path=f"{tmp_path}/s")
    clocked.publish([HERE], listeners=["one"])
    clocked.publish([HERE], listeners=["two"])
    clocked.publish([HERE], listeners=["one", "two"])
    client = clocked.connect("one")
    client.send(get())
    assert client.response().body == b"here"


@pytest.mark.parametrize("sockets", [1, 3, 5])
def test_every_socket_is_served_by_some_engine(rig: Rig, sockets: int) -> None:
    """Whatever the number of engines of who bound them: the kernel spreads connections over all sockets of a group."""
    rig.listen("web", sockets=sockets)
    rig.publish([HERE])
    for _ in range(40):
        client = rig.connect()
        client.send(get("/", "Connection: close"))
        assert client.response().body == b"here"
    assert rig.listeners["web"].stats()["accepted"] == 40


@pytest.mark.parametrize("sockets", [1, 5])
def test_every_socket_is_left(rig: Rig, sockets: int) -> None:
    rig.listen("one", sockets=sockets)
    rig.publish([HERE], listeners=["one"])
    waiting = [rig.connect("one") for _ in range(20)]
    for client in waiting:
        client.send(get("/", "Connection: close"))
    rig.publish([HERE], listeners=["two"])
    for client in waiting:
        assert client.response().body == b"here"
    del rig.listeners["one"]
    with socket.socket() as late:
        rig.until(lambda: late.connect_ex(("127.0.0.1", rig.ports["one"])) == errno.ECONNREFUSED, "nobody listens any more")
