from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.cli.locate import maybe_admin_address


@pytest.mark.parametrize(("text", "address"), [
    ("listen: :8080\n", ""),
    ("admin: {bind: ['unix:/run/a.sock', 127.0.0.1:2080]}\n", "unix:/run/a.sock"),
    ("admin: {bind: 127.0.0.1:2080}\n", "127.0.0.1:2080"),
    ("admin:\n  bind:\n    - unix:/run/a.sock\n", "unix:/run/a.sock"),
    ("admin: {bind: [auto, 127.0.0.1:2080]}\n", ""),
    ("admin: {bind: []}\n", ""),
    ("admin: {bind: ['0.0.0.0:2080', 127.0.0.1:2081]}\n", "127.0.0.1:2080"),
    ("admin: {bind: '[::]:2080'}\n", "[::1]:2080"),
    ("admin: {bind: ':2080'}\n", ":2080"),
    ("admin: nonsense\n", ""),
    ("- admin\n", ""),
    ("vars: {here: /run}\nlisten: :1\nto: [127.0.0.1:1]\nadmin: {bind: 'unix:${here}/a.sock'}\n", "unix:/run/a.sock"),
])
def test_what_a_file_names(text: str, address: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert maybe_admin_address(tmp_path / "a.yaml") == address


@pytest.mark.parametrize("text", [
    "listen: :8080\ntoo: x\nadmin: {bind: ['unix:/run/a.sock']}\n",                       # errors of the model
    "listen: [\nadmin: {bind: ['unix:/run/a.sock']}\nto: 127.0.0.1:9001\n",               # errors of YAML, before
    "admin:\n  bind:\n    - unix:/run/a.sock\nto: {\n",                                   # and behind
    "vars: {a: b}\nto: '${nosuch}'\nadmin: {bind: unix:/run/a.sock}\n",                   # of a variable
])
def test_a_broken_file_still_names_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert maybe_admin_address(tmp_path / "a.yaml") == "unix:/run/a.sock"


def test_an_included_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: b.yaml\nlisten: :8080\nto: [127.0.0.1:9001]\n")
    (tmp_path / "b.yaml").write_text("admin: {bind: 127.0.0.1:2080}\n")
    assert maybe_admin_address(tmp_path / "a.yaml") == "127.0.0.1:2080"


def test_what_cannot_be_read_names_nothing(tmp_path: Path) -> None:
    assert maybe_admin_address(tmp_path / "nosuch.yaml") == ""
    (tmp_path / "a.yaml").write_bytes(b"admin: \xff\xfe")
    assert maybe_admin_address(tmp_path / "a.yaml") == ""
