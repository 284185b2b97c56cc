from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxyd.config.address import BindAddress
from proxyd.sockets import BindError, Bound, Kind, open_bound, socket_kind


@pytest.fixture
def opened() -> Iterator[list[Bound]]:
    bounds: list[Bound] = []
    yield bounds
    for bound in bounds:
        bound.close()


def listen(
    opened: list[Bound], text: str, *, engines: int = 1, kind: Kind = "http", mode: int | None = None, exclusive: bool = True
) -> Bound:
    bound = open_bound(BindAddress.parse(text), engines=engines, kind=kind, mode=mode, exclusive=exclusive)
    opened.append(bound)
    return bound


def accepts(bound: Bound) -> int:
    """How many connections wait on all descriptors together."""
    found = 0
    for fd in bound.fds:
        sock = socket.socket(fileno=os.dup(fd))
        with closing(sock):
            while True:
                try:
                    sock.accept()[0].close()
                except BlockingIOError:
                    break
                found += 1
    return found


def test_one_socket_an_engine_and_the_kernel_spreads(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0", engines=3)
    assert len(bound.fds) == 3
    assert not bound.shared
    assert bound.address == f"127.0.0.1:{bound.port}"
    assert not any(os.get_blocking(fd) for fd in bound.fds)
    for _ in range(5):
        socket.create_connection(("127.0.0.1", bound.port)).close()
    assert accepts(bound) == 5


def test_the_short_form_listens_on_both_families(opened: list[Bound]) -> None:
    bound = listen(opened, ":0")
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, bound.port)).close()
    assert accepts(bound) == 2
    assert bound.address == f":{bound.port}"


def test_an_explicit_v6_wildcard_leaves_v4_to_others(opened: list[Bound]) -> None:
    six = listen(opened, "[::]:0")
    four = listen(opened, f"0.0.0.0:{six.port}")
    assert four.port == six.port


