"""Packaging, for real: pip into empty environments. Slow (it compiles everything three times), so it is run by `make package-test` only.

Works on a copy of what git would hand out, so that nothing built in the checkout can help.
"""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {".py", ".pyx", ".pxd", ".pyi", ".h", ".typed"}
IMPORTS = "import proxyd_ext.engine, proxyd_ext.engine.engine as engine; print(engine.__file__)"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


class Environment:
    """An empty virtual environment."""

    def __init__(self, folder: Path) -> None:
        run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
        self.bin = folder / "bin"

    def pip(self, *arguments: str | Path, cwd: Path) -> None:
        run(self.bin / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments, cwd=cwd)

    def check(self, elsewhere: Path, inside: Path) -> None:
        """proxyd works from a folder that has nothing to do with it, and its engine comes from `inside`."""
        assert "0.1.0" in run(self.bin / "proxyd", "version", cwd=elsewhere)
        assert Path(run(self.bin / "python", "-c", IMPORTS, cwd=elsewhere).strip()).is_relative_to(inside)
        config = elsewhere / "proxyd.yaml"
        config.write_text("listen: 127.0.0.1:0\nto: 127.0.0.1:9\n")
        run(self.bin / "proxyd", "check", "-c", config, cwd=elsewhere)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The tracked and the new files, as a clone would have them."""
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    target = tmp_path / "checkout"
    for name in names:
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(source.read_bytes())
    return target


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def test_pip_install(checkout: Path, elsewhere: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.pip(".", cwd=checkout)
    environment.check(elsewhere, tmp_path / "venv")


def test_pip_install_editable(checkout: Path, elsewhere: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.pip("-e", ".", cwd=checkout)
    environment.check(elsewhere, checkout)


def test_sdist_to_wheel(checkout: Path, elsewhere: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.pip("build", cwd=checkout)
    # `build` makes the wheel from the unpacked sdist, not from the checkout.
    run(environment.bin / "python", "-m", "build", "--outdir", tmp_path / "dist", cwd=checkout)
    sdist, = (tmp_path / "dist").glob("*.tar.gz")
    wheel, = (tmp_path / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(path.relative_to(checkout)) for path in (checkout / "ext" / "proxyd_ext").rglob("*") if path.suffix in NEEDED}
    assert any(name.endswith(".h") for name in sources)
    assert sources <= packed
    assert {"LICENSE", "README.md", "pyproject.toml"} <= packed
    installed = set(zipfile.ZipFile(wheel).namelist())
    assert {name.removeprefix("ext/") for name in sources if not name.endswith(".pyx")} <= installed
    assert {"proxyd/py.typed", "proxyd_ext/py.typed"} <= installed
    assert not [name for name in packed | installed if name.endswith((".c", ".o")) or "/tests/" in name]
    environment.pip(wheel, cwd=elsewhere)
    environment.check(elsewhere, tmp_path / "venv")


def test_make_run(checkout: Path, tmp_path: Path) -> None:
    """A fresh clone serves the demo within five minutes, set-up included; Ctrl-C stops all of it."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VENV", "PYTHON")}
    before = time.monotonic()
    with (tmp_path / "make.log").open("wb") as log:
        make = subprocess.Popen(["make", "run"], cwd=checkout, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                process_group=0)
    try:
        origins: set[str] = set()
        while len(origins) < 2:
            assert make.poll() is None, (tmp_path / "make.log").read_text()
            assert time.monotonic() - before < 300, (tmp_path / "make.log").read_text()
            time.sleep(0.2)
            origins |= {name for name in ("one", "two") if f"X-Origin: {name}" in ask(8080)}
        assert "http://127.0.0.1:8080" in (tmp_path / "make.log").read_text()
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(30)
    for port in (8080, 9001, 9002):
        assert ask(port) == "", f"somebody still listens on {port}"


def ask(port: int) -> str:
    """The answer to a GET, or nothing when nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()
    except OSError:
        return ""
