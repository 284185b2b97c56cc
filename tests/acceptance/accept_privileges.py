"""`runtime.user`: from root to an ordinary user. Takes root, which binds ports below 1024."""
from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.stage import Proxyd, ending, exchange, listens, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
USER = pwd.getpwnam("nobody")
NET_BIND_SERVICE = 1 << 10


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One that everybody may enter: that of pytest is root's alone."""
    assert os.geteuid() == 0, "this script takes root"
    found = Path(tempfile.mkdtemp(prefix="accept-"))
    found.chmod(0o755)
    (found / "proxyd").mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(found / "state"))
    yield found
    shutil.rmtree(found)


def low_port() -> int:
    return next(port for port in range(900, 1000) if not listens(port))


def facts(path: Path) -> dict[str, str]:
    """What the kernel says of a thread."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in path.read_text().splitlines())}


def test_root_becomes_an_ordinary_user(folder: Path) -> None:
    first = low_port()
    text = (
        f"runtime: {{threads: 2, user: nobody}}\nlog: {{access: {{to: {folder}/proxyd/access.log, format: json}}}}\n"
        f"listeners: {{web: {{bind: ['127.0.0.1:{first}'BIND]}}}}\nroutes: [{{respond: {{body: hello}}}}]\n"
    )
    proxyd = Proxyd(folder, text.replace("BIND", ""))
    with ending(proxyd):
        assert exchange(first, GET).endswith(b"hello")
        threads = {int(task.name): facts(task / "status") for task in Path(f"/proc/{proxyd.pid}/task").iterdir()}
        assert {each["Uid"] for each in threads.values()} == {"\t".join([str(USER.pw_uid)] * 4)}
        assert {each["Gid"] for each in threads.values()} == {"\t".join([str(USER.pw_gid)] * 4)}
        assert {each["Groups"] for each in threads.values()} == {str(USER.pw_gid)}
        main = threads.pop(proxyd.pid)
        assert (int(main["CapEff"], 16), main["NoNewPrivs"]) == (NET_BIND_SERVICE, "1")
        engines = [each for each in threads.values() if each["Name"].startswith("proxyd")] or list(threads.values())
        assert {int(each["CapEff"], 16) for each in engines} == {0}

        second = low_port()
        done = proxyd.reload(text.replace("BIND", f", '127.0.0.1:{second}'"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert exchange(second, GET).endswith(b"hello")

        log = folder / "proxyd" / "access.log"
        until(lambda: log.stat().st_size > 0, "the log is written")
        log.rename(folder / "proxyd" / "access.log.1")
        os.kill(proxyd.pid, 10)
        until(log.exists, "the log is opened anew")
        assert log.stat().st_uid == USER.pw_uid
        exchange(first, GET)
        until(lambda: log.stat().st_size > 0, "and written")

        done = proxyd.run("upgrade")
        assert done.returncode == 0, done.stdout + done.stderr
        status = proxyd.status()
        assert exchange(second, GET).endswith(b"hello")
        assert facts(Path(f"/proc/{status['pid']}/status"))["Uid"].split()[0] == str(USER.pw_uid)
        assert proxyd.run("stop").returncode == 0


def test_a_user_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "proxyd.yaml").write_text("runtime: {user: no-such-user}\nlisten: '127.0.0.1:0'\nroutes: [respond: 204]\n")
    with pytest.raises(AssertionError, match="it ended"):
        Proxyd(folder, (folder / "proxyd.yaml").read_text())
    assert "error[PXD-281]: there is no user `no-such-user`" in (folder / "proxyd.log").read_text()
