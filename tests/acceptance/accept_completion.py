"""TAB in bash, zsh and fish as they are: bash and zsh at a terminal, fish by its own word for it (`complete -C`)."""
from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.stage import ROOT, needed, until

LINES = {
    "proxyd rel": "proxyd reload ",
    "proxyd upstream dr": "proxyd upstream drain ",
    "proxyd run --sup": "proxyd run --supervise ",
    "proxyd check --format j": "proxyd check --format json ",
    "proxyd check --format=j": "proxyd check --format=json ",
    "proxyd import ng": "proxyd import nginx ",
    "proxyd import nginx sit": "proxyd import nginx site.conf ",
    "proxyd -c pro": "proxyd -c proxyd.yaml ",
    "proxyd run --config=pro": "proxyd run --config=proxyd.yaml ",
    "proxyd run --config=with": "proxyd run --config=with\\ space.yaml ",
    "proxyd check with": "proxyd check with\\ space.yaml ",
    "proxyd check con": "proxyd check conf.d/",
    "proxyd -c proxyd.yaml --admin unix:/x rel": "proxyd -c proxyd.yaml --admin unix:/x reload ",
    "proxyd rel nothing": "proxyd rel nothing",
}
"""A line, and what TAB makes of it."""

BASH = """
source <(proxyd completion bash)
show() { printf '%s' "$READLINE_LINE" > shown.new; mv shown.new shown; }
bind -x '"\\C-t": show'
touch ready
"""
ZSH_END = """
show() { print -rn -- "$BUFFER" > shown.new; mv shown.new shown }
zle -N show
bindkey '^T' show
zle-line-init() { touch ready }
zle -N zle-line-init
"""
ZSH = {
    "sourced": "autoload -Uz compinit; compinit -u -D\nsource <(proxyd completion zsh)\n" + ZSH_END,
    "autoloaded": "proxyd completion zsh > functions/_proxyd; fpath+=$PWD/functions\nautoload -Uz compinit; compinit -u -D\n" + ZSH_END,
}
TAB, SHOW, CLEAR = b"\t", b"\x14", b"\x15"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the program in bin/, and files to choose from."""
    program = tmp_path / "bin" / "proxyd"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT}:{ROOT / 'ext'} exec {sys.executable} -m proxyd \"$@\"\n")
    program.chmod(0o755)
    for folder in ("functions", "conf.d"):
        (tmp_path / folder).mkdir()
    for file in ("proxyd.yaml", "with space.yaml", "site.conf"):
        (tmp_path / file).touch()
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(place), "ZDOTDIR": str(place), "XDG_CONFIG_HOME": str(place / "fish"), "TERM": "dumb", "LC_ALL": "C"}


class Terminal:
    """A shell at a terminal, which writes its line to a file when asked."""

    def __init__(self, place: Path, command: list[str]) -> None:
        self.place = place
        self.ours, theirs = pty.openpty()
        self.said = bytearray()
        self.shell = subprocess.Popen(
            command, cwd=place, env=environment(place), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._until_there("ready")

    def _until_there(self, name: str) -> None:
        until(lambda: self._hear() or (self.place / name).exists(), f"{name}: {self.said.decode(errors='replace')}")

    def _hear(self) -> bool:
        """Nobody may be kept from talking. False."""
        while select.select([self.ours], [], [], 0)[0]:
            self.said += os.read(self.ours, 65_536)
        return False

    def complete(self, line: str) -> str:
        """The line after TAB."""
        (self.place / "shown").unlink(missing_ok=True)
        os.write(self.ours, CLEAR + line.encode() + TAB + SHOW)
        self._until_there("shown")
        return (self.place / "shown").read_text()

    def close(self) -> None:
        self.shell.kill()
        self.shell.wait()
        os.close(self.ours)


@contextlib.contextmanager
def terminal(place: Path, *command: str) -> Iterator[Terminal]:
    found = Terminal(place, list(command))
    try:
        yield found
    finally:
        found.close()


def test_bash(place: Path) -> None:
    (place / "bashrc").write_text(BASH)
    with terminal(place, needed("bash"), "--noprofile", "--rcfile", "bashrc", "-i") as bash:
        assert {line: bash.complete(line) for line in LINES} == LINES


@pytest.mark.parametrize("way", ZSH)
def test_zsh(place: Path, way: str) -> None:
    (place / ".zshrc").write_text(ZSH[way])
    with terminal(place, needed("zsh"), "-i") as zsh:
        assert {line: zsh.complete(line) for line in LINES} == LINES
        zsh.complete("proxyd ro")
        assert b"what a request would meet, and why not the other routes" in zsh.said, "with a word on each"


def test_fish(place: Path) -> None:
    folder = place / "fish" / "fish" / "completions"
    folder.mkdir(parents=True)
    program = str(place / "bin" / "proxyd")
    (folder / "proxyd.fish").write_text(subprocess.run([program, "completion", "fish"], capture_output=True, text=True, check=True).stdout)

    def complete(line: str) -> str:
        """The line with the last word as fish would have it; unchanged when there is not just one."""
        words = [needed("fish"), "--command", 'complete -C "$LINE"']
        done = subprocess.run(words, cwd=place, env=environment(place) | {"LINE": line}, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        found = [each.partition("\t")[0] for each in done.stdout.splitlines()]
        begun = line.rpartition(" ")[0]
        return f"{begun} {found[0]}" if len(found) == 1 else line

    told = {line: wanted.replace("\\", "").rstrip() for line, wanted in LINES.items()}      # quoting and space come after this
    assert {line: complete(line) for line in LINES} == told
