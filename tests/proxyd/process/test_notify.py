from __future__ import annotations

import os
import socket
from pathlib import Path

from proxyd.process.notify import Notifier


def test_it_tells_the_manager(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).send("READY=1", "STATUS=serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=serving"


def test_the_abstract_name_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0proxyd-test-{os.getpid()}")
        Notifier({"NOTIFY_SOCKET": f"@proxyd-test-{os.getpid()}"}).send("STOPPING=1")
        assert manager.recv(100) == b"STOPPING=1"


def test_it_gives_descriptors_to_keep(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.create_server(("127.0.0.1", 0)) as sock:
        manager.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.keep("proxyd-x", [sock.fileno()] * 300)
        given: list[int] = []
        for count in (253, 47):
            text, fds, _, _ = socket.recv_fds(manager, 100, 300)
            assert (text, len(fds)) == (b"FDSTORE=1\nFDNAME=proxyd-x\nFDPOLL=0", count)
            given += fds
        assert {os.fstat(fd).st_ino for fd in given} == {os.fstat(sock.fileno()).st_ino}
        for fd in given:
            os.close(fd)
        notifier.forget("proxyd-x")
        assert manager.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=proxyd-x"
        notifier.mute()
        assert not notifier.send("READY=1")


def test_no_manager_or_a_dead_one_is_no_trouble(tmp_path: Path) -> None:
    Notifier({}).send("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).send("READY=1")


def test_the_watchdog_is_only_ours_if_it_names_us() -> None:
    assert Notifier({"WATCHDOG_USEC": "3000000"}).watchdog_seconds == 3.0
    assert Notifier({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_seconds == 3.0
    assert Notifier({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog_seconds == 0.0
    assert Notifier({}).watchdog_seconds == 0.0
