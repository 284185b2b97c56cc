"""Completion as a shell asks for it."""
from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from proxyd.cli.entry import VERBS, root
from tests.proxyd.cli.program import environment

Run = Callable[..., Result]


def complete(args: list[str], incomplete: str) -> list[str]:
    return [item.value for item in ShellComplete(root, {}, "proxyd", "_PROXYD_COMPLETE").get_completions(args, incomplete)]


def test_verbs_and_what_is_below_them() -> None:
    assert complete([], "up") == ["upstream", "upgrade"]
    assert set(VERBS) <= set(complete([], ""))
    assert complete(["upstream"], "dr") == ["drain"]
    assert complete(["run"], "--sup") == ["--supervise"]
    assert complete([], "--js") == ["--json"]
    assert complete(["completion"], "") == ["bash", "zsh", "fish"]
    assert complete(["import"], "") == ["nginx"]
    assert complete(["nosuch", "more"], "rel") == ["reload"], "no error in the middle of a line"


@pytest.mark.parametrize("words", [["-c"], ["run", "--config"], ["check"], ["import", "nginx"], ["audit", "verify"]])
def test_where_a_file_may_stand_the_shell_is_told_so(words: list[str]) -> None:
    [item] = ShellComplete(root, {}, "proxyd", "_PROXYD_COMPLETE").get_completions(words, "a")
    assert (item.type, item.value) == ("file", "a")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(run: Run, shell: str) -> None:
    script = run("completion", shell).stdout
    assert f"_PROXYD_COMPLETE={shell}_complete" in script


def test_in_a_real_bash(run: Run, tmp_path: Path) -> None:
    """Words are those of the line, not readline's, which end at `=` and `:`, too. More shells: accept_completion.py."""
    program = tmp_path / "proxyd"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m proxyd \"$@\"\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "completion.bash").write_text(run("completion", "bash").stdout)
    script = """
        source completion.bash
        for COMP_LINE in 'proxyd upstream dr' 'proxyd check --format=j' 'proxyd --admin unix:/x rel'; do
            COMP_POINT=${#COMP_LINE}
            _proxyd_completion proxyd
            echo "${COMPREPLY[@]}"
        done
        complete -p proxyd
    """
    env = environment(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.splitlines() == ["drain", "json", "reload", "complete -o nosort -F _proxyd_completion proxyd"]
