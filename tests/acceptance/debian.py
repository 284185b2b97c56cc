"""A Debian 12 in a folder, made by debootstrap: entered by chroot (`Root`), or booted with systemd as process 1 (`Machine`).

The machine's own packages, users, units and /etc are not touched. Both take root; a Machine takes systemd-nspawn, and a network of its own,
in which nothing listens that a script has not started.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.acceptance.stage import ROOT, Process, needed

MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
ENTER = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
BOOTED = ("systemd", "systemd-sysv", "dbus")
CLONE_NEWNET = 0x40000000
PATIENCE = 120      # seconds for any one command


def build_package(folder: Path) -> Path:
    """The .deb of this checkout."""
    built = subprocess.run([sys.executable, "tests/packaging/deb.py", str(folder)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.split()[-1])


class Root:
    """A Debian 12 in a folder. Commands run in a mount namespace of their own."""

    def __init__(self, folder: Path, packages: Sequence[str] = ("python3", "adduser")) -> None:
        assert os.geteuid() == 0, "a root that one can enter takes root"
        self.folder = folder
        subprocess.run([needed("debootstrap"), "--variant=minbase", f"--include={','.join(packages)}", "bookworm", str(folder), MIRROR],
                       check=True, stdout=subprocess.DEVNULL)

    def words(self, *command: str) -> list[str]:
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, str(self.folder), *command]

    def run(self, *command: str, code: int = 0) -> str:
        """What the command says; it must end with `code`."""
        done = subprocess.run(self.words(*command), capture_output=True, text=True, check=False, env=ENVIRONMENT,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def path(self, name: str) -> Path:
        return self.folder / name.removeprefix("/")

    def remove(self) -> None:
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.folder)], check=True)


class Machine(Root):
    """One that has been booted."""

    def __init__(self, folder: Path, packages: Sequence[str] = ()) -> None:
        super().__init__(folder, ("python3", "adduser", *BOOTED, *packages))
        # As Debian 12 boots: cgroup v2 alone. Nothing is registered with a systemd that this machine may have itself.
        command = [
            "env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", needed("systemd-nspawn"), "--boot", "--directory", str(folder),
            f"--machine=proxyd-{os.getpid()}", "--private-network", "--register=no", "--keep-unit", "--console=pipe",
        ]
        self.leader = 0
        self.process = Process(command, folder.parent / "boot.log")
        self.process.ready(self._booted, "systemd has booted")

    def words(self, *command: str) -> list[str]:
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ["nsenter", "--target", str(self.leader), *spaces, "--root", "--wd", *command]

    def _booted(self) -> bool:
        self.leader = _only_child(self.process.pid)
        if not self.leader:
            return False
        done = subprocess.run(self.words("systemctl", "is-system-running"), capture_output=True, text=True, check=False, env=ENVIRONMENT)
        return done.stdout.strip() == "running"

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """The calling thread, and whatever it starts, is in this machine's network."""
        with network_of(self.leader):
            yield

    def fact(self, unit: str, name: str) -> str:
        """A property of a unit (`systemctl show`)."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit)

    def drop_in(self, unit: str, name: str, text: str) -> None:
        """Settings beside those of the unit; no text: no longer."""
        path = self.path(f"/etc/systemd/system/{unit}.d/{name}.conf")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.run("systemctl", "daemon-reload")

    def remove(self) -> None:
        self.process.end()
        super().remove()


def _only_child(pid: int) -> int:
    """0: it has none, or several."""
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return int(done.stdout) if re.fullmatch(r"\s*\d+\s*", done.stdout) else 0


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """The calling thread, and whatever it starts, is in the network that the process is in."""
    with open("/proc/thread-self/ns/net") as ours, open(f"/proc/{pid}/ns/net") as theirs:
        _enter(theirs.fileno())
        try:
            yield
        finally:
            _enter(ours.fileno())


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
