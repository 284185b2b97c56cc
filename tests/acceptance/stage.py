"""What the acceptance scripts play on: the real daemon through its command line, origins in processes of their own, and wrk.

Everything listens on the loopback only. What a script starts is ended with it, whatever happens.
"""
from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DESCRIPTORS = 20_000


def allow_descriptors() -> None:
    """Room for thousands of sockets in this process and in those it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def needed(program: str) -> str:
    """The path of a peer program; acceptance fails without it."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    assert path, f"{program} is missing: `make acceptance` installs what is needed when it runs as root"
    return path


def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Return as soon as `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen within {seconds:g} s: {what}"
        time.sleep(0.01)


def free_port() -> int:
    """A port below those that the kernel hands out by itself: a connection of somebody else's cannot take it meanwhile."""
    while True:
        port = random.randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def exchange(port: int, data: bytes, *, timeout: float = 10.0) -> bytes:
    """Send bytes on a new connection, and all that comes back until the peer closes; a reset ends it as well."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client, contextlib.suppress(ConnectionError):
        client.sendall(data)
        while piece := client.recv(65536):
            received += piece
    return bytes(received)


class Process:
    """A child process with its output in a file."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as sink:
            self.child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self.child.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def ready(self, condition: Callable[[], object], what: str) -> None:
        """Wait for what the start of the process must bring; fail, and end it, when it does not."""
        try:
            until(lambda: condition() or not self.alive, what)
            assert self.alive, f"{what}: it ended"
        except BaseException:
            self.kill()
            print(self.output())
            raise

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        self.child.kill()
        self.child.wait()

    def end(self, seconds: float = 20.0) -> int:
        """SIGTERM; the exit code."""
        if self.alive:
            self.child.terminate()
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class OriginProcess(Process):
    """tests/acceptance/origin.py on a port of its own, which it keeps when it comes back."""

    def __init__(self, folder: Path, name: str, port: int | None = None) -> None:
        self.name = name
        self.port = port or free_port()
        self.executed = folder / f"{name}.executed"
        super().__init__([sys.executable, str(HERE / "origin.py"), name, str(self.port), str(self.executed)], folder / f"{name}.log")
        self.ready(lambda: listens(self.port), f"origin {name} listens")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class Proxyd(Process):
    """`proxyd run` on a config file, spoken to by the other verbs."""

    def __init__(self, folder: Path, config: str, *options: str) -> None:
        self.config = folder / "proxyd.yaml"
        self.config.write_text(config)
        self.admin = f"unix:{folder / 'admin.sock'}"
        super().__init__([*self._command("run"), *options, "-c", str(self.config)], folder / "proxyd.log")
        self.ready(lambda: " serves " in self.output(), "proxyd serves")

    def _command(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "proxyd", verb, "--admin", self.admin]

    def run(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self._command(verb), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)

    def reload(self, config: str) -> subprocess.CompletedProcess[str]:
        self.config.write_text(config)
        return self.run("reload")

    def status(self) -> dict[str, Any]:
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def crash(self) -> None:
        """SIGKILL for the process that serves, under a supervisor that starts another one; returns when that serves."""
        banners = self.output().count(", pid ")
        os.kill(self.status()["pid"], signal.SIGKILL)
        until(lambda: self.output().count(", pid ") > banners, "another one serves")

    def metrics(self) -> dict[str, float]:
        """Sample with labels → value, as Prometheus would read them."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.admin.removeprefix("unix:"))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        return {name: float(value) for name, value in re.findall(r"^(proxyd_\S+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}

    def total(self, metric: str, *labels: str) -> float:
        """The sum of a metric's samples that carry all these labels."""
        samples = self.metrics().items()
        return sum(value for name, value in samples if name.partition("{")[0] == metric and all(label in name for label in labels))

    def memory_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk counted."""

    requests: int
    errors: dict[str, int]      # of sockets: connect, read, write, timeout
    refused: int                # answers that are neither 2xx nor 3xx

    @property
    def failed(self) -> int:
        return sum(self.errors.values()) + self.refused


class Wrk(Process):
    """wrk in the background, until it is told to stop."""

    def __init__(self, folder: Path, url: str, *, connections: int = 64, script: Path | None = None) -> None:
        more = ["-s", str(script)] if script is not None else []
        command = [needed("wrk"), "-t1", f"-c{connections}", "-d900s", "--timeout", "10s", *more, url]
        super().__init__(command, folder / "wrk.log")

    def stop(self) -> Load:
        self.child.send_signal(signal.SIGINT)
        self.child.wait(20)
        text = self.output()
        requests = re.search(r"(\d+) requests in", text)
        assert requests, text
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        counts = dict(zip(("connect", "read", "write", "timeout"), map(int, errors.groups()), strict=True)) if errors else {}
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        return Load(int(requests[1]), counts, int(refused[1]) if refused else 0)


@contextlib.contextmanager
def ending(*processes: Process) -> Iterator[None]:
    """End what still runs, at the end."""
    try:
        yield
    finally:
        for process in processes:
            if process.alive:
                process.kill()
