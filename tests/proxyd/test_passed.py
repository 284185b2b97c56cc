from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxyd.config.address import BindAddress
from proxyd.passed import PassedFds
from proxyd.sockets import open_bound


@pytest.fixture
def passed(tmp_path: Path) -> Iterator[tuple[PassedFds, int, Path]]:
    """Descriptors in a row as a service manager would pass them: a TCP listener, a unix listener, and one that does not listen; two sockets
    for datagrams at the port of the first."""
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(tmp_path / "a.sock"))
        unix.listen()
        idle = stack.enter_context(socket.socket())
        datagrams = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
        for sock in datagrams:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(tcp.getsockname())
        first = 500
        for offset, sock in enumerate((tcp, unix, idle, *datagrams)):
            os.dup2(sock.fileno(), first + offset)
            stack.callback(_close, first + offset)
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "5", "LISTEN_FDNAMES": "a:b:c:d:e"}
        yield PassedFds(environ, first=first), tcp.getsockname()[1], tmp_path / "a.sock"
        assert environ == {}


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return


def test_a_listener_takes_the_descriptor_with_its_address(passed: tuple[PassedFds, int, Path]) -> None:
    fds, port, path = passed
    bound = open_bound(BindAddress.parse(f"127.0.0.1:{port}"), engines=4, passed=fds)
    assert (bound.fds, bound.shared, bound.port, bound.file) == ([500], True, port, None)
    assert not os.get_blocking(500)
    assert open_bound(BindAddress.parse(f"unix:{path}"), engines=4, passed=fds).fds == [501]
    assert fds.left() == (502, 503, 504)


def test_each_is_taken_once(passed: tuple[PassedFds, int, Path]) -> None:
    fds, port, _ = passed
    assert fds.take(BindAddress.parse(f"127.0.0.1:{port}")) == 500
    assert fds.take(BindAddress.parse(f"127.0.0.1:{port}")) is None


def test_another_address_takes_nothing(passed: tuple[PassedFds, int, Path]) -> None:
    fds, port, path = passed
    assert fds.take(BindAddress.parse(f"127.0.0.2:{port}")) is None
    assert fds.take(BindAddress.parse(f":{port}")) is None
    assert fds.take(BindAddress.parse(f"unix:{path}.other")) is None
    assert fds.left() == (500, 501, 502, 503, 504)


def test_each_engine_takes_a_socket_for_datagrams(passed: tuple[PassedFds, int, Path]) -> None:
    fds, port, _ = passed
    bound = open_bound(BindAddress.parse(f"127.0.0.1:{port}"), engines=4, kind="udp", passed=fds)
    assert (bound.fds, bound.shared, bound.port, bound.kind) == ([503, 504], False, port, "udp")
    assert not os.get_blocking(503)
    assert fds.left() == (500, 501, 502)


def test_more_sockets_for_datagrams_than_engines_are_left(passed: tuple[PassedFds, int, Path]) -> None:
    fds, port, _ = passed
    assert open_bound(BindAddress.parse(f"127.0.0.1:{port}"), engines=1, kind="udp", passed=fds).fds == [503]
    assert fds.left() == (500, 501, 502, 504)
    assert open_bound(BindAddress.parse(f"127.0.0.1:{port}"), engines=1, kind="tcp", passed=fds).fds == [500]


def test_what_was_passed_to_another_process_is_not_ours() -> None:
    assert PassedFds({"LISTEN_PID": "1", "LISTEN_FDS": "3"}).left() == ()
    assert PassedFds({}).left() == ()
