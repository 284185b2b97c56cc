"""The container image: built by config/docker/Dockerfile, run by podman, asked, killed, stopped.

Where the registry that its base comes from cannot be reached, a Debian 12 with the same Python takes its place under the same name: what is
built on it, and how it runs, is the Dockerfile's all the same. Containers have a network of their own, with a loopback and nothing else.
"""
from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.accept_upgrade import Crowd
from tests.acceptance.debian import Root, network_of
from tests.acceptance.stage import ROOT, Process, exchange, needed, until

pytestmark = pytest.mark.timeout(2400)      # the image's build compiles everything, and the base is made before it

BASE, IMAGE = "docker.io/library/python:3.11-slim-bookworm", "localhost/proxyd"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
UID = 54321
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BACK_WITHIN = 3.0       # seconds after `kill -9`, on a machine that does other things, too
CONFIG = "listen: :8080\nroutes:\n  - {match: /slow, to: ['127.0.0.1:9001']}\n  - {respond: {body: 'turn 0.'}}\n"

# crun refuses a hierarchy that is half cgroup v1; our containers are in none, so that it may see what it likes.
ENTER = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'


class Store:
    """Images and containers in a folder, away from those of the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def words(self, program: str, *arguments: str) -> list[str]:
        places = ["--storage-driver", "vfs", "--root", str(self.folder / "store"), "--runroot", str(self.folder / "run")]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", needed(program), *places, *arguments]

    def run(self, program: str, *arguments: str, seconds: int = 300) -> str:
        done = subprocess.run(self.words(program, *arguments), cwd=ROOT, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=seconds)
        assert done.returncode == 0, f"{program} {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def provide_base(self) -> None:
        """From its registry, or one like it."""
        pulled = subprocess.run(self.words("buildah", "pull", BASE), capture_output=True, text=True, check=False, timeout=300)
        if pulled.returncode == 0:
            return
        print(f"\n{BASE} cannot be pulled, Debian's Python takes its place: {pulled.stderr.strip().splitlines()[-1]}")
        base = Root(self.folder / "base", ["python3", "python3-venv", "python3-dev", "ca-certificates"])
        base.path("/usr/bin/python").symlink_to("python3")
        base.path(AUTHORITIES).write_bytes(Path(AUTHORITIES).read_bytes())      # those that this machine believes
        container = self.run("buildah", "from", "scratch").strip()
        self.run("buildah", "copy", "--quiet", container, str(base.folder), "/")
        self.run("buildah", "commit", "--quiet", "--rm", container, BASE)
        base.remove()

    def build(self) -> None:
        self.run("buildah", "build", "--isolation", "chroot", "--network", "host", "--pull=never", "--format", "docker",
                 "--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro", "--file", "config/docker/Dockerfile", "--tag", IMAGE, ".", seconds=1500)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    assert os.geteuid() == 0, "images are built and run as root here"
    found = Store(tmp_path_factory.mktemp("image"))
    found.provide_base()
    found.build()
    yield found
    subprocess.run(["rm", "-rf", "--one-file-system", str(found.folder)], check=True)


class Container(Process):
    """The image, run; a config, if there is one, mounted where a user would mount it."""

    NAME = "proxyd-accepted"

    def __init__(self, store: Store, folder: Path, config: str = "") -> None:
        self.store, mounts = store, []
        if config:
            (folder / "proxyd.yaml").write_text(config)
            mounts = ["--volume", f"{folder / 'proxyd.yaml'}:/etc/proxyd/proxyd.yaml:ro"]
        # Not raised above ours, and no cgroup: neither is what is tried, and both may be forbidden where tests run.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        store.run(      # by itself, because it copies the whole image here
            "podman", "--cgroup-manager=cgroupfs", "create", "--name", self.NAME, "--network", "none", "--cgroups=disabled",
            "--ulimit", f"nofile={min(files, 1024)}:{files}", "--ulimit", "nproc=4096:4096", *mounts, IMAGE,
        )
        super().__init__(store.words("podman", "start", "--attach", self.NAME), folder / "container.log")
        self.ready(lambda: " serves " in self.output(), "the container serves")
        self.host_pid = int(store.run("podman", "inspect", "--format", "{{.State.Pid}}", self.NAME))

    def exec(self, *command: str) -> str:
        return self.store.run("podman", "exec", self.NAME, *command)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.exec("proxyd", "status", "--json"))
        return status

    def ask(self, data: bytes = GET) -> bytes:
        with network_of(self.host_pid):
            return exchange(8080, data)


@contextmanager
def running(store: Store, folder: Path, config: str = "") -> Iterator[Container]:
    try:
        yield Container(store, folder, config)
    finally:
        store.run("podman", "rm", "--force", "--ignore", "--time", "0", Container.NAME)


def test_nobody_is_root(store: Store, tmp_path: Path) -> None:
    [image] = json.loads(store.run("podman", "inspect", IMAGE))
    settings = image["Config"]
    assert (settings["User"], settings["StopSignal"]) == (f"{UID}:{UID}", "SIGTERM")
    [base] = json.loads(store.run("podman", "inspect", BASE))
    print(f"\nthe image: {image['Size'] / 1e6:.0f} MB, of which the base {base['Size'] / 1e6:.0f}")
    with running(store, tmp_path) as container:
        assert container.ask().endswith(b"proxyd runs. Mount a config at /etc/proxyd/proxyd.yaml.\n")
        facts = Path(f"/proc/{container.host_pid}/status").read_text()
        assert f"\nUid:\t{UID}\t{UID}\t{UID}\t{UID}\n" in facts
        assert "\nCapEff:\t0000000000000000\n" in facts
        store.run("podman", "healthcheck", "run", Container.NAME)


def test_a_start_compiles_nothing(store: Store, tmp_path: Path) -> None:
    """Its user may write neither to our modules nor to Python's."""
    with running(store, tmp_path) as container:
        found = container.exec("sh", "-c", "exec 2>&1; python -v -c 'import proxyd.daemon, proxyd.cli.verbs.run'")
        assert "proxyd.daemon" in found
        assert not re.findall(r"code object from '(\S+\.py)'", found)


