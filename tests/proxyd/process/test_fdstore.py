"""What the service manager is given, and told to forget."""
from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest

from proxyd.config.address import BindAddress
from proxyd.process.fdstore import FdStore, sockets_of
from proxyd.process.notify import Notifier
from proxyd.sockets import close_all, open_bound


class Told(Notifier):
    def __init__(self) -> None:
        super().__init__({})
        self.said: list[str] = []

    def send(self, *facts: str, fds: Sequence[int] = ()) -> bool:
        self.said.append(f"{facts[0].partition('=')[0]} {facts[1].partition('=')[2]} {len(fds)}")
        return True

    def take(self) -> list[str]:
        said, self.said = self.said, []
        return said


@pytest.fixture
def pair() -> Iterator[list[socket.socket]]:
    socks = [socket.socket() for _ in range(2)]
    yield socks
    for sock in socks:
        sock.close()


def test_it_follows_the_config(pair: list[socket.socket]) -> None:
    told = Told()
    store = FdStore(told)
    one, two = (sock.fileno() for sock in pair)
    store.follow({"proxyd-a": [one], "proxyd-b": [two]})
    assert told.take() == ["FDSTORE proxyd-a 1", "FDSTORE proxyd-b 1"]
    store.follow({"proxyd-a": [one], "proxyd-b": [two]})
    assert told.take() == []
    store.follow({"proxyd-a": [one]})
    assert told.take() == ["FDSTOREREMOVE proxyd-b 0"]


def test_another_socket_at_the_same_address_takes_its_place(pair: list[socket.socket]) -> None:
    told = Told()
    store = FdStore(told)
    store.follow({"proxyd-a": [pair[0].fileno()]})
    told.take()
    store.follow({"proxyd-a": [pair[1].fileno()]})
    assert told.take() == ["FDSTOREREMOVE proxyd-a 0", "FDSTORE proxyd-a 1"]


def test_what_a_process_before_us_left_there_is_forgotten(pair: list[socket.socket]) -> None:
    told = Told()
    FdStore(told).follow({"proxyd-a": [pair[0].fileno()]}, gone={"proxyd-a"})
    assert told.take() == ["FDSTOREREMOVE proxyd-a 0", "FDSTORE proxyd-a 1"]


def test_what_a_socket_unit_passed_is_the_managers_anyway(pair: list[socket.socket]) -> None:
    told = Told()
    FdStore(told).follow({"proxyd.socket": [pair[0].fileno()]})
    assert told.take() == []


def test_sockets_by_name() -> None:
    bounds = [open_bound(BindAddress.parse("127.0.0.1:0"), engines=2), open_bound(BindAddress.parse("127.0.0.1:0"), engines=1, kind="udp")]
    assert sockets_of(bounds) == {
        f"proxyd-127.0.0.1%3A{bounds[0].port}": bounds[0].fds,
        f"proxyd-udp 127.0.0.1%3A{bounds[1].port}": bounds[1].fds,
    }
    close_all(bounds)
