"""The supervisor over small stand-ins for proxyd; the real one is in tests/acceptance/accept_upgrade.py."""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxyd.clock import SystemClock
from proxyd.process.supervise import Supervisor, is_descendant, maybe_pid
from tests.support.wait import until

CHILD = """
import array, os, signal, socket, sys
def say(text, *fds):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sock.sendmsg([text.encode()], rights, 0, "\\0" + os.environ["NOTIFY_SOCKET"][1:])
signal.signal(signal.SIGHUP, lambda *_: open(sys.argv[2], "w").write("heard"))
if os.environ["LISTEN_FDS"] != "0":
    assert (os.environ["LISTEN_PID"], os.environ["LISTEN_FDNAMES"]) == (str(os.getpid()), "web")
    sock = socket.socket(fileno=3)
else:
    sock = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    say("FDSTORE=1\\nFDNAME=web", sock.fileno())
say("READY=1\\nSTATUS=serving", sock.fileno())
while True:
    client, _ = sock.accept()
    word = client.recv(100)
    if word == b"die":
        os.kill(os.getpid(), 9)
    if word == b"exit":
        sys.exit(0)
    if word == b"hand over" and (pid := os.fork()):
        say(f"MAINPID={pid}")
        os._exit(0)
    client.sendall(str(os.getpid()).encode())
"""


class Impatient(SystemClock):
    """Does not wait, and remembers how long it was to."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class Stage:
    """A supervisor with a child that listens."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port: int = sock.getsockname()[1]
        self.heard = folder / "heard"
        self.supervisor = Supervisor([sys.executable, "-S", "-c", CHILD, str(self.port), str(self.heard)])
        self.task = asyncio.ensure_future(self.supervisor.run())

    async def ask(self, word: bytes) -> int:
        """The process id of who answers; 0: nobody did."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(word)
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await reader.read(100)
        writer.close()
        return int(answer or 0)

    async def refused(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    found = Stage(tmp_path)
    await until(lambda: found.supervisor.served, "the child is ready")
    yield found
    if not found.task.done():
        os.kill(os.getpid(), signal.SIGTERM)
        await found.task


async def test_a_child_that_dies_is_followed_by_another_one_at_the_same_socket(stage: Stage) -> None:
    first = await stage.ask(b"who")
    assert await stage.ask(b"die") == 0
    second = await stage.ask(b"who")       # waits in the queue, for nobody yet
    assert second not in {0, first}


async def test_its_end_is_the_end(stage: Stage) -> None:
    await stage.ask(b"exit")
    assert await stage.task == 0
    assert await stage.refused()


async def test_signals_are_passed_on(stage: Stage) -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    await until(stage.heard.exists, "the child has heard it")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await stage.task == 128 + signal.SIGTERM       # this child knows no better
    assert await stage.refused()


async def test_it_follows_who_takes_over(stage: Stage) -> None:
    """The first child names another process and leaves; that one is adopted, and its end is the end."""
    first = await stage.ask(b"who")
    second = await stage.ask(b"hand over")
    await until(lambda: not os.path.exists(f"/proc/{first}"), "the first one is gone, and buried")
    assert await stage.ask(b"who") == second != first
    assert await stage.ask(b"die") == 0
    assert await stage.ask(b"who") not in {0, first, second}


async def test_what_has_never_served_is_not_started_again() -> None:
    assert await Supervisor([sys.executable, "-S", "-c", "raise SystemExit(3)"]).run() == 3


async def test_it_never_gives_up_but_takes_its_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = Impatient()
    task = asyncio.ensure_future(Supervisor(["sh", "-c", "kill -9 $$"], clock).run())
    await until(lambda: len(clock.waits) >= 9, "it dies and dies")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task in {0, 128 + signal.SIGKILL, 128 + signal.SIGTERM}      # whichever was faster
    assert clock.waits[:9] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert "signal 9; another one is started in 10 s: the 9. time in a row" in caplog.text


async def test_our_own_manager_hears_what_is_not_for_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        stage = Stage(tmp_path)
        await until(lambda: stage.supervisor.served, "the child is ready")
        assert manager.recv(1000) == b"READY=1\nSTATUS=serving"
        await stage.ask(b"exit")
        assert await stage.task == 0


def test_who_may_speak_to_it() -> None:
    assert is_descendant(os.getpid())
    assert not is_descendant(os.getppid())
    assert not is_descendant(1)
    assert not is_descendant(0)


async def test_who_may_become_the_main_process() -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "input()", stdin=asyncio.subprocess.PIPE)
    assert maybe_pid(str(child.pid)) == child.pid
    await child.communicate(b"\n")
    assert maybe_pid(str(child.pid)) == child.pid, "it has ended: that is seen, and another one is started"
    for text in ("", "0", "1", str(os.getpid()), str(os.getppid()), "-5", "\u00b2", "9" * 30):
        assert maybe_pid(text) == 0
