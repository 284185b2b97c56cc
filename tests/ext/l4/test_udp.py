"""UDP flows: datagrams both ways, servers that are not there, listeners that come and go."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from proxyd_ext.preface.proxy import parse, write
from proxyd_ext.snapshot.spec import RetrySpec, SnapshotSpec
from tests.support.datagrams import Datagrams, Party, datagrams, echo
from tests.support.engine import Rig


@pytest.fixture
def world(rig: Rig) -> Iterator[Datagrams]:
    with datagrams(rig) as world:
        yield world


def test_a_question_and_its_answer(world: Datagrams) -> None:
    server = world.server()
    world.serve(server)
    client = world.client()
    for i in range(20):
        client.ask(b"question %d" % i)
        asked = server.take()
        assert asked.data == b"question %d" % i
        server.send(b"answer %d" % i, asked.peer)
        assert client.receive() == b"answer %d" % i
    stats = world.stats()
    assert (stats["accepted"], stats["open"], stats["packets_in"], stats["packets_out"]) == (1, 1, 20, 20)
    assert (stats["bytes_in"], stats["bytes_out"], stats["rejected"]) == (210, 170, {})
    of_server = world.handle(server).stats()
    assert (of_server["flows"], of_server["in_flight"], of_server["bytes_in"], of_server["bytes_out"]) == (1, 1, 170, 210)


def test_each_client_has_its_own_flow(world: Datagrams) -> None:
    first, second = world.server(), world.server()
    world.serve(first, second)
    clients = [world.client() for _ in range(40)]
    for i, client in enumerate(clients):
        client.ask(b"%d" % i)
    steps = [echo(world, first), echo(world, second)]
    world.rig.until(lambda: all(step() for step in steps) and world.stats()["packets_out"] == len(clients), "all are answered")
    assert [client.receive() for client in clients] == [b"%d" % i for i in range(40)]
    assert world.flows() == 40
    assert [world.handle(server).stats()["flows"] for server in (first, second)] == [20, 20] or world.rig.mode == "threads"


def test_a_client_stays_with_its_server(world: Datagrams) -> None:
    servers = [world.server() for _ in range(3)]
    world.serve(*servers)
    client = world.client()
    client.ask(*(b"%d" % i for i in range(30)))
    got: list[bytes] = []

    def taken() -> bool:
        for server in servers:
            while (asked := server.maybe_receive()) is not None:
                got.append(b"%d:%s" % (server.address[1], asked.data))
        return len(got) == 30

    world.rig.until(taken, "30 datagrams", [server.sock for server in servers])
    assert len({entry.split(b":")[0] for entry in got}) == 1
    assert sorted(int(entry.split(b":")[1]) for entry in got) == list(range(30))


def test_several_answers_to_a_question(world: Datagrams) -> None:
    server = world.server()
    world.serve(server)
    client = world.client()
    client.ask(b"more")
    peer = server.take().peer
    for i in range(100):
        server.send(b"%03d" % i, peer)
    assert client.take_all(100) == [b"%03d" % i for i in range(100)]
    client.ask(b"again")
    assert server.take().data == b"again"
    for i in range(200):  # many wait at a time: they are taken together
        server.send(b"%03d" % i, peer)
    assert client.take_all(200) == [b"%03d" % i for i in range(200)]


def test_the_answers_end_the_flow(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"responses": 1})
    client = world.client()
    client.ask(b"one")
    first = server.take()
    server.send(b"answer", first.peer)
    assert client.receive() == b"answer"
    world.ended("responses")
    assert world.flows() == 0
    client.ask(b"one")  # asked again: another flow, from another port of ours
    second = server.take()
    server.send(b"again", second.peer)
    assert client.receive() == b"again"
    world.ended("responses", 2)


def test_questions_under_way_together_have_all_their_answers(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"responses": 2})
    client = world.client()
    client.ask(b"a", b"b")
    peer = server.take().peer
    assert server.take().peer == peer
    for i in range(4):
        server.send(b"%d" % i, peer)
    assert client.take_all(4) == [b"0", b"1", b"2", b"3"]
    world.ended("responses")


@pytest.mark.parametrize("size", [0, 1, 1472, 9000, 65_507])
def test_any_size_passes(world: Datagrams, size: int) -> None:
    server = world.server()
    world.serve(server)
    client = world.client()
    data = bytes(i % 251 for i in range(size))
    client.ask(b"", data)
    assert [server.take().data, server.take().data] == [b"", data]
    client.ask(data)
    asked = server.take()
    assert asked.data == data
    server.send(data, asked.peer)
    assert client.receive() == data
    server.send(b"", asked.peer)
    assert client.receive() == b""


def test_what_came_joined_arrives_as_it_was(world: Datagrams) -> None:
    """Bulk: the kernel hands several datagrams over as one piece, which leaves as one; each is a datagram still, also at the ends."""
    server = world.server()
    world.serve(server)
    client = world.client()
    sent = [bytes([i]) * 1200 for i in range(30)] + [b"short"]
    for _ in range(4):
        client.send_joined(b"".join(sent), 1200, client.to)
        got = [server.take() for _ in sent]
        assert [each.data for each in got] == sent
    for _ in range(4):
        server.send_joined(b"".join(sent), 1200, got[0].peer)
        assert client.take_all(len(sent)) == sent
    stats = world.stats()
    assert (stats["packets_in"], stats["packets_out"], stats["rejected"]) == (124, 124, {})


def test_a_socket_that_was_passed_may_give_datagrams_joined(world: Datagrams) -> None:
    """Whoever had it before us switched that on, and it stays on."""
    world.listen(passed=lambda sock: sock.setsockopt(socket.IPPROTO_UDP, 104, 1))      # UDP_GRO
    server = world.server()
    world.serve(server)
    client = world.client()
    client.send_joined(bytes(300), 100, client.to)
    assert server.take_all(3) == [bytes(100)] * 3
    assert world.stats()["packets_in"] == 3


def test_more_sockets_than_engines(world: Datagrams) -> None:
    """As a process with more engines had bound them: each is served, and each client keeps its flow."""
    world.listen(sockets=5)
    server = world.server()
    world.serve(server)
    clients = [world.client() for _ in range(20)]
    for client in clients:
        client.ask(b"once")
        client.ask(b"twice")
    answer = echo(world, server)
    world.rig.until(lambda: answer() and world.stats()["packets_out"] == 40, "all are answered")
    for client in clients:
        assert client.take_all(2) == [b"once", b"twice"]
    assert (world.stats()["accepted"], world.stats()["rejected"]) == (20, {})


# ---- servers that are not there ----


def test_a_server_that_refuses_is_passed_over(world: Datagrams) -> None:
    """Nobody listens: the kernel says so behind the first datagram, which goes to the next server."""
    gone, server = world.server(), world.server()
    world.serve(gone, server)
    gone.close()
    for i in range(4):
        client = world.client()
        client.ask(b"%d" % i)
        asked = server.take()
        assert asked.data == b"%d" % i
        server.send(b"yes", asked.peer)
        assert client.receive() == b"yes"
    figures = world.handle(gone).stats()
    assert figures["errors"]["connect_refused"] >= 1
    assert (figures["flows"], world.handle(server).stats()["flows"]) == (0, 4)


def test_without_retries_a_refusal_ends_the_flow(world: Datagrams) -> None:
    gone = world.server()
    world.serve(gone, retry=RetrySpec(attempts=0))
    gone.close()
    client = world.client()
    client.ask(b"anybody?")
    world.ended("refused")
    assert world.handle(gone).stats()["in_flight"] == 0
    world.rig.until(lambda: world.flows() == 0, "the flow is over")


def test_a_server_that_dies_ends_its_flows(world: Datagrams) -> None:
    """The client's next datagram after the refusal begins another flow, which another server has."""
    first, second = world.server(), world.server()
    world.serve(first, second)
    client = world.client()
    client.ask(b"one")
    servers = {party.address: party for party in (first, second)}
    got: list[tuple[Party, tuple[str, int]]] = []

    def taken() -> bool:
        for party in servers.values():
            if (asked := party.maybe_receive()) is not None:
                got.append((party, asked.peer))
        return bool(got)

    world.rig.until(taken, "the question at one of them")
    mine, peer = got[0]
    mine.send(b"here", peer)
    assert client.receive() == b"here"
    mine.close()
    client.ask(b"two")
    world.ended("server_reset")
    assert world.handle(mine).stats()["errors"] == {"connect_refused": 1}
    other = second if mine is first else first
    client.ask(b"three")
    asked = other.take()
    assert asked.data == b"three"


