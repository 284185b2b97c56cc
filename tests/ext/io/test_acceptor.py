"""Accepting: storms, and what happens when descriptors run out."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from proxyd_ext.snapshot.spec import RespondAction, RouteSpec
from tests.support.engine import OK, Rig, get

HERE = RouteSpec("here", RespondAction(200, b"here"))


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """The process may open nothing any more; what is open stays open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def rejected(rig: Rig, count: int) -> bool:
    """Whether so many were refused for want of descriptors, and none for another reason."""
    return bool(rig.listeners["web"].stats()["rejected"] == {"fd_exhausted": count})


def test_storm(rig: Rig) -> None:
    """Five hundred at once, more than a turn takes."""
    rig.publish([HERE])
    clients = [rig.connect() for _ in range(500)]
    for client in clients:
        client.send(get())
    for client in clients:
        assert client.response().body == b"here"
    stats = rig.listeners["web"].stats()
    assert (stats["accepted"], stats["open"], stats["rejected"], stats["in_flight"]) == (500, 500, {}, 0)


def test_clients_that_left_before_they_were_accepted(clocked: Rig) -> None:
    clocked.publish([HERE])
    for i in range(50):
        client = clocked.connect()
        client.send(get() if i % 2 else b"")
        client.reset() if i % 3 else client.close()
    last = clocked.connect()
    last.send(get())
    assert last.response().body == b"here"
    clocked.until(lambda: clocked.total("connections") == 1, "the others are gone")


def test_descriptors_run_out(rig: Rig) -> None:
    """The reserve descriptor lets a refusal be said; who is connected is served on; then service continues for all."""
    rig.publish([HERE])
    before = rig.connect()
    before.send(get())
    assert before.response().body == b"here"
    socks = [socket.socket() for _ in range(5)]
    with no_more_descriptors():
        for count, sock in enumerate(socks, 1):
            client = rig.connect(sock=sock)
            response = client.response()
            assert response.status == 503
            assert response.field("proxy-status") == "proxyd; error=connection_limit_reached"
            assert (response.field("retry-after"), response.field("connection")) == ("1", "close")
            assert client.was_reset() or client.eof
            rig.until(partial(rejected, rig, count), "it is counted")
            before.send(get())
            assert before.response().body == b"here"
    for _ in range(4):
        client = rig.connect()
        client.send(get())
        assert client.response().body == b"here"


def test_refusal_of_a_client_that_has_asked(clocked: Rig) -> None:
    """Its request stands unread; the refusal arrives all the same."""
    clocked.publish([HERE])
    socks = [socket.socket() for _ in range(8)]
    with no_more_descriptors():
        clients = [clocked.connect(sock=sock) for sock in socks]
        for client in clients:
            client.send(get())
        # With two engines one may keep the descriptor that the other gave up for a moment, so this is said of one.
        assert [client.response().status for client in clients] == [503] * 8


def test_no_descriptor_for_an_origin(rig: Rig) -> None:
    """503 for that exchange; the connection lives, and so does the next exchange."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(b"GET / HTTP/1.1\r\n")
    rig.until(lambda: rig.total("buffers_bytes") > 0, "it is accepted")
    with no_more_descriptors():
        client.send(b"Host: a\r\n\r\n")
        response = client.response()
        assert response.status == 503
        assert response.field("proxy-status") == 'proxyd; error=connection_limit_reached; details="fd_exhausted"'
    client.send(get())
    peer, _ = origin.asked()
    peer.send(OK)
    assert client.response().body == b"ok"
    assert rig.of(origin)["errors"] == {}


def test_no_descriptor_for_a_pipe(rig: Rig) -> None:
    """A body that would be spliced is copied instead."""
    data = bytes(range(256)) * 8192
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    with no_more_descriptors():
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
        assert client.response().body == data
    rig.counted("GET", 200)


def test_shared_descriptor(rig: Rig, tmp_path: object) -> None:
    """One unix socket for all engines: every connection is taken once."""
    rig.listen(path=f"{tmp_path}/s")
    rig.publish([HERE])
    clients = [rig.connect() for _ in range(60)]
    for client in clients:
        client.send(get())
    for client in clients:
        assert client.response().body == b"here"
    assert rig.listeners["web"].stats()["accepted"] == 60
