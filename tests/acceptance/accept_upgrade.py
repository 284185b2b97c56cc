"""Acceptance 3: an upgrade under load costs no request, with whatever number of engines before and after; after `kill -9` no connection is
refused while somebody holds the sockets, and proxyd is back within a second."""
from __future__ import annotations

import array
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd.process import program
from tests.acceptance.stage import OriginProcess, Process, Proxyd, Wrk, allow_descriptors, ending, exchange, free_port, until

GET = b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
CLOSE = "wrk.headers['Connection'] = 'close'\n"
BACK_WITHIN = 1.0      # seconds; on a machine where a mere start takes longer, as long as that


def config(port: int, origin: OriginProcess, threads: int, turn: int = 0) -> str:
    return (
        f"runtime: {{threads: {threads}, shutdown: {{drain: 10s}}}}\nlog: {{access: none}}\n"
        f"listen: '127.0.0.1:{port}'\n"
        f"routes:\n  - {{match: /who, respond: {{body: 'turn {turn}.'}}}}\n  - {{to: ['{origin.address}']}}\n"
    )


def answered(port: int, body: str) -> None:
    """Wait until new connections come to the new process alone."""
    until(lambda: exchange(port, GET).endswith(body.encode()), body)


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@pytest.mark.parametrize("closing", [False, True], ids=["keep-alive", "close"])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (0, 2), (2, 4), (4, 1), (2, 0)])
def test_upgrades_under_load(tmp_path: Path, before: int, after: int, closing: bool) -> None:
    """Twice in a row, with a reload between."""
    allow_descriptors()
    port = free_port()
    script = tmp_path / "close.lua"
    script.write_text(CLOSE)
    origin = OriginProcess(tmp_path, "one")
    with ending(origin):
        proxyd = Proxyd(tmp_path, config(port, origin, before))
        pids = [proxyd.pid]
        with ending(proxyd):
            wrk = Wrk(tmp_path, f"http://127.0.0.1:{port}/", connections=32, script=script if closing else None)
            with ending(wrk):
                try:
                    for turn in (1, 2):
                        proxyd.config.write_text(config(port, origin, after, turn))
                        done = proxyd.run("upgrade")
                        assert done.returncode == 0, done.stdout + done.stderr
                        status = proxyd.status()
                        pids.append(status["pid"])
                        assert (status["phase"], status["threads"]) == ("serving", after)
                        reloaded = proxyd.reload(config(port, origin, after, turn + 10))
                        assert reloaded.returncode == 0, reloaded.stdout + reloaded.stderr
                        answered(port, f"turn {turn + 10}.")
                    assert len(set(pids)) == 3
                    until(lambda: gone(pids[0]) and gone(pids[1]), "the old ones have left", 15)
                    load = wrk.stop()
                    assert load.requests > 500, load
                    assert load.failed == 0, load
                    print(f"\n{before} -> {after} engines: {load.requests} requests, {load.failed} failed")
                finally:
                    for pid in pids[1:]:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)


def test_a_new_one_that_cannot_serve_changes_nothing(tmp_path: Path) -> None:
    port = free_port()
    origin = OriginProcess(tmp_path, "one")
    with ending(origin):
        proxyd = Proxyd(tmp_path, config(port, origin, 2))
        with ending(proxyd):
            proxyd.config.write_text("listen: nonsense\n")
            done = proxyd.run("upgrade")
            assert done.returncode == 1
            assert "exit code 3" in done.stderr
            assert "PXD-0" in done.stderr
            assert exchange(port, GET).endswith(b"turn 0.")
            assert proxyd.status()["pid"] == proxyd.pid


# ---- what operators said, and what was gone back from ----


