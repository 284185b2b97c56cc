"""TCP flows: bytes both ways, ends, resets, retries, limits, deadlines."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket

import pytest

from proxyd_ext.snapshot.spec import AccessFilter, FlowRoute, RetrySpec, TargetSpec
from tests.ext.io.test_acceptor import no_more_descriptors
from tests.support.engine import Rig
from tests.support.flows import await_end, pair, serve_flows, stats
from tests.support.wire import Origin

MIB = 1 << 20


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes in which a lost, doubled or moved piece shows."""
    return hashlib.shake_128(b"%d" % seed).digest(size)


def test_both_directions(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    for i in range(50):
        client.send(b"ping%02d" % i)
        assert peer.read(6) == b"ping%02d" % i
        peer.send(b"pong%02d" % i)
        assert client.read(6) == b"pong%02d" % i
    client.half_close()
    assert peer.ended()
    peer.send(b"still here")
    assert client.read(10) == b"still here"
    peer.half_close()
    assert client.ended()
    await_end(rig, "client")
    figures = stats(rig)
    assert (figures["accepted"], figures["open"], figures["bytes_in"], figures["bytes_out"]) == (1, 0, 300, 310)
    assert (rig.of(origin)["flows"], rig.of(origin)["bytes_in"], rig.of(origin)["bytes_out"]) == (1, 310, 300)


def test_the_server_speaks_first_and_ends_first(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    peer.send(b"220 ready\r\n")
    assert client.line() == b"220 ready\r\n"
    peer.half_close()
    assert client.ended()
    client.send(b"more")
    assert peer.read(4) == b"more"
    client.half_close()
    assert peer.ended()
    await_end(rig, "server")


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 70_000, 3 * MIB])
def test_bytes_arrive_as_they_were(rig: Rig, size: int) -> None:
    """Small ones are copied, a long run is spliced; each way at the same time."""
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    there, back = noise(size), noise(size, 2)
    client.send(there)
    peer.send(back)
    assert peer.read(size) == there
    assert client.read(size) == back
    client.send(b"and on")
    assert peer.read(6) == b"and on"
    client.half_close()
    peer.half_close()
    assert client.ended()
    assert peer.ended()
    rig.until(lambda: stats(rig)["open"] == 0, "the flow ends")
    assert (stats(rig)["bytes_in"], stats(rig)["bytes_out"]) == (size + 6, size)


def test_a_long_flow_becomes_small_again(rig: Rig) -> None:
    """Splicing begins and ends several times in one flow."""
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    for turn in range(3):
        block = noise(MIB, turn)
        client.send(block)
        assert peer.read(MIB) == block
        for i in range(12):
            client.send(b"%03d" % i)
            assert peer.read(3) == b"%03d" % i
    assert rig.total("buffers_bytes") == 0
    client.half_close()
    assert peer.ended()


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_slow_reader_holds_the_other_side_back(rig: Rig, size: int) -> None:
    """No more than the bound is kept for it, whether it is copied or spliced."""
    origin = rig.origin(send_bytes=8192)
    rig.listen(send_bytes=8192)
    serve_flows(rig, origin, buffer=65_536)
    client, peer = pair(rig, origin, receive_bytes=4096)
    data = noise(2 * MIB)
    for at in range(0, len(data), size):
        peer.send(data[at : at + size])
    rig.at_rest(lambda: peer.unsent)
    assert peer.unsent > MIB
    assert rig.total("buffers_bytes") <= 65_536 + 2 * 65_536
    assert client.read(len(data)) == data
    client.close()
    peer.close()


