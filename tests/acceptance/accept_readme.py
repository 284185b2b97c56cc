"""Acceptance: what README.md tells a newcomer to type works as it stands there, in one shell, from the top to the end."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.stage import ROOT, free_port, needed

README = ROOT / "README.md"


def commands() -> str:
    """The blocks marked `sh`. (Those marked `bash` install: tests/packaging does that.)"""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL))


def test_the_blocks(tmp_path: Path) -> None:
    needed("curl")
    script = commands()
    assert script.index("proxyd run") < script.index("proxyd reload")
    script += "\nproxyd stop\n"
    for shown in ("8080", "9001", "9002"):
        script = re.sub(rf"\b{shown}\b", str(free_port()), script)
    programs = tmp_path / "bin"
    programs.mkdir()
    admin = f"unix:{tmp_path / 'admin.sock'}"      # not the one of a proxyd that may run here
    (programs / "proxyd").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m proxyd --admin {admin} "$@"\n')
    (programs / "proxyd").chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    variables = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "ext"))), "HOME": str(tmp_path),
        "PROXYD_STATE": str(tmp_path / "state"),
    }
    trap = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n"
    command = ["bash", "-ec", trap + script]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "proxyd.log").read_text()
    assert sorted(line for line in done.stdout.splitlines() if line in ("one", "two")) == ["one", "one", "two", "two"]
    for said in ("proxyd.yaml: ok", "reloaded:", "Cache-Status: proxyd; hit", "is idle"):
        assert said in done.stdout, said


def test_what_it_links_to_is_there() -> None:
    for page in (README, *sorted((ROOT / "config" / "guide").iterdir())):
        for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