class Pair:
    """Two origins behind a proxy, one of them drained; which of them answer."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.origins = [OriginProcess(folder, name) for name in ("one", "two")]
        self.proxyd = Proxyd(folder, self.config("first"), *options)
        done = self.proxyd.run("upstream", "drain", f"app/{self.origins[0].address}")
        assert done.returncode == 0, done.stdout + done.stderr

    def config(self, word: str) -> str:
        servers = ", ".join(f"'{origin.address}'" for origin in self.origins)
        return (
            f"runtime: {{threads: 2}}\nlog: {{access: none}}\nlisten: '127.0.0.1:{self.port}'\n"
            f"upstreams: {{app: {{servers: [{servers}]}}}}\nroutes: [{{match: /who, respond: {{body: '{word}.'}}}}, {{to: app}}]\n"
        )

    def upgrade(self) -> None:
        pid = self.proxyd.status()["pid"]
        done = self.proxyd.run("upgrade")
        assert done.returncode == 0, done.stdout + done.stderr
        until(lambda: gone(pid), "the old one has left")

    def answering(self) -> set[str]:
        answers = [exchange(self.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") for _ in range(20)]
        return {name for name in ("one", "two") for answer in answers if name.encode() in answer}

    def goes_on(self, word: str) -> None:
        """The next process serves this, with the first origin drained, and says so."""
        status = self.proxyd.status()
        assert any(f"1 server kept drained (app/{self.origins[0].address})" in text for text in status["warnings"]), status["warnings"]
        assert self.answering() == {"two"}
        assert exchange(self.port, GET).endswith(f"{word}.".encode())


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("PROXYD_STATE", str(tmp_path / "state") if request.param == "kept" else "none")


@pytest.mark.parametrize("state", ["kept", "none"], indirect=True)
@pytest.mark.usefixtures("state")
def test_a_drained_server_stays_drained_over_upgrades(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "--supervise")
    with ending(pair.proxyd, *pair.origins):
        for _ in range(2):
            pair.upgrade()
            pair.goes_on("first")
        assert pair.proxyd.run("upstream", "ready", f"app/{pair.origins[0].address}").returncode == 0
        assert not any("kept drained" in text for text in pair.proxyd.status()["warnings"])
        assert pair.answering() == {"one", "two"}


@pytest.mark.parametrize("state", ["kept"], indirect=True)
@pytest.mark.usefixtures("state")
def test_what_was_gone_back_from_does_not_come_back(tmp_path: Path) -> None:
    """Neither by a crash, nor by an upgrade; by a stop and a start, which serve the file."""
    pair = Pair(tmp_path, "--supervise")
    with ending(pair.proxyd, *pair.origins):
        assert pair.proxyd.reload(pair.config("second")).returncode == 0
        assert pair.proxyd.run("rollback").returncode == 0
        for _ in range(2):
            pair.proxyd.crash()
            pair.goes_on("first")
        before = pair.proxyd.status()
        pair.upgrade()
        pair.goes_on("first")
        assert pair.proxyd.status()["serving"] == before["serving"]
        assert pair.proxyd.end() == 0
        pair.proxyd.log.rename(tmp_path / "before.log")
        pair.proxyd = Proxyd(tmp_path, pair.config("second"))
        with ending(pair.proxyd):
            pair.goes_on("second")


# ---- kill -9 ----


class Crowd:
    """Clients that come all the time, each with a connection of its own; how each fared."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.refused = self.answered = self.cut = 0
        self.longest = 0.0

    def come(self, answers: int) -> None:
        """Until so many more have been answered."""
        enough = self.answered + answers
        while self.answered < enough:
            began = time.monotonic()
            try:
                answer = exchange(self.port, GET)
            except ConnectionRefusedError:
                self.refused += 1
                continue
            if b"turn 0." in answer:
                self.answered += 1
                self.longest = max(self.longest, time.monotonic() - began)
            else:
                self.cut += 1            # was with the process that died


def kill_and_watch(proxyd: Proxyd, port: int) -> Crowd:
    """Kill whoever serves, three times; the figures of those who came meanwhile."""
    crowd = Crowd(port)
    for _ in range(3):
        pid = proxyd.status()["pid"]
        os.kill(pid, signal.SIGKILL)
        crowd.come(200)
        assert proxyd.status()["pid"] != pid
    return crowd


