"""What the machine may lack, from the figures of one that lacks it."""
from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.doctor import machine
from proxyd.doctor.finding import Finding


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_this_machine_is_read_without_an_error() -> None:
    subjects = [finding.subject for finding in machine.examine()]
    assert {"kernel", "open files", "accept queue", "local ports", "SO_REUSEPORT", "clock", "extras"} <= set(subjects)


@pytest.mark.parametrize(("finding", "level", "words"), [
    (machine.kernel("6.1.0-13-amd64"), "good", "Linux 6.1.0"),
    (machine.kernel("4.19.0"), "warning", "older"),
    (machine.open_files(1024), "warning", "about 512 connections"),
    (machine.open_files(1 << 20), "good", "1048576"),
    (machine.open_files(-1), "good", "as many"),
    (machine.backlog(128), "warning", "128 connections"),
    (machine.backlog(4096), "good", "4096"),
    (machine.backlog(None), "note", "cannot be read"),
    (machine.ports("32768\t60999\n"), "good", "28232"),
    (machine.ports("60000\t60999\n"), "warning", "1000 for connections"),
    (machine.ports(""), "note", "cannot be read"),
    (machine.clock(0), "good", "synchronised"),
    (machine.clock(5), "warning", "not synchronised"),
    (machine.clock(None), "note", "cannot be asked"),
    (machine.extras([]), "good", "redis, memcached, geoip"),
    (machine.extras(["geoip"]), "note", "not installed: geoip"),
    (machine.reuse_port(), "good", "share a port"),
])
def test_findings(finding: Finding, level: str, words: str) -> None:
    assert (finding.level, words in finding.text) == (level, True), finding
    assert bool(finding.advice) == (level in {"warning", "error"} or "not installed" in finding.text)


@pytest.mark.parametrize(("count", "level"), [("10", "good"), ("900", "error")])
def test_connection_tracking(tmp_path: Path, count: str, level: str) -> None:
    write(tmp_path, nf_conntrack_count=f"{count}\n", nf_conntrack_max="1000\n")
    found, = machine.conntrack(tmp_path)
    assert (found.level, found.text.startswith(f"{count} of 1000 places")) == (level, True)


def test_a_kernel_that_tracks_nothing(tmp_path: Path) -> None:
    assert list(machine.conntrack(tmp_path)) == []


def test_rights_in_words(tmp_path: Path) -> None:
    path = write(tmp_path, file="") / "file"
    path.chmod(0o640)
    assert machine.file_facts(path).startswith("-rw-r----- ")