def connected_to(port: int) -> socket.socket:
    """The engine's own socket to a client or server at this port, which lives in this process; a duplicate."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):      # no socket, or not connected
            sock = socket.socket(fileno=int(name))
            try:
                if sock.family == socket.AF_INET and sock.getpeername()[1] == port:
                    return sock.dup()
            finally:
                sock.detach()
    raise AssertionError("there is no connection")


def port_of(origin: Origin) -> int:
    return int(origin.label.rpartition(":")[2])


@pytest.mark.parametrize("wanted", [True, False])
def test_keepalive_of_both_sides(clocked: Rig, wanted: bool) -> None:
    origin = clocked.origin()
    serve_flows(clocked, origin, flow={"keepalive": wanted})
    client, _peer = pair(clocked, origin)
    clocked.settle()
    for port in (client.sock.getsockname()[1], port_of(origin)):
        with connected_to(port) as sock:
            assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == wanted


@pytest.mark.parametrize(("sizes", "set_by_then"), [([512], 0), ([513], 1), ([5, 5], 1)])
def test_nagle_never_holds_anything_back(clocked: Rig, sizes: list[int], set_by_then: int) -> None:
    """The option is spared where one small send is all there is."""
    origin = clocked.origin()
    serve_flows(clocked, origin)
    client, peer = pair(clocked, origin)
    for size in sizes:
        client.send(noise(size))
        assert peer.read(size) == noise(size)
    with connected_to(port_of(origin)) as sock:
        assert bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) == bool(set_by_then)


def test_a_reset_of_the_client_is_passed_on(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    client.send(b"x")
    assert peer.read(1) == b"x"
    client.reset()
    assert peer.was_reset()
    await_end(rig, "client_reset")


def test_a_reset_of_the_server_is_passed_on_behind_its_bytes(threaded: Rig) -> None:
    """What had come before it is not thrown away for a client that reads slowly."""
    rig = threaded
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin, receive_bytes=4096)
    peer.send(noise(200_000))
    rig.until(lambda: peer.unsent == 0, "all is sent")
    rig.at_rest(lambda: stats(rig)["bytes_out"])
    taken = stats(rig)["bytes_out"]
    peer.reset()
    assert client.was_reset()
    assert len(client.received) >= taken > 50_000
    assert noise(200_000).startswith(bytes(client.received))
    await_end(rig, "server_reset")


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_behind_the_other_sides_half_close(rig: Rig, who: str) -> None:
    """Half of what it had to say must not look like all of it: neither to the other side, nor in the record."""
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    one, other = (client, peer) if who == "client" else (peer, client)
    other.half_close()
    assert one.ended()
    one.send(b"half")
    assert other.read(4) == b"half"
    one.reset()
    assert other.was_reset()
    await_end(rig, f"{who}_reset")


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_behind_the_same_sides_half_close(threaded: Rig, who: str) -> None:
    """It is noticed though nobody says anything any more."""
    rig = threaded
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    one, other = (client, peer) if who == "client" else (peer, client)
    one.half_close()
    assert other.ended()
    one.reset()
    await_end(rig, who)


def test_a_reset_behind_a_whole_answer(threaded: Rig) -> None:
    """A slow client gets all of it, and an orderly end."""
    rig = threaded
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin, receive_bytes=4096)
    peer.send(noise(200_000))
    rig.until(lambda: peer.unsent == 0, "all is sent")
    rig.at_rest(lambda: stats(rig)["bytes_out"])
    peer.half_close()
    rig.at_rest(lambda: stats(rig)["bytes_out"])
    peer.reset()
    assert client.read(200_000) == noise(200_000)
    assert client.ended()
    await_end(rig, "server")


def test_what_a_server_says_before_it_resets_under_an_upload(clocked: Rig) -> None:
    """Our send fails before its words are read, in the same turn."""
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    client.send(noise(200_000))
    assert peer.read(200_000) == noise(200_000)
    rig.settle()
    client.send(b"more")
    peer.send(b"too much")
    peer.reset()
    assert client.read(8) == b"too much"
    rig.advance(100)
    assert client.was_reset()
    await_end(rig, "server_reset")


def test_a_reset_whose_error_a_send_has_taken(clocked: Rig) -> None:
    """So much is said in one turn that it leaves early, to a client that is not there any more; what is read from it then is no end."""
    origin = clocked.origin()
    serve_flows(clocked, origin)
    pairs = [pair(clocked, origin) for _ in range(40)]
    clocked.settle()
    for _, peer in pairs:
        peer.send(noise(16_384))
    client, peer = pairs[0]
    client.reset()
    assert peer.was_reset()
    await_end(clocked, "client_reset")


def test_without_descriptors_a_client_is_closed(rig: Rig) -> None:
    """Nobody says anything in HTTP to it."""
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    sock = socket.socket()
    with no_more_descriptors():
        refused = rig.connect(sock=sock)
        assert refused.ended()
        assert stats(rig)["rejected"] == {"fd_exhausted": 1}
        client.send(b"on")
        assert peer.read(2) == b"on"
    refused.close()
    client, peer = pair(rig, origin)
    client.send(b"again")
    assert peer.read(5) == b"again"


def test_without_descriptors_no_server_is_to_blame(rig: Rig) -> None:
    """The client is accepted, and for the connection to the server there is none left."""
    origin = rig.origin()
    serve_flows(rig, origin, upstream={"passive_failures": 1})
    sock, last = socket.socket(), socket.socket()
    with no_more_descriptors():
        last.close()
        assert rig.connect(sock=sock).ended()
        await_end(rig, "refused")
    assert rig.of(origin)["errors"] == {}
    assert rig.of(origin)["ejections"] == rig.of(origin)["in_flight"] == 0
    pair(rig, origin)


def test_what_the_client_says_while_it_is_connected(rig: Rig) -> None:
    """It waits in the kernel, and a FIN behind it is passed on."""
    origin = rig.origin()
    serve_flows(rig, origin)
    client = rig.connect()
    client.send(b"early")
    client.half_close()
    peer = origin.accept()
    assert peer.read(5) == b"early"
    assert peer.ended()
    peer.send(b"answer")
    peer.half_close()
    assert client.read(6) == b"answer"
    assert client.ended()


def test_another_server_is_tried(rig: Rig) -> None:
    dead, alive = rig.origin(), rig.origin()
    dead.refuse()
    serve_flows(rig, dead, alive, upstream={"balance": "first"})
    client, peer = pair(rig, alive)
    client.send(b"hello")
    assert peer.read(5) == b"hello"
    assert rig.of(dead)["errors"] == {"connect_refused": 1}
    assert rig.of(alive)["flows"] == 1
    assert rig.of(dead)["in_flight"] == 0


def test_no_server_left(rig: Rig) -> None:
    dead, also = rig.origin(), rig.origin()
    dead.refuse()
    also.refuse()
    serve_flows(rig, dead, also, target={"retry": RetrySpec(attempts=1)})
    client = rig.connect()
    assert client.ended()
    await_end(rig, "refused")
    assert rig.of(dead)["errors"] == rig.of(also)["errors"] == {"connect_refused": 1}


def test_a_server_that_does_not_answer_is_left(clocked: Rig) -> None:
    rig = clocked
    silent, alive = rig.origin(backlog=0), rig.origin()
    host, port = silent.label.split(":")
    filler = socket.create_connection((host, int(port)))
    serve_flows(rig, silent, alive, upstream={"balance": "first"}, target={"connect_ms": 500})
    client = rig.connect()
    rig.settle()
    rig.advance(500)
    peer = alive.accept()
    client.send(b"x")
    assert peer.read(1) == b"x"
    assert rig.of(silent)["errors"] == {"connect_timeout": 1}
    filler.close()


def test_idle_flows_end(clocked: Rig) -> None:
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin, flow={"idle_ms": 10_000})
    client, peer = pair(rig, origin)
    rig.advance(9_000)
    peer.send(b"x")
    assert client.read(1) == b"x"
    rig.advance(9_999)
    assert stats(rig)["open"] == 1
    rig.advance(1)
    assert client.ended()
    assert peer.ended()
    await_end(rig, "idle")


def test_max_age(clocked: Rig) -> None:
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin, flow={"idle_ms": 0, "max_age_ms": 60_000})
    client, peer = pair(rig, origin)
    for _ in range(59):
        rig.advance(1_000)
        client.send(b"x")
        assert peer.read(1) == b"x"
    rig.advance(1_000)
    assert client.was_reset()      # what is cut must not look whole
    await_end(rig, "age")


def test_who_may_come(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, access=AccessFilter(allow=["127.0.0.0/8"], deny=["127.0.0.9/32"]))
    client, peer = pair(rig, origin, source="127.0.0.8")
    client.send(b"x")
    assert peer.read(1) == b"x"
    assert rig.connect(source="127.0.0.9").ended()
    assert stats(rig)["rejected"] == {"denied": 1}


def test_connections_of_all_and_of_one_client(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin, connections=3, per_client=2)
    first = [pair(rig, origin, source="127.0.0.2") for _ in range(2)]
    assert rig.connect(source="127.0.0.2").ended()
    pair(rig, origin, source="127.0.0.3")
    assert rig.connect(source="127.0.0.4").ended()
    assert stats(rig)["rejected"] == {"client_limit": 1, "connections": 1}
    first[0][0].reset()
    rig.until(lambda: stats(rig)["open"] == 2, "a place is free")
    client, peer = pair(rig, origin, source="127.0.0.4")
    client.send(b"x")
    assert peer.read(1) == b"x"


def test_flows_outlive_reloads(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    for turn in range(20):
        serve_flows(rig, origin, flow={"idle_ms": 1_000 + turn})
        rig.event("retired")
        client.send(b"%02d" % turn)
        assert peer.read(2) == b"%02d" % turn


def test_a_dead_server_takes_its_flows_with_it(rig: Rig) -> None:
    """on_down: close; not by a drain."""
    origin, other = rig.origin(), rig.origin()
    serve_flows(rig, origin, other, upstream={"on_down_close": True, "balance": "first"})
    client, peer = pair(rig, origin)
    handle = rig.server("app", origin)
    handle.set_down("drain", True)
    review(rig)
    client.send(b"x")
    assert peer.read(1) == b"x"
    handle.set_down("drain", False)
    handle.set_down("health", True)
    review(rig)
    await_end(rig, "down")
    assert client.was_reset()
    pair(rig, other)


def test_a_dead_server_keeps_its_flows(rig: Rig) -> None:
    origin = rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    rig.server("app", origin).set_down("health", True)
    review(rig)
    client.send(b"x")
    assert peer.read(1) == b"x"


def review(rig: Rig) -> None:
    """And wait until every engine has looked."""
    before = [engine.stats()["turns"] for engine in rig.engines]
    for engine in rig.engines:
        engine.review()
    rig.until(lambda: all(engine.stats()["turns"] > was for engine, was in zip(rig.engines, before, strict=True)), "engines have looked")


def test_a_reload_reaches_flows_that_run(clocked: Rig) -> None:
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin, flow={"idle_ms": 60_000})
    (first, _here), (second, _there) = pair(rig, origin), pair(rig, origin)
    serve_flows(rig, origin, flow={"idle_ms": 10_000}, upstream={"on_down_close": True})
    rig.advance(8_000)
    first.send(b"x")
    rig.advance(2_000)
    assert second.ended()
    await_end(rig, "idle")
    rig.server("app", origin).set_down("maint", True)
    review(rig)
    await_end(rig, "down")


def test_a_drained_server_is_left_at_the_deadline(clocked: Rig) -> None:
    rig = clocked
    origin = rig.origin()
    serve_flows(rig, origin, flow={"drain_ms": 30_000})
    client, peer = pair(rig, origin)
    handle = rig.server("app", origin)
    handle.set_down("drain", True)
    review(rig)
    rig.advance(20_000)
    handle.set_down("drain", False)
    review(rig)
    rig.advance(20_000)
    client.send(b"x")
    assert peer.read(1) == b"x"
    handle.set_down("drain", True)
    review(rig)
    rig.advance(29_999)
    assert stats(rig)["open"] == 1
    rig.advance(1)
    await_end(rig, "drain")


def test_a_server_that_left_its_upstream(clocked: Rig) -> None:
    rig = clocked
    origin, other = rig.origin(), rig.origin()
    serve_flows(rig, origin, flow={"drain_ms": 30_000})
    client, peer = pair(rig, origin)
    serve_flows(rig, other, flow={"drain_ms": 30_000})
    client.send(b"x")
    assert peer.read(1) == b"x"
    pair(rig, other)
    rig.advance(30_000)
    await_end(rig, "drain")
    assert stats(rig)["open"] == 1


def test_an_upstream_that_left(rig: Rig) -> None:
    """Its flows go on, and give back what they hold when nobody knows it any more."""
    origin, other = rig.origin(), rig.origin()
    serve_flows(rig, origin)
    client, peer = pair(rig, origin)
    serve_flows(rig, other, upstream={"name": "other"})
    rig.event("retired")
    del rig.states["app"]
    client.send(b"x")
    assert peer.read(1) == b"x"
    client.reset()
    await_end(rig, "client_reset")


def test_flows_that_go_nowhere_are_refused_when_they_are_compiled(clocked: Rig) -> None:
    with pytest.raises(ValueError, match="go nowhere"):
        serve_flows(clocked, clocked.origin(), routes=[FlowRoute("web", [])])


def test_weights_split_flows(clocked: Rig) -> None:
    rig = clocked
    blue, green = rig.origin(), rig.origin()
    uses = [rig.upstream(blue, name="blue"), rig.upstream(green, name="green")]
    targets = [TargetSpec(0, weight=30), TargetSpec(1, weight=10), TargetSpec(1, weight=0)]
    serve_flows(rig, routes=[FlowRoute("split", targets)], upstreams=uses)
    for _ in range(80):
        rig.connect()
    rig.until(lambda: rig.of(blue, "blue")["flows"] + rig.of(green, "green")["flows"] == 80, "all are there")
    assert 8 <= rig.of(green, "green")["flows"] <= 34      # 20 ± 3.6 standard deviations


def test_affinity_by_source_and_by_flow(rig: Rig) -> None:
    origins = [rig.origin() for _ in range(4)]
    serve_flows(rig, *origins, upstream={"balance": "maglev", "hash_key": "client.ip"})
    for _ in range(12):
        rig.connect(source="127.0.0.7")
    rig.until(lambda: sum(rig.of(origin)["flows"] for origin in origins) == 12, "all are there")
    assert sorted(rig.of(origin)["flows"] for origin in origins) == [0, 0, 0, 12]
    serve_flows(rig, *origins, upstream={"balance": "maglev", "hash_key": "flow"})
    for _ in range(40):
        rig.connect(source="127.0.0.7")
    rig.until(lambda: sum(rig.of(origin)["flows"] for origin in origins) == 52, "all are there")
    assert sorted(rig.of(origin)["flows"] for origin in origins)[0] > 0