def test_the_supervisor_holds_the_sockets(tmp_path: Path) -> None:
    port = free_port()
    origin = OriginProcess(tmp_path, "one")
    with ending(origin):
        began = time.monotonic()
        proxyd = Proxyd(tmp_path, config(port, origin, 2), "--supervise")
        usual = time.monotonic() - began
        with ending(proxyd):
            crowd = kill_and_watch(proxyd, port)
            print(f"\nsupervisor: {crowd.refused} of {crowd.answered} refused, longest wait {crowd.longest:.2f} s; a start {usual:.2f} s")
            assert crowd.refused == 0
            assert crowd.longest < max(BACK_WITHIN, usual)
            done = proxyd.run("upgrade")
            assert done.returncode == 0, done.stdout + done.stderr
            assert kill_and_watch(proxyd, port).refused == 0
            assert proxyd.end() == 0
            with pytest.raises(ConnectionRefusedError):
                exchange(port, GET)


class Manager:
    """As much of systemd as a service with FileDescriptorStoreMax= sees of it."""

    def __init__(self, folder: Path, command: list[str], log: Path) -> None:
        self.command, self.log = command, log
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.notify.bind(str(folder / "notify"))
        self.environ = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        self.store: dict[str, list[int]] = {}

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as sink:
            return program.start(self.command, self.store, self.environ, stderr=sink.fileno())

    def hear(self) -> set[str]:
        """What has come, the descriptors put into the store."""
        words: set[str] = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                text, control, _, _ = self.notify.recvmsg(65_536, socket.CMSG_SPACE(4 * 253))
                facts = dict(line.partition("=")[::2] for line in text.decode().splitlines())
                words |= facts.keys()
                for _, _, data in control:
                    self.store.setdefault(facts["FDNAME"], []).extend(array.array("i", data))
        return words


@contextlib.contextmanager
def killed(child: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        child.kill()
        child.wait()


def test_a_service_manager_holds_the_sockets(tmp_path: Path) -> None:
    """Restarted by hand here, 100 ms after its death (RestartSec=)."""
    port = free_port()
    text = f"runtime: {{threads: 2}}\nlog: {{access: none}}\nlisten: '127.0.0.1:{port}'\nroutes: [{{respond: {{body: 'turn 0.'}}}}]\n"
    (tmp_path / "proxyd.yaml").write_text(text)
    admin = f"unix:{tmp_path}/admin.sock"
    command = [sys.executable, "-m", "proxyd", "run", "-c", str(tmp_path / "proxyd.yaml"), "--admin", admin]
    manager = Manager(tmp_path, command, tmp_path / "log")
    began = time.monotonic()
    first = manager.start()
    with killed(first):
        until(lambda: "READY" in manager.hear(), "the first one is ready")
        usual = time.monotonic() - began
        assert len(manager.store) == 2       # the listener, and the admin socket
        first.kill()
        first.wait()
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(50)]
    for client in waiting:
        client.sendall(GET)
    began = time.monotonic()
    second = manager.start()
    with killed(second):
        for client in waiting:
            assert b"200 OK" in client.recv(1000)
            client.close()
        back = time.monotonic() - began
        print(f"\nservice manager: 50 waited {back:.2f} s; a start {usual:.2f} s")
        assert back < max(BACK_WITHIN, 1.2 * usual)
        until(lambda: "READY" in manager.hear(), "the second one is ready")
        second.terminate()
        assert second.wait(10) == 0


def test_systemd_socket_activate_holds_the_sockets(tmp_path: Path) -> None:
    """As a socket unit does: one socket for all engines, bound by somebody else."""
    port = free_port()
    origin = OriginProcess(tmp_path, "one")
    with ending(origin):
        (tmp_path / "proxyd.yaml").write_text(config(port, origin, 2))
        words = [sys.executable, "-m", "proxyd", "run", "-c", str(tmp_path / "proxyd.yaml"), "--admin", f"unix:{tmp_path}/admin.sock"]
        environment = [f"--setenv={name}" for name in ("PYTHONPATH", "PATH") if name in os.environ]
        activated = Process(["systemd-socket-activate", f"--listen=127.0.0.1:{port}", *environment, *words], tmp_path / "activate.log")
        with ending(activated):
            until(lambda: "Listening" in activated.output(), "it listens")
            assert exchange(port, GET).endswith(b"turn 0.")
