"""Batches of datagrams: what goes in comes out, joined or not, from the right address, and what is lost is counted."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from proxyd_ext.io import datagram
from tests.support.datagrams import new_socket

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A socket, and one that is connected to it."""
    server = new_socket()
    client = new_socket()
    client.connect(server.getsockname())
    yield client, server
    client.close()
    server.close()


def arrived(server: socket.socket) -> list[bytes]:
    got = []
    while True:
        try:
            got.append(server.recv(65_536))
        except BlockingIOError:
            return got


def test_a_batch_is_taken_at_once(pair: Pair) -> None:
    client, server = pair
    sent = [b"%d" % i * i for i in range(10)]
    for data in sent:
        client.send(data)
    got = datagram.receive(server.fileno(), 6) + datagram.receive(server.fileno(), 64)
    assert [each[0] for each in got] == sent
    assert {each[1:] for each in got} == {(0, client.getsockname(), None)}
    assert datagram.receive(server.fileno(), 64) == []


@pytest.mark.parametrize("join", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [[0], [65_507], [100] * 64, [100, 100, 100, 100, 100, 7], [100, 100, 100, 7, 100, 100], [0, 0, 5, 0], [1400] * 50, [9, 8, 7, 6, 5]],
)
def test_what_is_sent_together_arrives_apart(pair: Pair, sizes: list[int], join: bool) -> None:
    client, server = pair
    sent = [bytes([i]) * size for i, size in enumerate(sizes)]
    given = datagram.send(client.fileno(), [(data, 0) for data in sent], join=join)
    assert (given["done"], given["packets"], given["bytes"], given["refused"]) == (len(sent), len(sent), sum(sizes), 0)
    assert given["join"] == join
    assert arrived(server) == sent


@pytest.mark.parametrize("join", [True, False])
@pytest.mark.parametrize("head", [b"", b"head:"])
def test_joined_pieces_arrive_apart(pair: Pair, join: bool, head: bytes) -> None:
    client, server = pair
    pieces = [(b"a" * 1000 + b"b" * 1000 + b"c" * 500, 1000), (b"single", 0), (b"d" * 30, 10), (b"e" * 10 + b"f", 10)]
    given = datagram.send(client.fileno(), pieces, head=head, join=join)
    apart = [b"a" * 1000, b"b" * 1000, b"c" * 500, b"single", b"d" * 10, b"d" * 10, b"d" * 10, b"e" * 10, b"f"]
    assert (given["done"], given["packets"], given["bytes"]) == (4, 9, sum(len(data) for data in apart))
    assert arrived(server) == [head + data for data in apart]


def test_pieces_stay_joined_where_the_kernel_can(pair: Pair) -> None:
    client, server = pair
    assert datagram.join(server.fileno())
    datagram.send(client.fileno(), [(b"a" * 2500, 1000), (b"b" * 5, 0)])
    assert [each[:2] for each in datagram.receive(server.fileno(), 8, told=True)] == [(b"a" * 2500, 1000), (b"bbbbb", 0)]


def test_too_long_for_a_datagram(pair: Pair) -> None:
    client, server = pair
    given = datagram.send(client.fileno(), [(b"x" * 65_508, 0), (b"y", 0), (b"z" * 70_000, 65_507)])
    assert (given["done"], given["packets"], given["refused"]) == (3, 3, 1)
    assert [len(data) for data in arrived(server)] == [1, 65_507, 4_493]


def test_a_kernel_that_cannot_join(pair: Pair) -> None:
    """What it refuses joined goes apart, and joining is not tried again."""
    client, server = pair
    client.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK: without checksums it cuts nothing
    given = datagram.send(client.fileno(), [(b"x" * 100, 0), (b"a" * 2500, 1000)])
    assert (given["done"], given["packets"], given["refused"], given["join"]) == (2, 4, 0, False)
    assert [len(data) for data in arrived(server)] == [100, 1000, 1000, 500]


def test_nobody_there(pair: Pair) -> None:
    """The refusal of the first is told at the second, which was not sent then."""
    client, server = pair
    server.close()
    assert datagram.send(client.fileno(), [(b"first", 0)])["done"] == 1
    given = datagram.send(client.fileno(), [(b"second", 0)])
    assert (given["done"], given["error"]) == (0, errno.ECONNREFUSED)


def test_our_address_is_told() -> None:
    with new_socket("0.0.0.0") as server, new_socket() as client:
        assert datagram.tell_local(server.fileno(), socket.AF_INET)
        client.sendto(b"hello", ("127.0.0.7", server.getsockname()[1]))
        assert datagram.receive(server.fileno(), 4, told=True) == [(b"hello", 0, client.getsockname(), "127.0.0.7")]


def test_our_address_is_told_of_a_mapped_one() -> None:
    with new_socket("::") as server, new_socket() as client:
        assert datagram.tell_local(server.fileno(), socket.AF_INET6)
        client.sendto(b"hello", ("127.0.0.7", server.getsockname()[1]))
        assert datagram.receive(server.fileno(), 4, told=True) == [(b"hello", 0, client.getsockname(), "127.0.0.7")]


def test_the_queue() -> None:
    """More than it holds is sent early; every one leaves from the address that it should."""
    with new_socket("0.0.0.0") as sender, new_socket() as receiver:
        sent = [b"%d" % i for i in range(150)]
        given = datagram.queue(sender.fileno(), sent, receiver.getsockname(), "127.0.0.4")
        assert given == {"packets": 150, "bytes": sum(len(data) for data in sent), "refused": 0, "full": 2}
        peers = set()
        for data in sent:
            got, peer = receiver.recvfrom(100)
            assert got == data
            peers.add(peer[0])
        assert peers == {"127.0.0.4"}


def test_the_queue_drops_what_has_no_way() -> None:
    with new_socket() as sender, new_socket() as receiver:
        given = datagram.queue(sender.fileno(), [b"x" * 65_508, b"ok"], receiver.getsockname())
        assert (given["packets"], given["refused"]) == (1, 1)
        assert arrived(receiver) == [b"ok"]
