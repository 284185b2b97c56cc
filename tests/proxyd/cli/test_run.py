"""The daemon as a user runs it: started from a file, reloaded, refused, stopped; nearly every command is a process of its own."""
from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from proxyd.cli.errors import Exit
from proxyd.cli.verbs.run import demo_config
from proxyd.config import load_text
from proxyd.demo import ADDRESSES
from tests.proxyd.cli.program import Program, environment, fetch, proxyd

Run = Callable[..., Result]
CONFIG = """\
runtime: {{threads: 1}}
listen: 127.0.0.1:0
admin: {{bind: "unix:{folder}/admin.sock"}}
routes:
  - {{name: hello, match: /hello, respond: {{status: 200, body: "{greeting}"}}}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], None]:
    """The config with another greeting."""

    def to(greeting: str) -> None:
        (tmp_path / "proxyd.yaml").write_text(CONFIG.format(folder=tmp_path, greeting=greeting))

    return to


@pytest.fixture
def started(tmp_path: Path, write: Callable[[str], None]) -> Iterator[tuple[Program, str]]:
    """A running daemon and the URL that it says it serves."""
    write("one")
    program = Program("run", cwd=tmp_path)
    url = program.wait_for(r"http://\S+")[0]
    program.wait_for("admin: unix:")
    yield program, url
    program.kill()


def test_engines_serve_before_what_only_others_need_is_imported(write: Callable[[str], None], tmp_path: Path) -> None:
    """A start is import time for the most part: after a crash clients wait for it."""
    write("one")
    script = (
        "import os, sys; from proxyd.admin.server import AdminServer; from proxyd.cli.entry import root\n"
        "async def begin(self):\n"
        "    print('HEAVY', [name for name in ('aiohttp', 'cryptography', 'joserfc', 'redis') if name in sys.modules], flush=True)\n"
        "    os._exit(0)\n"
        "AdminServer.begin = begin\n"
        "root.main(['run', '-q'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, cwd=tmp_path, env=environment())
    assert (done.stdout, done.returncode) == ("HEAVY []\n", 0), done.stderr


def test_from_start_to_stop(started: tuple[Program, str], write: Callable[[str], None], tmp_path: Path) -> None:
    program, url = started
    assert fetch(url, "/hello") == (200, "one")

    status = json.loads(proxyd("status", "--json", cwd=tmp_path).stdout)
    assert (status["phase"], status["ready"], status["generation"]) == ("serving", True, 1)
    assert status["listeners"][0]["accepted"] == 1
    screen = proxyd("status", cwd=tmp_path)
    assert "is serving proxyd.yaml" in screen.stdout
    assert url.removeprefix("http://") in screen.stdout

    unchanged = proxyd("reload", cwd=tmp_path)
    assert (unchanged.returncode, unchanged.stdout[:15]) == (0, "nothing changed")
    write("two")
    planned = proxyd("reload", "--dry-run", cwd=tmp_path)
    assert planned.stdout.startswith("1 change would be made: 1 route changed, no connection will drain\n  ~ ")
    assert fetch(url, "/hello") == (200, "one")
    assert proxyd("reload", cwd=tmp_path).stdout.startswith("reloaded: 1 change in ")
    assert fetch(url, "/hello") == (200, "two")

    stopped = proxyd("stop", cwd=tmp_path)
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert "stopped after" in stopped.stdout
    assert program.end() == 0
    assert not (tmp_path / "admin.sock").exists()


@pytest.mark.parametrize(("text", "line"), [
    ("listen: 127.0.0.1:0\nadmin: {bind: 'unix:FOLDER/admin.sock'}\nto: [127.0.0.1:9001]\ntoo: x\n", 4),
    ("listen: 127.0.0.1:0\nadmin: {bind: 'unix:FOLDER/admin.sock'}\nto: [\n", 4),
])
def test_a_broken_file_gives_exit_code_6_and_the_old_config_serves_on(
    text: str, line: int, started: tuple[Program, str], tmp_path: Path
) -> None:
    _, url = started
    (tmp_path / "proxyd.yaml").write_text(text.replace("FOLDER", str(tmp_path)))
    refused = proxyd("reload", cwd=tmp_path)
    assert refused.returncode == Exit.RELOAD_REFUSED
    assert f"proxyd.yaml:{line}:" in refused.stderr
    assert "the old config serves on" in refused.stderr
    assert fetch(url, "/hello") == (200, "one")
    assert proxyd("check", cwd=tmp_path).returncode == Exit.CONFIG_INVALID
    assert "last reload refused" in proxyd("status", cwd=tmp_path).stdout


def test_hup_reloads_and_term_drains(started: tuple[Program, str], write: Callable[[str], None]) -> None:
    program, url = started
    write("two")
    program.process.send_signal(signal.SIGHUP)
    program.wait_for("generation 2: 1 route changed")
    assert fetch(url, "/hello") == (200, "two")
    program.process.send_signal(signal.SIGTERM)
    assert program.end() == 0


def test_the_same_table_answers_route_and_requests(started: tuple[Program, str], run: Run) -> None:
    _, url = started
    for path, status, route in (("/hello", 200, "hello"), ("/hell%6f", 200, "hello"), ("/other", 404, None), ("/..", 400, None)):
        assert fetch(url, path)[0] == status
        daemon = json.loads(run("route", path, "--json").stdout)
        file = json.loads(run("route", path, "--json", "-c", "proxyd.yaml").stdout)
        for answer in (daemon, file):
            assert answer["decisions"][0]["route"] == route
        assert daemon["source"].startswith("the daemon at unix:")
        assert file["source"] == "proxyd.yaml"


def test_route_without_a_daemon_asks_the_file(tmp_path: Path, write: Callable[[str], None]) -> None:
    write("one")
    found = proxyd("route", "/hello", cwd=tmp_path)
    assert found.returncode == 0
    assert "(by proxyd.yaml)" in found.stdout
    assert "route hello, respond 200" in found.stdout
    assert proxyd("route", "/other", cwd=tmp_path).returncode == Exit.NOT_FOUND


def test_a_taken_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = f"listen: 127.0.0.1:{port}\nto: [127.0.0.1:9001]\nadmin: {{bind: 'unix:{tmp_path}/admin.sock'}}\n"
        (tmp_path / "proxyd.yaml").write_text(text)
        failed = proxyd("run", cwd=tmp_path)
    assert failed.returncode == Exit.FAILED
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in failed.stderr
    assert "proxyd cannot start" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "admin.sock").exists()


def test_an_invalid_config_is_refused_with_all_its_errors(tmp_path: Path) -> None:
    (tmp_path / "proxyd.yaml").write_text("listen: 127.0.0.1:0\nto: [127.0.0.1:9001]\ntoo: x\nruntime: {treads: 1}\n")
    failed = proxyd("run", cwd=tmp_path)
    assert failed.returncode == Exit.CONFIG_INVALID
    assert "proxyd.yaml:3:1" in failed.stderr
    assert "proxyd.yaml:4:11" in failed.stderr


def test_admin_of_a_command_that_serves_is_where_it_listens(tmp_path: Path, write: Callable[[str], None]) -> None:
    write("one")
    program = Program("run", "--admin", "./other.sock", cwd=tmp_path)
    try:
        program.wait_for(f"admin: unix:{tmp_path}/other.sock")
        assert proxyd("status", "-q", "--admin", "./other.sock", cwd=tmp_path).returncode == 0
        assert proxyd("stop", "--admin", "./other.sock", cwd=tmp_path).returncode == 0
        assert program.end() == 0
    finally:
        program.kill()


def test_a_proxy_without_a_file(tmp_path: Path) -> None:
    admin = f"unix:{tmp_path}/admin.sock"
    with socket.create_server(("127.0.0.1", 0)) as origin:
        port = origin.getsockname()[1]
        program = Program("proxy", "127.0.0.1:0", str(port), "--threads", "0", "--log", "none", "--admin", admin, cwd=tmp_path)
        try:
            url = program.wait_for(r"http://\S+")[0]
            program.wait_for("admin: unix:")
            running = proxyd("show", "config", "--running", "--json", "--admin", admin, cwd=tmp_path)
            assert f"127.0.0.1:{port}" in json.loads(running.stdout)["text"]
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
                client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                connection, _ = origin.accept()
                with connection:
                    assert connection.recv(65536).startswith(b"GET /x HTTP/1.1\r\n")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
            program.process.send_signal(signal.SIGINT)
            assert program.end() == 0
        finally:
            program.kill()


def test_the_demo_serves_its_own_origins() -> None:
    config = load_text(demo_config(ADDRESSES)).config
    assert config is not None
    assert [(server.address.host, server.address.port) for server in config.upstreams["demo"].servers] == list(ADDRESSES)
    assert config.listeners["default"].bind[0].is_loopback