def test_a_second_daemon_is_refused(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0", engines=2)
    with pytest.raises(BindError, match="address already in use") as caught:
        listen(opened, f"127.0.0.1:{bound.port}", engines=2)
    assert "another process" in caught.value.help


def test_a_wildcard_meets_the_daemon_on_one_address(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0")
    with pytest.raises(BindError):
        listen(opened, f":{bound.port}")


def test_our_own_port_may_be_joined_when_it_is_about_to_leave(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0")
    assert listen(opened, f":{bound.port}", exclusive=False).port == bound.port


def test_an_address_that_is_not_ours_is_named(opened: list[Bound]) -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1:8080") as caught:
        listen(opened, "192.0.2.1:8080")
    assert "ip address" in caught.value.help


def test_a_unix_socket_has_its_mode_and_goes_with_us(opened: list[Bound], tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    bound = listen(opened, f"unix:{path}", engines=4, mode=0o660)
    assert (len(bound.fds), bound.shared) == (1, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert accepts(bound) == 1
    bound.close()
    assert list(tmp_path.iterdir()) == []


def test_a_stale_unix_socket_is_replaced(opened: list[Bound], tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    bound = listen(opened, f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert accepts(bound) == 1


def test_a_living_unix_socket_is_not_taken(opened: list[Bound], tmp_path: Path) -> None:
    listen(opened, f"unix:{tmp_path}/web.sock")
    with pytest.raises(BindError, match="another process serves there"):
        listen(opened, f"unix:{tmp_path}/web.sock")


def test_a_plain_file_is_not_removed(opened: list[Bound], tmp_path: Path) -> None:
    (tmp_path / "web.sock").write_text("precious")
    with pytest.raises(BindError, match="not a socket"):
        listen(opened, f"unix:{tmp_path}/web.sock")
    assert (tmp_path / "web.sock").read_text() == "precious"


def test_a_missing_folder_is_named(opened: list[Bound], tmp_path: Path) -> None:
    with pytest.raises(BindError, match="no such file") as caught:
        listen(opened, f"unix:{tmp_path}/none/web.sock")
    assert "mkdir -p" in caught.value.help


def test_the_file_of_a_successor_stays(opened: list[Bound], tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    first = listen(opened, f"unix:{path}")
    listen(opened, f"unix:{path}", exclusive=False)
    first.close()
    assert path.exists()


def test_nothing_is_left_open_by_a_refusal(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BindError):
        listen(opened, f"127.0.0.1:{bound.port}", engines=8)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_socket_that_may_be_taken_back_does_not_touch_the_one_that_serves(opened: list[Bound], tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    serving = listen(opened, f"unix:{path}")
    trial = open_bound(BindAddress.parse(f"unix:{path}"), engines=1, exclusive=False, place=False)
    trial.close()
    assert list(tmp_path.iterdir()) == [path]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert accepts(serving) == 1


def test_it_takes_over_when_it_is_placed(opened: list[Bound], tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    before = listen(opened, f"unix:{path}")
    after = open_bound(BindAddress.parse(f"unix:{path}"), engines=1, exclusive=False, place=False)
    opened.append(after)
    after.place()
    before.close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert accepts(after) == 1
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- of flows

def option(fd: int, level: int, name: int) -> int:
    with closing(socket.socket(fileno=os.dup(fd))) as sock:
        return sock.getsockopt(level, name)


def received(bound: Bound) -> list[tuple[int, bytes]]:
    """(which descriptor, datagram) of all that waits."""
    found: list[tuple[int, bytes]] = []
    for index, fd in enumerate(bound.fds):
        with closing(socket.socket(fileno=os.dup(fd))) as sock:
            while True:
                try:
                    found.append((index, sock.recv(100)))
                except BlockingIOError:
                    break
    return found


def test_each_mode_has_its_kind_of_sockets() -> None:
    kinds: dict[str, Kind] = {"http": "http", "cache": "http", "tcp": "tcp", "tls_passthrough": "tcp", "udp": "udp"}
    assert {mode: socket_kind(mode) for mode in kinds} == kinds


def test_datagrams_of_one_client_reach_one_socket(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0", engines=3, kind="udp")
    assert (len(bound.fds), bound.shared, bound.kind) == (3, False, "udp")
    assert not any(os.get_blocking(fd) for fd in bound.fds)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(5):
            client.sendto(b"%d" % number, ("127.0.0.1", bound.port))
    sockets, datagrams = zip(*received(bound), strict=True)
    assert len(set(sockets)) == 1
    assert datagrams == (b"0", b"1", b"2", b"3", b"4")


def test_datagrams_of_both_families_reach_the_short_form(opened: list[Bound]) -> None:
    bound = listen(opened, ":0", kind="udp")
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(host.encode(), (host, bound.port))
    assert [datagram for _, datagram in received(bound)] == [b"127.0.0.1", b"::1"]


def test_a_second_daemon_takes_no_datagrams(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0", kind="udp", engines=2)
    for text in (f"127.0.0.1:{bound.port}", f":{bound.port}"):
        with pytest.raises(BindError, match="address already in use") as caught:
            listen(opened, text, kind="udp")
        assert f"`ss -lunp 'sport = :{bound.port}'`" in caught.value.help
    assert listen(opened, f"127.0.0.1:{bound.port}", kind="udp", exclusive=False).port == bound.port


def test_another_program_that_would_share_is_met_too(opened: list[Bound]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        with pytest.raises(BindError, match="address already in use"):
            listen(opened, f"127.0.0.1:{other.getsockname()[1]}", kind="udp")


def test_datagrams_and_connections_share_a_port(opened: list[Bound]) -> None:
    connections = listen(opened, "127.0.0.1:0", kind="tcp")
    datagrams = listen(opened, f"127.0.0.1:{connections.port}", kind="udp")
    assert datagrams.port == connections.port


def test_datagrams_may_wait_in_a_larger_buffer(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0", kind="udp")
    most = int(Path("/proc/sys/net/core/rmem_max").read_text())
    assert option(bound.fds[0], socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * min(4 << 20, most)    # the kernel counts its own part, too


def test_connections_that_are_passed_on_are_not_delayed(opened: list[Bound]) -> None:
    bound = listen(opened, "127.0.0.1:0", kind="tcp")
    assert bound.kind == "tcp"
    with socket.create_connection(("127.0.0.1", bound.port)), closing(socket.socket(fileno=os.dup(bound.fds[0]))) as sock:
        sock.setblocking(True)
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert option(listen(opened, "127.0.0.1:0").fds[0], socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0


def test_flows_may_come_over_a_unix_socket_but_datagrams_may_not(opened: list[Bound], tmp_path: Path) -> None:
    assert listen(opened, f"unix:{tmp_path}/a.sock", kind="tcp").kind == "tcp"
    with pytest.raises(BindError, match="a unix socket has no port"):
        listen(opened, f"unix:{tmp_path}/b.sock", kind="udp")
