from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxyd.config.address import BindAddress
from proxyd.process.passed import PassedFds, Taken
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
    assert fds.take(BindAddress.parse(f"127.0.0.1:{port}")) == Taken([500], "a")
    assert fds.take(BindAddress.parse(f"127.0.0.1:{port}")) is None


def test_another_address_takes_nothing(passed: tuple[PassedFds, int, Path]) -> None:
    fds, port, path = passed
    assert fds.take(BindAddress.parse(f"127.0.0.2:{port}")) is None
    assert fds.take(BindAddress.parse(f":{port}")) is None
    assert fds.take(BindAddress.parse(f"unix:{path}.other")) is None
    assert fds.left() == (500, 501, 502, 503, 504)


def test_all_sockets_of_an_address_are_taken(passed: tuple[PassedFds, int, Path]) -> None:
    """With however many engines: none may be left without anybody who reads it."""
    fds, port, _ = passed
    bound = open_bound(BindAddress.parse(f"127.0.0.1:{port}"), engines=1, kind="udp", passed=fds)
    assert (bound.fds, bound.shared, bound.port, bound.kind) == ([503, 504], False, port, "udp")
    assert not os.get_blocking(503)
    assert fds.left() == (500, 501, 502)


@pytest.fixture
def hand_over() -> Iterator[Callable[..., PassedFds]]:
    """Duplicates of descriptors, as another process finds them, with their names. What it does not close is closed at the end."""
    with ExitStack() as stack:

        def pass_on(names: Sequence[str], *fds: int) -> PassedFds:
            for place, fd in enumerate(fds, 600):
                os.dup2(fd, place)
                stack.callback(_close, place)
            return PassedFds({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(names)}, first=600)

        yield pass_on


def test_the_same_socket_is_taken_once(hand_over: Callable[..., PassedFds]) -> None:
    """As a service manager passes it whose socket unit opened it, and which keeps it for us besides."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fds = hand_over(["proxyd.socket", "proxyd-x"], sock.fileno(), sock.fileno())
        bound = open_bound(BindAddress.parse(f"127.0.0.1:{sock.getsockname()[1]}"), engines=1, passed=fds)
        assert (bound.fds, fds.left()) == ([600], ())
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(601)


@pytest.mark.parametrize(("before", "now", "shared"), [(3, 3, False), (3, 2, False), (2, 3, True)])
def test_sockets_of_another_proxyd(hand_over: Callable[..., PassedFds], before: int, now: int, shared: bool) -> None:
    old = open_bound(BindAddress.parse("127.0.0.1:0"), engines=before)
    try:
        fds = hand_over([old.keep_name] * before, *old.fds)
        new = open_bound(BindAddress.parse(old.address), engines=now, passed=fds)
        assert (len(new.fds), new.shared, new.keep_name) == (before, shared, old.keep_name)
    finally:
        old.close()


def test_the_file_of_a_unix_socket_goes_over(hand_over: Callable[..., PassedFds], tmp_path: Path) -> None:
    bind = BindAddress.parse(f"unix:{tmp_path}/a:b.sock")
    old = open_bound(bind, engines=1)
    assert ":" not in old.keep_name
    new = open_bound(bind, engines=1, passed=hand_over([old.keep_name], *old.fds))
    old.give_away()
    old.close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(bind.path)
    new.close()
    assert not os.path.exists(bind.path)


def test_a_unix_socket_whose_file_is_gone_is_bound_anew(hand_over: Callable[..., PassedFds], tmp_path: Path) -> None:
    """Its process removed it when it left; a manager that kept the socket cannot know."""
    bind = BindAddress.parse(f"unix:{tmp_path}/s")
    old = open_bound(bind, engines=1)
    fds = hand_over([old.keep_name], *old.fds)
    old.close()
    new = open_bound(bind, engines=1, passed=fds)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(bind.path)
    assert (fds.left(), fds.close_kept(), fds.close_kept()) == ((), {old.keep_name}, set())
    new.close()


def test_the_file_of_a_socket_unit_stays_the_units(hand_over: Callable[..., PassedFds], tmp_path: Path) -> None:
    """Also behind an upgrade, which passes the socket on under the unit's name."""
    path = tmp_path / "unit.sock"
    with socket.socket(socket.AF_UNIX) as unit:
        unit.bind(str(path))
        unit.listen()
        bind = BindAddress.parse(f"unix:{path}")
        bound = open_bound(bind, engines=1, passed=hand_over(["proxyd.socket"], unit.fileno()))
        again = open_bound(bind, engines=1, passed=hand_over([bound.keep_name], os.dup(bound.fds[0])))
        assert (bound.keep_name, again.keep_name) == ("proxyd.socket", "proxyd.socket")
        again.close()
        assert path.exists()


def test_what_no_listener_wants_any_more_is_closed(hand_over: Callable[..., PassedFds]) -> None:
    """If a proxyd opened it. What a socket unit passed may be wanted by a later config."""
    old = open_bound(BindAddress.parse("127.0.0.1:0"), engines=1)
    with socket.create_server(("127.0.0.1", 0)) as unit:
        fds = hand_over([old.keep_name, "web"], *old.fds, unit.fileno())
        assert fds.by_name() == {old.keep_name: [600], "web": [601]}
        old.close()
        assert fds.close_kept() == {old.keep_name}
        assert fds.left() == (601,)
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", old.port)) == errno.ECONNREFUSED


def test_what_was_passed_to_another_process_is_not_ours() -> None:
    assert PassedFds({"LISTEN_PID": "1", "LISTEN_FDS": "3"}).left() == ()
    assert PassedFds({}).left() == ()
