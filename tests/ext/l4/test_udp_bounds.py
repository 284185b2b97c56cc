"""What bounds UDP flows: time, the table, bytes to those who may not have asked."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator

import pytest

from proxyd_ext.snapshot.spec import AccessFilter, SnapshotSpec
from tests.support.datagrams import Client, Datagrams, Party, datagrams
from tests.support.engine import Rig


@pytest.fixture
def world(clocked: Rig) -> Iterator[Datagrams]:
    with datagrams(clocked) as world:
        yield world


def start(world: Datagrams, server: Party, data: bytes = b"hello") -> tuple[Client, tuple[str, int]]:
    """A client whose flow is known to the server, by this address."""
    client = world.client()
    client.ask(data)
    asked = server.take()
    assert asked.data == data
    return client, asked.peer


def confirm(client: Client, server: Party, peer: tuple[str, int]) -> None:
    """An answer, and the client speaks after it."""
    server.send(b"answer", peer)
    assert client.receive() == b"answer"
    client.ask(b"thanks")
    assert server.take().data == b"thanks"


# ---- time ----


def test_silence_ends_a_flow(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"idle_ms": 10_000})
    client, peer = start(world, server)
    world.rig.advance(9_000)
    server.send(b"answer", peer)  # both sides count
    assert client.receive() == b"answer"
    world.rig.advance(9_000)
    client.ask(b"still here")
    assert server.take().data == b"still here"
    world.rig.advance(9_999)
    assert world.flows() == 1
    world.rig.advance(1)
    world.ended("idle")
    client.ask(b"again")
    assert server.take().peer != peer


def test_a_reload_reaches_flows_that_run(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"idle_ms": 60_000})
    start(world, server)
    world.serve(server, flow={"idle_ms": 10_000})
    world.rig.advance(9_999)
    assert world.flows() == 1
    world.rig.advance(1)
    world.ended("idle")


def test_age_ends_a_flow(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"idle_ms": 10_000, "max_age_ms": 25_000})
    client, peer = start(world, server)
    for _ in range(4):
        world.rig.advance(6_000)
        client.ask(b"on")
        assert server.take().peer == peer
    world.rig.advance(1_000)
    world.ended("age")


def test_silence_tells_a_circuit_nothing(world: Datagrams) -> None:
    """A probe without an answer is given back; one that is answered counts."""
    server = world.server()
    world.serve(server)
    state = world.rig.states["app"]
    state.set_circuit("half_open", 1)
    start(world, server)
    world.rig.advance(1_000)
    assert state.stats()["probes"] == {"ok": 0, "failed": 0}
    client, peer = start(world, server)
    server.send(b"answer", peer)
    assert client.receive() == b"answer"
    assert state.stats()["probes"] == {"ok": 1, "failed": 0}


def test_a_server_that_is_drained(world: Datagrams) -> None:
    server, other = world.server(), world.server()
    world.serve(server, flow={"idle_ms": 10_000, "drain_ms": 15_000})
    client, peer = start(world, server)
    world.handle(server).set_down("drain", True)
    world.review()
    for _ in range(2):
        world.rig.advance(7_000)
        client.ask(b"on")
        assert server.take().peer == peer
    world.rig.advance(1_000)
    world.ended("drain")
    world.serve(server, other)
    client.ask(b"new")
    assert other.take().data == b"new"


def test_a_server_that_is_down(world: Datagrams) -> None:
    first, second = world.server(), world.server()
    world.serve(first, second, upstream={"balance": "first"})
    client, _ = start(world, first)
    world.handle(first).set_down("health", True)
    world.review()
    world.ended("down")
    client.ask(b"next")
    assert second.take().data == b"next"


def test_flows_of_a_listener_that_left_end_in_time(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"idle_ms": 60_000, "drain_ms": 5_000})
    client, _ = start(world, server)
    world.rig.publish_spec(SnapshotSpec(0, "test", [], [], world.rig.spec.upstreams if world.rig.spec else ()))
    world.rig.advance(4_999)
    client.ask(b"last")
    assert server.take().data == b"last"
    world.rig.advance(1)
    world.ended("drain")


def test_an_old_config_goes_while_a_flow_waits_for_its_first_answer(world: Datagrams) -> None:
    """A flow holds the snapshot while it may still have to look for another server: a second, or until a reload."""
    server = world.server()
    world.serve(server)
    client, peer = start(world, server)
    first = world.rig.generation
    world.serve(server)
    world.rig.event("retired", first)
    server.send(b"late", peer)
    assert client.receive() == b"late"
    other, peer = start(world, server)
    world.rig.advance(1_000)
    assert world.handle(server).stats()["flows"] == 2
    server.close()
    other.ask(b"gone")  # settled: a refusal ends it
    world.ended("server_reset")


# ---- the table ----


def test_who_makes_room(world: Datagrams) -> None:
    """First who has not spoken again since the server's first answer, the one idle longest first; then the longest idle of all."""
    server = world.server()
    world.serve(server, connections=4)
    known = [start(world, server, b"known %d" % i) for i in range(2)]
    for client, peer in known:
        world.rig.advance(1_000)
        confirm(client, server, peer)
    fresh = [start(world, server, b"fresh %d" % i) for i in range(2)]
    world.rig.advance(1_000)
    server.send(b"answer", fresh[0][1])  # idle since later than fresh[1], and still not confirmed
    assert fresh[0][0].receive() == b"answer"
    world.rig.settle()

    def crowd_out(word: bytes) -> tuple[Client, tuple[str, int]]:
        world.rig.advance(1_000)
        return start(world, server, word)

    def alive(client: Client, peer: tuple[str, int]) -> bool:
        client.ask(b"alive?")
        return server.take().peer == peer

    newest = crowd_out(b"one")
    world.ended("evicted", 1)  # fresh[1]
    server.send(b"nobody", fresh[1][1])
    assert alive(*known[0])
    confirm(*newest[:1], server, newest[1])
    newest = crowd_out(b"two")
    world.ended("evicted", 2)  # fresh[0]
    server.send(b"nobody", fresh[0][1])
    confirm(*newest[:1], server, newest[1])
    assert world.flows() == 4
    last = crowd_out(b"three")  # all are confirmed: known[1] was idle longest
    world.ended("evicted", 3)
    assert alive(*known[0])
    assert alive(*last)
    world.rig.settle()
    assert fresh[0][0].silent()
    assert fresh[1][0].silent()
    assert (world.stats()["rejected"], world.stats()["open"]) == ({}, 4)


