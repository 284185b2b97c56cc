"""Says what is missing before anything runs, and installs it when asked and allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

from harness.system import stream_module

# program -> Debian package
_PACKAGES = {"gcc": "gcc", "make": "make", "wrk": "wrk", "nginx": "nginx", "haproxy": "haproxy", "varnishd": "varnish"}
_PACKAGES |= {"ngx_stream_module": "libnginx-mod-stream"}


def missing(programs: Iterable[str]) -> list[str]:
    return [p for p in programs if shutil.which(p, path=_path()) is None]


def without_stream(nginx: str | None) -> list[str]:
    """The name of the module that this nginx lacks, for `command_for`; nothing where it has one, or where there is no nginx at all."""
    return ["ngx_stream_module"] if nginx and stream_module(nginx) is None else []


def which(program: str) -> str | None:
    return shutil.which(program, path=_path())


def _path() -> str:
    # Debian puts daemons in /usr/sbin, which a user's PATH lacks
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def command_for(programs: Iterable[str]) -> list[str]:
    return ["apt-get", "install", "-y", "--no-install-recommends", *(_PACKAGES[p] for p in programs)]


def install(programs: list[str]) -> None:
    """As root only. Debian's packages also start what they bring as services; they are kept from it, for the bench runs its own."""
    if os.geteuid() != 0:
        raise RuntimeError(f"--install needs root. Run: sudo {' '.join(command_for(programs))}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update"], check=True, env=environment)
    subprocess.run(command_for(programs), check=True, env=environment)
