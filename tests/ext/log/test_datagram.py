"""A sink of datagrams: one a record, nothing waits, and a receiver may go and return."""
from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxyd_ext.log import AccessLog, Rules
from tests.support.access_log import flood, until, until_written

Open = Callable[..., AccessLog]


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "log")


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        yield ours


def receiver(place: str) -> socket.socket:
    Path(place).unlink(missing_ok=True)
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.bind(place)
    ours.setblocking(False)
    return ours


def until_dropped(log: AccessLog, count: int) -> None:
    until(lambda: log.dropped == count)


def numbers(ours: socket.socket) -> list[int]:
    """The ids of the datagrams that wait."""
    out = []
    while True:
        try:
            out.append(int(json.loads(ours.recv(65_536))["id"], 16))
        except BlockingIOError:
            return out


def test_a_record_is_a_datagram_without_its_line_end(open_log: Open, place: str, sender: socket.socket) -> None:
    with receiver(place) as theirs:
        sender.connect(place)
        log = AccessLog(sender.fileno(), "json", 1, rules=Rules(frame="rfc5424", machine="m"))
        log.submit(0, {"path": b"/x"})
        log.submit(0, {"path": b"/y"})
        log.start()
        log.stop()
        got = [theirs.recv(65_536), theirs.recv(65_536)]
    assert [message.partition(b" access - ")[2][-1:] for message in got] == [b"}", b"}"]
    assert b'"path":"/x"' in got[0]
    assert b'"path":"/y"' in got[1]
    assert (log.written, log.dropped) == (2, 0)


def test_a_receiver_that_does_not_read_loses_what_the_ring_loses(open_log: Open, place: str, sender: socket.socket) -> None:
    with receiver(place) as theirs:
        sender.connect(place)
        log = open_log(sender.fileno())
        flood(log, 0, 6_000)
        assert log.dropped > 0
        got: list[int] = []

        def all_there() -> bool:
            got.extend(numbers(theirs))
            return log.written + log.dropped == 6_000 and len(got) == log.written

        until(all_there)
        assert got == sorted(set(got))


def test_a_receiver_that_returns_is_found(open_log: Open, place: str, sender: socket.socket) -> None:
    """What came while it was gone is counted as dropped, each record once."""
    with receiver(place) as first:
        sender.connect(place)
        log = open_log(sender.fileno())
        log.submit(0, {"id": 1})
        until_written(log, 1)
        assert numbers(first) == [1]
    flood(log, 2, 10)
    until_dropped(log, 10)
    Path(place).unlink()
    flood(log, 12, 10)
    until_dropped(log, 20)
    with receiver(place) as second:
        log.submit(0, {"id": 99})
        until_written(log, 2)
        assert numbers(second) == [99]
    assert log.dropped == 20


def test_a_port_that_nobody_listens_on(open_log: Open) -> None:
    """The kernel says so with the next datagram: the first record of a batch may count as sent, no other does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        theirs.bind(("127.0.0.1", 0))
        theirs.setblocking(False)
        ours.connect(theirs.getsockname())
        log = open_log(ours.fileno())
        log.submit(0, {"id": 1})
        until_written(log, 1)
        assert numbers(theirs) == [1]
        address = theirs.getsockname()
        theirs.close()
        log.submit(0, {"id": 2})
        until_written(log, 2)
        for number in range(3, 8):
            log.submit(0, {"id": number})
            until_dropped(log, number - 2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as returned:
            returned.bind(address)
            returned.setblocking(False)
            log.submit(0, {"id": 8})
            until_written(log, 3)
            assert numbers(returned) == [8]
    assert (log.written, log.dropped) == (3, 5)