def test_a_mounted_config_is_served_reloaded_and_upgraded(store: Store, tmp_path: Path) -> None:
    with running(store, tmp_path, CONFIG) as container:
        assert container.ask().endswith(b"turn 0.")
        assert "ready" in container.exec("proxyd", "healthcheck")
        (tmp_path / "proxyd.yaml").write_text(CONFIG.replace("turn 0", "turn 1"))
        container.exec("proxyd", "reload")
        assert container.ask().endswith(b"turn 1.")
        pid = container.status()["pid"]
        container.exec("proxyd", "upgrade")
        assert container.status()["pid"] != pid
        assert container.ask().endswith(b"turn 1.")


def test_its_supervisor_holds_the_sockets(store: Store, tmp_path: Path) -> None:
    with running(store, tmp_path, CONFIG) as container:
        crowd = Crowd(8080)
        for _ in range(3):
            pid = container.status()["pid"]
            container.exec("sh", "-c", f"kill -KILL {pid}")
            with network_of(container.host_pid):
                crowd.come(50)
            assert container.status()["pid"] != pid
        print(f"\nkilled three times: {crowd.refused} of {crowd.answered} refused, longest wait {crowd.longest:.2f} s")
        assert crowd.refused == 0
        assert crowd.longest < BACK_WITHIN


def test_it_drains_when_it_is_stopped(store: Store, tmp_path: Path) -> None:
    with running(store, tmp_path, CONFIG) as container:
        with network_of(container.host_pid):
            origin = socket.create_server(("127.0.0.1", 9001))
            client = socket.create_connection(("127.0.0.1", 8080), timeout=30)
        client.sendall(GET.replace(b"/ ", b"/slow ", 1))
        with origin, client, origin.accept()[0] as request:
            request.recv(65_536)
            stop = threading.Thread(target=store.run, args=("podman", "stop", "--time", "30", Container.NAME))
            began = time.monotonic()
            stop.start()
            until(lambda: "draining: 1 request " in container.output(), "it drains")
            request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            assert client.recv(65_536).endswith(b"done"), "what was under way is finished"
            stop.join()
        assert container.child.wait(20) == 0
        assert time.monotonic() - began < 20, "by itself, not killed when the time was over"