def test_who_is_not_let_in_makes_nobody_go(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, connections=1, access=AccessFilter(deny=["127.0.0.8/32"], default_allow=True))
    client, peer = start(world, server)
    stranger = world.client("127.0.0.8")
    stranger.ask(b"me")
    world.rejected("denied")
    assert world.stats()["accepted"] == 1      # of the other, no flow was
    client.ask(b"on")
    assert server.take().peer == peer
    assert world.stats()["ended"] == {}


def test_flows_of_a_client_are_bounded(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, per_client=2)
    for _ in range(2):
        start(world, server)
    world.client().ask(b"third")
    world.rejected("client_limit")
    other = world.client("127.0.0.5")
    other.ask(b"other")
    assert server.take().data == b"other"


def test_many_flows_at_a_time(world: Datagrams) -> None:
    """The table grows; all of its flows are found again."""
    server = world.server()
    world.serve(server)
    flows = [start(world, server, b"%d" % i) for i in range(700)]
    for client, peer in flows:
        client.ask(b"again")
        assert server.take().peer == peer
    assert world.flows() == 700


def test_room_is_shared_with_other_engines(threaded: Rig) -> None:
    """The bound holds over all engines: one that has no flow to give up refuses."""
    with datagrams(threaded) as world:
        server = world.server()
        world.serve(server, connections=1)
        for _ in range(30):
            world.client().ask(b"hello")
        world.rig.until(
            lambda: sum(world.stats()["rejected"].values()) + sum(world.stats()["ended"].values()) == 29, f"all are seen: {world.stats()}"
        )
        assert world.flows() == 1
        assert set(world.stats()["rejected"]) <= {"connections"}
        assert set(world.stats()["ended"]) <= {"evicted"}


# ---- amplification ----


def drip(server: Party, client: Client, peer: tuple[str, int], size: int, most: int) -> int:
    """Send answers of that size one by one; how many arrive."""
    arrived = 0
    for _ in range(most):
        server.send(b"x" * size, peer)
        client.rig.settle()
        while client.maybe_receive() is not None:
            arrived += 1
    return arrived


def test_descriptors_are_left_for_others(world: Datagrams) -> None:
    """Whoever invents senders does not take the last ones of the process."""
    rig = world.rig
    sent: list[bytes] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as highest:
        most = highest.fileno() + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        server = world.server()
        world.serve(server)
        for _ in range(300):
            sent.append(b"hello")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(sent[-1], ("127.0.0.1", rig.ports["dns"]))
            rig.until(lambda: world.stats()["packets_in"] == len(sent), "it has come")
        assert world.stats()["rejected"] == {}
        assert world.flows() > 40
        left = [socket.socket() for _ in range(most // 8 - 2)]
        for sock in left:
            sock.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_little_is_sent_to_who_may_not_have_asked(world: Datagrams) -> None:
    server = world.server()
    world.serve(server)
    client, peer = start(world, server, b"?")
    assert drip(server, client, peer, 1000, 6) == 4  # 4 KiB always
    world.rejected("amplification", 2)
    client.ask(b"!")
    assert server.take().data == b"!"
    assert drip(server, client, peer, 1000, 20) == 20


def test_more_for_more(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"amplification": 3})
    client, peer = start(world, server, b"?" * 4000)
    assert drip(server, client, peer, 5000, 4) == 2  # 12,000 bytes
    world.rejected("amplification", 2)


def test_no_bound_on_answers(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"amplification": 0})
    client, peer = start(world, server, b"?")
    assert drip(server, client, peer, 60_000, 3) == 3


def test_answers_nobody_may_have_keep_no_flow_alive(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"idle_ms": 10_000})
    client, peer = start(world, server, b"?")
    world.rig.advance(9_000)
    assert drip(server, client, peer, 5000, 1) == 0
    world.rig.advance(1_000)
    world.ended("idle")
