"""One process takes over from another: both sides of what they say to each other, and the daemon in the middle. The new program is a small
stand-in here; the real one is in tests/acceptance/accept_upgrade.py."""
from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxyd.config.address import BindAddress
from proxyd.overrides import OverrideError
from proxyd.process import program, upgrade
from proxyd.process.fdstore import Sockets, sockets_of
from proxyd.process.upgrade import READY, Predecessor, Upgrade, UpgradeError, death_of
from proxyd.sockets import open_bound
from tests.support.client import get
from tests.support.daemon import running
from tests.support.wait import until

SERVES = """
import os, select, socket
ready, stderr = map(int, os.environ["PROXYD_PREDECESSOR"].split(","))
os.dup2(stderr, 2)
os.write(ready, b"READY=1\\n")
sock = socket.socket(fileno=3)
select.select([sock], [], [])
client, _ = sock.accept()
client.setblocking(True)
client.recv(1000)
client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nnew")
"""
READS = SERVES.replace("-Length: 3\\r", "-Length: 6\\r").replace(
    '\\r\\nnew"', '\\r\\n" + open(int(os.environ["PROXYD_HANDED_OVER"]), "rb").read()')
SAYS = """
import os, sys
os.write(int(os.environ["PROXYD_PREDECESSOR"].split(",")[0]), b"proxyd.yaml:1:1: unknown option")
sys.exit(3)
"""


def command(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", text]


@pytest.fixture
def one() -> Sockets:
    return {"a": [0]}      # any descriptor


async def test_the_new_one_takes_over() -> None:
    bound = open_bound(BindAddress.parse("127.0.0.1:0"), engines=1)
    pid = await Upgrade(sockets_of([bound]), command=command(SERVES)).run()
    bound.close()
    assert (await get(bound.port)).body == b"new"
    assert await asyncio.to_thread(os.waitpid, pid, 0) == (pid, 0)


async def test_it_has_what_the_old_one_hands_over() -> None:
    bound = open_bound(BindAddress.parse("127.0.0.1:0"), engines=1)
    pid = await Upgrade(sockets_of([bound]), handed=b"drains", command=command(READS)).run()
    bound.close()
    assert (await get(bound.port)).body == b"drains"
    assert await asyncio.to_thread(os.waitpid, pid, 0) == (pid, 0)


@pytest.mark.parametrize(
    ("text", "how"), [("", ""), ("raise SystemExit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 9)", "signal 9")]
)
async def test_the_death_of_the_new_one_is_seen_and_left_for_its_next_parent(text: str, how: str) -> None:
    child = await asyncio.to_thread(subprocess.Popen, command(text))
    assert await death_of(child.pid) == how
    assert bool(await asyncio.to_thread(child.wait)) == bool(how), "not buried yet"
    assert await death_of(child.pid) == "", "it is now"


async def test_what_cannot_even_begin_is_told(one: Sockets, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UpgradeError, match="ended before it served: exit code 1") as caught:
        await Upgrade(one, command=command("import no_such_module")).run()
    assert "ModuleNotFoundError: No module named 'no_such_module'" in caught.value.output
    assert "ModuleNotFoundError" in capfd.readouterr().err      # our own log has it, too


async def test_what_can_speak_for_itself_is_told(one: Sockets) -> None:
    with pytest.raises(UpgradeError, match="exit code 3") as caught:
        await Upgrade(one, command=command(SAYS)).run()
    assert caught.value.output == "proxyd.yaml:1:1: unknown option"


@pytest.mark.parametrize("ignores", ["", "import signal; signal.signal(15, signal.SIG_IGN);"])
async def test_one_that_says_nothing_is_ended(one: Sockets, ignores: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(upgrade, "LAST_WORDS", 0.1)
    text = f"import os, time; {ignores} open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(UpgradeError, match=r"did not serve within 0\.3 s"):
        await Upgrade(one, command=command(text), patience=0.3).run()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_other_side() -> None:
    ours, theirs = socket.socketpair()
    memory = os.memfd_create("drains")
    os.pwrite(memory, b"drains", 0)
    environ = {"PROXYD_PREDECESSOR": f"{theirs.detach()},{os.dup(2)}", "PROXYD_HANDED_OVER": str(memory)}
    predecessor = Predecessor(environ)
    assert (environ, predecessor.handed) == ({}, b"drains")
    predecessor.tell_ready()
    predecessor.tell_failure("too late")
    assert (ours.recv(100), ours.recv(100)) == (READY, b"")
    ours.close()


def test_no_predecessor_is_told_nothing() -> None:
    assert Predecessor({}).handed is None
    Predecessor({}).tell_ready()
    Predecessor({}).tell_failure("nobody hears it")


def test_one_that_has_died_is_no_trouble() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    Predecessor({"PROXYD_PREDECESSOR": f"{theirs.detach()},{os.dup(2)}"}).tell_ready()


# ---- the daemon ----

CONFIG = "listen: '127.0.0.1:{port}'\nroutes: [{{respond: {{body: old}}}}]\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


async def test_the_daemon_hands_over_and_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(program, "own_command", lambda: command(SERVES))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        async with running(CONFIG.format(port=port)) as daemon:
            assert (await get(port)).body == b"old"
            done = await daemon.upgrade()
            assert done.predecessor == os.getpid()
            with pytest.raises(OverrideError, match=f"process {done.pid} has taken over"):
                await daemon.add_server("app", {"address": "127.0.0.1:1"}, by="ops")
            assert await daemon.wait() == 0
            assert (await get(port)).body == b"new"
            with pytest.raises(UpgradeError, match="proxyd is stopped"):
                await daemon.upgrade()
        await asyncio.to_thread(os.waitpid, done.pid, 0)
        told: list[str] = []
        manager.setblocking(False)
        while len(told) < 3:
            told.append(manager.recv(1000).decode().splitlines()[0])
        assert told == ["FDSTORE=1", "READY=1", f"MAINPID={done.pid}"]
        with pytest.raises(BlockingIOError):
            manager.recv(1000)


async def test_the_daemon_serves_on_when_no_one_takes_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(program, "own_command", lambda: command(SAYS))
    port = free_port()
    async with running(CONFIG.format(port=port)) as daemon:
        with pytest.raises(UpgradeError, match="exit code 3"):
            await daemon.upgrade()
        daemon.install_signals()
        os.kill(os.getpid(), signal.SIGUSR2)
        await until(lambda: "unknown option" in caplog.text, "the signal's upgrade is logged")
        assert (await get(port)).body == b"old"
        assert daemon.phase == "serving"
