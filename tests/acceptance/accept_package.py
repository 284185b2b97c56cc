"""The Debian package in a clean root: installed, served, upgraded, purged; and `runtime.user`, which takes root and ports below 1024.

The machine's own packages, users and /etc are not touched: the root is a folder made by debootstrap, entered by chroot in a mount namespace
of its own. There is no systemd in it: accept_systemd.py has one.
"""
from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.debian import Root, build_package
from tests.acceptance.stage import Process, exchange, free_port, listens, needed, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
NET_BIND_SERVICE = 1 << 10


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    folder = tmp_path_factory.mktemp("package")
    package = build_package(folder)
    found = Root(folder / "root")
    found.path("/proxyd.deb").write_bytes(package.read_bytes())
    yield found
    found.remove()


def test_lintian_finds_no_errors(root: Root) -> None:
    command = [needed("lintian"), "--fail-on=error", str(root.path("/proxyd.deb"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_installed(root: Root) -> None:
    root.run("dpkg", "-i", "/proxyd.deb")
    assert "proxyd" in root.run("id", "proxyd")
    assert root.run("proxyd", "--version").startswith("proxyd 0.")
    root.run("proxyd", "check", "--strict", "-c", "/etc/proxyd/proxyd.yaml")
    for unit in ("proxyd.service", "proxyd.socket"):
        assert root.path(f"/lib/systemd/system/{unit}").is_file()
    completed = root.run("bash", "-c", ". /usr/share/bash-completion/completions/proxyd && complete -p proxyd")
    assert "_proxyd_completion" in completed
    subprocess.run([needed("man"), "--warnings", "-l", str(root.path("/usr/share/man/man1/proxyd.1.gz"))], check=True,
                   stdout=subprocess.DEVNULL)
    assert root.path("/usr/lib/proxyd/proxyd/__pycache__").is_dir(), "compiled at installation: its user may not write there"
    assert root.run("stat", "-c", "%U:%G %a", "/etc/proxyd/proxyd.yaml") == "root:proxyd 640\n"


def serve(root: Root, config: str, log: Path) -> Process:
    root.path("/etc/proxyd/tried.yaml").write_text(config)
    process = Process(root.words("proxyd", "run", "-c", "/etc/proxyd/tried.yaml"), log)
    process.ready(lambda: " serves " in process.output(), "proxyd serves")
    return process


def test_served_as_installed(root: Root, tmp_path: Path) -> None:
    port = free_port()
    process = serve(root, root.path("/etc/proxyd/proxyd.yaml").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"), tmp_path / "log")
    try:
        assert exchange(port, GET).endswith(b"proxyd is installed. Its config is /etc/proxyd/proxyd.yaml.\n")
        assert root.run("proxyd", "healthcheck") == "ready\n"
        root.run("proxyd", "stop")
        assert process.child.wait(20) == 0
        assert "no proxyd answers" in root.run("proxyd", "healthcheck", code=1)
    finally:
        process.child.kill()


def facts(task: Path) -> dict[str, str]:
    """What the kernel says of a thread."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in (task / "status").read_text().splitlines())}


def pid_of(root: Root) -> int:
    status: dict[str, Any] = json.loads(root.run("proxyd", "status", "--json"))
    return int(status["pid"])


def low_port() -> int:
    return next(port for port in range(900, 1000) if not listens(port))


def test_root_becomes_an_ordinary_user(root: Root, tmp_path: Path) -> None:
    first = low_port()
    uid = root.run("id", "-u", "proxyd").strip()
    text = (
        "runtime: {threads: 2, user: proxyd}\nlog: {access: {to: /var/log/proxyd/access.log, format: json}}\n"
        f"listeners: {{web: {{bind: ['127.0.0.1:{first}'MORE]}}}}\nroutes: [{{respond: {{body: hello}}}}]\n"
    )
    root.path("/var/log/proxyd").mkdir()
    process = serve(root, text.replace("MORE", ""), tmp_path / "log")
    try:
        assert exchange(first, GET).endswith(b"hello")
        pid = pid_of(root)
        threads = {int(task.name): facts(task) for task in Path(f"/proc/{pid}/task").iterdir()}
        assert {each["Uid"] for each in threads.values()} == {"\t".join([uid] * 4)}
        assert {each["Groups"] for each in threads.values()} == {root.run("id", "-G", "proxyd").strip()}
        assert (int(threads[pid]["CapEff"], 16), threads[pid]["NoNewPrivs"]) == (NET_BIND_SERVICE, "1")
        assert sum(int(each["CapEff"], 16) == 0 for each in threads.values()) >= 2, "both engines have none"

        second = low_port()
        root.path("/etc/proxyd/tried.yaml").write_text(text.replace("MORE", f", '127.0.0.1:{second}'"))
        root.run("proxyd", "reload")
        assert exchange(second, GET).endswith(b"hello")

        log = root.path("/var/log/proxyd/access.log")
        until(lambda: log.stat().st_size > 0, "the log is written")
        log.rename(f"{log}.1")
        os.kill(pid, 10)
        until(log.exists, "the log is opened anew")
        assert str(log.stat().st_uid) == uid

        root.run("proxyd", "upgrade")
        assert exchange(second, GET).endswith(b"hello")
        new = pid_of(root)
        assert new != pid
        assert facts(Path(f"/proc/{new}"))["Uid"].split()[0] == uid
        root.run("proxyd", "stop")
    finally:
        process.child.kill()


def test_a_user_that_is_not_there_is_named(root: Root) -> None:
    root.path("/etc/proxyd/tried.yaml").write_text("runtime: {user: nosuch}\nlisten: '127.0.0.1:0'\nroutes: [respond: 204]\n")
    assert "error[PXD-281]: there is no user `nosuch`" in root.run("proxyd", "run", "-c", "/etc/proxyd/tried.yaml", code=1)


def test_removed_and_purged(root: Root) -> None:
    root.path("/etc/proxyd/tried.yaml").unlink()
    root.run("dpkg", "-r", "proxyd")
    assert not root.path("/usr/lib/proxyd").exists()
    assert root.path("/etc/proxyd/proxyd.yaml").exists(), "only a purge takes the config"
    assert root.path("/var/lib/proxyd").exists()
    root.run("dpkg", "-P", "proxyd")
    for gone in ("/etc/proxyd", "/var/lib/proxyd", "/var/log/proxyd", "/etc/logrotate.d/proxyd"):
        assert not root.path(gone).exists(), gone
