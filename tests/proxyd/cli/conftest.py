"""The command line in this process, against an admin server on a thread with a loop of its own."""
from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
import uvloop
from click.testing import CliRunner, Result

from proxyd.admin.server import AdminServer
from proxyd.cli.entry import root
from proxyd.cli.settings import Settings
from proxyd.config.address import BindAddress
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("check", "-c", "x.yaml")` in an empty folder, where no daemon runs by default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("proxyd.admin.address.socket_folders", lambda environ=None, uid=None: [tmp_path / "run"])
    for name in ("PROXYD_CONFIG", "PROXYD_ADMIN", "PROXYD_ADMIN_USER", "PROXYD_ADMIN_PASSWORD", "NO_COLOR", "PROXYD_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()

    def invoke(*arguments: str) -> Result:
        result = runner.invoke(root, list(arguments), obj=Settings(), prog_name="proxyd")
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), "every failure is a sentence"
        return result

    return invoke


class Served:
    """The fake daemon with its admin server. Stopping the daemon closes the server, as the real one does at its end."""

    def __init__(self, path: Path) -> None:
        self.daemon = FakeDaemon(on_stop=self.close)
        self.address = f"unix:{path}"
        self._closing: Future[None] | None = None
        self._loop = uvloop.new_event_loop()          # the loop that the daemon runs on
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = AdminServer(self.daemon, [BindAddress(path=str(path))])
        for step in (self._server.apply(self.daemon.config), self._server.begin()):
            asyncio.run_coroutine_threadsafe(step, self._loop).result(10)

    def close(self) -> None:
        self._closing = asyncio.run_coroutine_threadsafe(self._server.close(), self._loop)

    def end(self) -> None:
        if self._closing is None:
            self.close()
        assert self._closing is not None
        self._closing.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def served(tmp_path: Path, run: Run) -> Iterator[Served]:
    """A daemon at the default socket, so that every command finds it."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    found = Served(folder / "admin.sock")
    yield found
    found.end()


@pytest.fixture
def daemon(served: Served) -> FakeDaemon:
    return served.daemon


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    """A file in the folder that commands run in; its name."""

    def to(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return name

    return to
