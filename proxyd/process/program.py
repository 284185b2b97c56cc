"""This program, started once more: with the same words on its command line, and sockets that it finds open."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from proxyd.process import launch
from proxyd.process.fdstore import Sockets


def own_command(*, without: str = "") -> list[str]:
    """As the interpreter was started, so that `python -m proxyd`, an installed script and its options all come out as they were."""
    return [sys.executable, *(word for word in sys.orig_argv[1:] if word != without)]


def start(
    command: Sequence[str], sockets: Sockets, environ: Mapping[str, str], *, more: Sequence[int] = (), stderr: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that finds these sockets (passed.py), and the descriptors `more` behind them, from `first_free(sockets)` on."""
    names = [name for name, fds in sockets.items() for _ in fds]
    fds = [*(fd for each in sockets.values() for fd in each), *more]
    environment = {**environ, "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
    if not fds:
        return subprocess.Popen(list(command), env=environment, stderr=stderr)
    words = [sys.executable, "-I", "-S", str(Path(launch.__file__).resolve()), ",".join(map(str, fds)), *command]
    return subprocess.Popen(words, env=environment, pass_fds=fds, stderr=stderr)


def first_free(sockets: Sockets) -> int:
    """The number of the descriptor behind these, in the program that gets them."""
    return launch.FIRST_FD + sum(map(len, sockets.values()))


def environment() -> dict[str, str]:
    """Ours, without what an earlier process said to us alone."""
    return {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