def test_no_server_at_all(world: Datagrams) -> None:
    server = world.server()
    world.serve(server)
    world.handle(server).set_down("health", True)
    client = world.client()
    client.ask(b"anybody?")
    world.ended("refused")
    world.handle(server).set_down("health", False)
    client.ask(b"now?")
    assert server.take().data == b"now?"


# ---- addresses ----


@pytest.mark.parametrize(("host", "asked"), [("0.0.0.0", "127.0.0.2"), ("::", "127.0.0.3"), ("::", "::1")])
def test_answers_leave_from_the_address_that_was_asked(world: Datagrams, host: str, asked: str) -> None:
    server = world.server()
    world.serve(server, host=host)
    client = world.client("::1" if ":" in asked else "127.0.0.9", to=asked)
    client.ask(b"where?")
    got = server.take()
    server.send(b"there", got.peer)
    assert client.receive() == b"there"  # the peer is compared
    for i in range(60):
        server.send(b"%02d" % i, got.peer)
    assert [client.receive() for _ in range(60)] == [b"%02d" % i for i in range(60)]


def test_one_client_port_and_two_of_our_addresses_are_two_flows(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, host="0.0.0.0")
    client = world.client(to="127.0.0.2")
    client.send(b"a", ("127.0.0.2", client.to[1]))
    client.send(b"b", ("127.0.0.3", client.to[1]))
    for asked in (server.take(), server.take()):
        server.send(asked.data, asked.peer)
    answers = {(got.peer[0], got.data) for got in (client.take(), client.take())}
    assert answers == {("127.0.0.2", b"a"), ("127.0.0.3", b"b")}
    assert world.flows() == 2


