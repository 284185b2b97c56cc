"""Programs that are started with sockets, as sd_listen_fds(3) describes it."""
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from proxyd.process import program

TELL = """
import json, os, socket
fds = range(3, 3 + int(os.environ["LISTEN_FDS"]))
names = {name: value for name, value in os.environ.items() if name.startswith(("LISTEN_", "WATCHDOG_"))}
ports = [socket.socket(fileno=os.dup(fd)).getsockname()[1] for fd in fds]
more = os.read(fds.stop, 5).decode() if "MORE" in os.environ else ""
print(json.dumps([os.getpid(), names, ports, more, sorted(map(int, os.listdir("/proc/self/fd")))]))
"""


@pytest.mark.parametrize("first", [3, 5, 200])
def test_descriptors_stand_in_a_row(first: int) -> None:
    """Wherever ours are, and also when each stands where another one belongs."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    spare = [os.dup(sock.fileno()) for sock in reversed(socks)]       # later ones stand lower
    fds = list(reversed(spare)) if first < 200 else [os.dup2(sock.fileno(), first + place) for place, sock in enumerate(socks)]
    ports = [sock.getsockname()[1] for sock in socks]
    sockets = {"a": fds[:1], "b": fds[1:]}
    environ = {"PATH": os.environ["PATH"], "MORE": "1", "WATCHDOG_USEC": "1000"}
    out, into = os.pipe()
    with open(out) as answer, os.fdopen(into, "w") as stdout:
        saved = os.dup(1)
        os.dup2(stdout.fileno(), 1)
        try:
            child = program.start([sys.executable, "-S", "-c", TELL], sockets, environ, more=[reading])
        finally:
            os.dup2(saved, 1)
            os.close(saved)
        stdout.close()
        pid, names, found, more, fds_there = json.loads(answer.read())
    assert child.wait(10) == 0
    assert pid == child.pid
    assert names == {
        "LISTEN_PID": str(pid), "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:b", "WATCHDOG_PID": str(pid), "WATCHDOG_USEC": "1000",
    }
    assert (found, more) == (ports, "hello")
    assert fds_there[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert program.first_free(sockets) == 6
    for fd in {*spare, *fds, reading, writing}:
        os.close(fd)
    for sock in socks:
        sock.close()


def test_a_program_that_is_not_there_is_named() -> None:
    with socket.socket() as sock:
        child = program.start(["/no/such/program"], {"a": [sock.fileno()]}, {}, stderr=subprocess.PIPE)
        assert child.communicate(timeout=10)[1] == b"cannot start /no/such/program: No such file or directory\n"
        assert child.returncode == 1


def test_the_own_command_can_leave_out_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "proxyd", "run", "--supervise", "-c", "x.yaml"])
    assert program.own_command() == [sys.executable, "-m", "proxyd", "run", "--supervise", "-c", "x.yaml"]
    assert program.own_command(without="--supervise") == [sys.executable, "-m", "proxyd", "run", "-c", "x.yaml"]
