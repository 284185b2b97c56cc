"""`proxyd import nginx`: the same requests to nginx and to proxyd with the imported config come to the same end at the same origins."""
from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from tests.acceptance.echo import EchoOrigin
from tests.acceptance.nginx_configs import CONFIGS, NginxCase
from tests.acceptance.stage import ROOT, Process, Proxyd, ending, free_port, listens, needed, until


@dataclass(frozen=True)
class Outcome:
    """What a client, and the origin, get to see. `location` with the proxy's own address left out."""

    status: int
    origin: str
    path: str
    host: str
    fields: str
    location: str
    told: str       # fields of the answer that configs add or hide


def ask(port: int, method: str, host: str, target: str, fields: dict[str, str]) -> Outcome:
    body = "Content-Length: 0\r\n" if method in ("POST", "PUT") else ""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{body}{lines}\r\n".encode())
        received = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, rest = received.partition(b"\r\n\r\n")
    named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.decode().split("\r\n")[1:])}
    if "transfer-encoding" in named:
        rest = rest.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
    seen = json.loads(rest) if rest.startswith(b'{"origin"') else {}
    location = re.sub(rf"^http://{re.escape(host)}(:{port})?(?=/)", "", named.get("location", ""))
    told = ",".join(f"{name}={named[name]}" for name in ("x-robots", "x-powered-by", "cache-control") if name in named)
    return Outcome(int(head[9:12]), seen.get("origin", ""), seen.get("path", ""), seen.get("host", "").lower().replace(str(port), "PORT"),
                   json.dumps(seen.get("fields", {})), location.replace(str(port), "PORT"), told)


class Pair:
    """nginx and proxyd, each on a port of its own, with one config."""

    def __init__(self, folder: Path, case: NginxCase) -> None:
        self.origins = [EchoOrigin(name) for name in ("alpha", "beta", "gamma")]
        self.nginx_port, self.port = free_port(), free_port()
        values = {origin.name: origin.address for origin in self.origins}
        folder.chmod(0o755)
        (folder / "theirs.conf").write_text(self._nginx(folder, case.text(self.nginx_port, values)))
        (folder / "nginx.conf").write_text(self._nginx(folder, case.text(self.port, values)))
        self.nginx = Process([needed("nginx"), "-c", str(folder / "theirs.conf"), "-p", str(folder)], folder / "nginx.log")
        self.nginx.ready(lambda: listens(self.nginx_port), "nginx listens")
        command = [sys.executable, "-m", "proxyd", "import", "nginx", str(folder / "nginx.conf")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.report = done.stderr
        self.proxyd = Proxyd(folder, done.stdout)
        until(lambda: listens(self.port), "proxyd listens")

    @staticmethod
    def _nginx(folder: Path, http: str) -> str:
        temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
        return (
            f"daemon off; pid {folder}/nginx.pid; error_log stderr; user root; worker_processes 1; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {folder}/body; {temporary}\n{http}\n}}\n"
        )

    def close(self) -> None:
        for origin in self.origins:
            origin.end()


@pytest.fixture(params=[pytest.param(case, id=name) for name, case in CONFIGS.items()])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Pair, NginxCase]]:
    built = Pair(tmp_path, request.param)
    with ending(built.proxyd, built.nginx):
        yield built, request.param
    built.close()


def test_the_same_end(pair: tuple[Pair, NginxCase]) -> None:
    built, case = pair
    asked = 0
    for method, host, target, fields in product(case.methods, case.hosts, case.targets, case.fields):
        theirs = ask(built.nginx_port, method, host.replace("PORT", str(built.nginx_port)), target, fields)
        ours = ask(built.port, method, host.replace("PORT", str(built.port)), target, fields)
        assert ours == theirs, f"{method} {host} {target} {fields}\n{built.proxyd.config.read_text()}"
        asked += 1
    assert asked >= case.at_least
    expected = [line for line in case.reported if line not in built.report]
    assert not expected, built.report