# ---- PROXY headers ----


def test_servers_are_told_who_asks(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, upstream={"proxy": 2, "proxy_crc": True, "proxy_unique_id": True})
    client = world.client()
    ids = set()
    for data in (b"one", b"", b"x" * 4000):
        client.ask(data)
        asked = server.take()
        header = parse(asked.data, datagram=True)
        assert not isinstance(header, int)
        assert (header["version"], header["transport"], header["local"]) == (2, 2, False)
        assert (header["source"], header["destination"]) == (client.address, client.to)
        assert asked.data[header["size"] :] == data
        ids.add(header["unique_id"])
        server.send(b"back", asked.peer)
        assert client.receive() == b"back"
    assert len(ids) == 1  # of the flow
    client.send_joined(b"a" * 1000 + b"b" * 1000 + b"c" * 10, 1000, client.to)
    got = [server.take().data for _ in range(3)]
    bodies = []
    for data in got:
        header = parse(data, datagram=True)
        assert not isinstance(header, int)
        bodies.append(data[header["size"] :])
    assert bodies == [b"a" * 1000, b"b" * 1000, b"c" * 10]


def test_a_header_in_front_of_each_datagram(world: Datagrams) -> None:
    """Clients behind one peer are flows of their own; answers go to the peer."""
    server = world.server()
    world.serve(server, proxy=["127.0.0.0/8"])
    peer = world.client()

    def front(port: int) -> bytes:
        return write(2, ("192.0.2.1", port), ("198.51.100.1", 53), datagram=True, crc=True)

    peer.ask(front(1) + b"from one", front(2) + b"from two", front(1) + b"one again")
    got = [server.take() for _ in range(3)]
    ports = {each.data: each.peer for each in got}
    assert set(ports) == {b"from one", b"from two", b"one again"}
    assert ports[b"from one"] == ports[b"one again"] != ports[b"from two"]
    server.send(b"to one", ports[b"from one"])
    assert peer.receive() == b"to one"
    assert world.flows() == 2


