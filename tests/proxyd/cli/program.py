"""The program as a process of its own, as a user starts it."""
from __future__ import annotations

import http.client
import os
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path

SECONDS = 20.0


def environment(**more: str) -> dict[str, str]:
    """Ours, with the packages where we found them, and without what would turn the program to another daemon."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PROXYD_CONFIG", "PROXYD_ADMIN", "PROXYD_TRACEBACK"}}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | more


def proxyd(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "proxyd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=cwd, env=environment())


class Program:
    """A command that goes on. `wait_for` reads what it says on standard error."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        command = [sys.executable, "-m", "proxyd", *arguments]
        self.process = subprocess.Popen(command, cwd=cwd, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in lines not read yet."""
        while True:
            line = self._lines.get(timeout=SECONDS)
            assert line is not None, f"it ended without saying {pattern!r}; it said: {''.join(self.said)}"
            self.said.append(line)
            found = re.search(pattern, line)
            if found:
                return found

    def end(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        code = self.process.wait(SECONDS)
        self._close()
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(SECONDS)
        self._close()

    def _close(self) -> None:
        self._reader.join(SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def fetch(url: str, path: str = "/", host: str = "") -> tuple[int, str]:
    """One GET to the address of a URL: status and body."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