@pytest.mark.parametrize(
    "data",
    [b"", b"no header", b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", write(2, ("192.0.2.1", 1), ("192.0.2.2", 2), datagram=True)[:-1]],
)
def test_without_a_header_it_is_dropped(world: Datagrams, data: bytes) -> None:
    server = world.server()
    world.serve(server, proxy=["127.0.0.0/8"])
    world.client().ask(data)
    world.rejected("proxy_header")
    assert server.silent()
    assert world.flows() == 0


def test_headers_of_strangers_are_not_believed(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, proxy=["10.0.0.0/8"])
    world.client().ask(write(2, ("192.0.2.1", 1), ("192.0.2.2", 2), datagram=True) + b"hello")
    world.rejected("proxy_header")
    assert server.silent()


# ---- listeners that come and go ----


def test_a_reload_keeps_flows(world: Datagrams) -> None:
    server, other = world.server(), world.server()
    world.serve(server)
    client = world.client()
    client.ask(b"before")
    peer = server.take().peer
    for _ in range(5):
        world.serve(server, other)
    client.ask(b"after")
    assert server.take().peer == peer
    server.send(b"answer", peer)
    assert client.receive() == b"answer"
    assert (world.stats()["accepted"], world.stats()["ended"]) == (1, {})


def test_flows_of_a_listener_that_left_go_on(world: Datagrams) -> None:
    server = world.server()
    world.serve(server)
    client, other = world.client(), world.client()
    client.ask(b"before")
    peer = server.take().peer
    server.send(b"known", peer)
    assert client.receive() == b"known"
    other.ask(b"waits")  # perhaps still in the socket when the listener leaves
    upstreams = world.rig.spec.upstreams if world.rig.spec else ()
    world.rig.publish_spec(SnapshotSpec(0, "test", [], [], upstreams))
    assert server.take().data == b"waits"
    client.ask(b"after")
    assert server.take().data == b"after"
    server.send(b"answer", peer)
    assert client.receive() == b"answer"
    stranger = world.client()
    stranger.ask(b"me too")
    world.rejected("draining")
    assert server.silent()
    assert world.flows() == 2
    world.finish()
    if world.rig.mode == "inline":  # several engines look for one another's flows once a second
        assert _port_is_free(client.to)


def _port_is_free(address: tuple[str, int]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def test_another_listener_takes_over_the_address(world: Datagrams) -> None:
    """Both sockets are read while old flows live, and the kernel sorts clients to either: old flows go on, and everybody is served."""
    server = world.server()
    world.serve(server, flow={"amplification": 0})
    known = [world.client() for _ in range(12)]
    for client in known:
        client.ask(b"before")
    peers = {server.take().peer for _ in known}
    world.listen("next", port=world.rig.ports["dns"])
    world.serve(server, listeners=["next"])
    strangers = [world.client(listener="next") for _ in range(12)]
    for client in [*known, *strangers]:
        client.ask(b"after")
    seen = []

    def answered() -> bool:
        while (asked := server.maybe_receive()) is not None:
            seen.append(asked.peer)
            server.send(b"answer", asked.peer)
        return len(seen) == 24

    world.rig.until(answered, "24 datagrams")
    for client in [*known, *strangers]:
        assert client.receive() == b"answer"
    assert (world.stats()["rejected"], world.stats("next")["rejected"]) == ({}, {})
    if world.rig.mode == "inline":  # with several engines, a client that is now sorted to another one has a new flow there
        assert len(peers & set(seen)) == 12
        assert (world.stats()["accepted"], world.stats("next")["accepted"]) == (12, 12)


def test_a_listener_without_flows_leaves_at_once(world: Datagrams) -> None:
    server = world.server()
    world.serve(server)
    to = world.client().to
    world.rig.publish_spec(SnapshotSpec(0, "test", [], [], world.rig.spec.upstreams if world.rig.spec else ()))
    world.rig.until(lambda: _port_is_free(to), "the port is free")


def test_drained_listeners_and_no_flow_left(world: Datagrams) -> None:
    server = world.server()
    world.serve(server, flow={"responses": 1})
    client = world.client()
    client.ask(b"last")
    peer = server.take().peer
    for engine in world.rig.engines:
        engine.drain()
    world.rig.turn()
    server.send(b"answer", peer)
    assert client.receive() == b"answer"
    for _ in world.rig.engines:
        world.rig.event("drained")


def test_a_socket_that_was_handed_over(world: Datagrams) -> None:
    """Flows get their answers through it; what clients say is read by the process that has it, too."""
    passed: list[socket.socket] = []
    world.listen(passed=lambda sock: passed.append(sock.dup()))
    server = world.server()
    world.serve(server, flow={"responses": 1})
    client = world.client()
    client.ask(b"before")
    peer = server.take().peer
    for engine in world.rig.engines:
        engine.hand_over()
    for _ in range(len(world.rig.engines) - 1):
        world.rig.event("drained")
    world.rig.turn()
    client.ask(b"after")
    heard: list[bytes] = []

    def read() -> bool:
        for sock in passed:
            with contextlib.suppress(BlockingIOError):
                heard.append(sock.recv(100))
        return bool(heard)

    world.rig.until(read, "the other process hears it")
    assert heard == [b"after"]
    assert server.silent()
    server.send(b"answer", peer)
    assert client.receive() == b"answer"
    world.rig.event("drained")
    for sock in passed:
        sock.close()
