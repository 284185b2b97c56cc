from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from proxyd.cli.errors import Exit
from proxyd.config import load_text

Run = Callable[..., Result]
Write = Callable[[str, str], str]
GOOD = "http { server { listen 8080; location / { proxy_pass http://127.0.0.1:9001; } } }"
POOR = "http { server { listen 8080; location / { proxy_pass http://127.0.0.1:9001; limit_rate 1k; return 444; } } }"


def test_to_stdout(run: Run, write: Write) -> None:
    result = run("import", "nginx", write("nginx.conf", GOOD))
    assert result.exit_code == Exit.OK
    assert load_text(result.stdout).ok
    assert result.stderr == "0 differences, 0 not translated; look it over, then `proxyd check FILE`\n"


def test_to_a_file(run: Run, write: Write, tmp_path: Path) -> None:
    result = run("import", "nginx", write("nginx.conf", POOR), "-o", str(tmp_path / "made.yaml"))
    assert (result.exit_code, result.stdout) == (Exit.OK, "")
    assert result.stderr.splitlines()[:3] == [
        "translated with a difference (1):",
        "  nginx.conf:1 return 444: the connection is not closed without a word: the client gets 403",
        "not translated (1):",
    ]
    assert run("check", str(tmp_path / "made.yaml")).exit_code == Exit.OK


def test_strict(run: Run, write: Write) -> None:
    assert run("import", "nginx", write("a.conf", GOOD), "--strict").exit_code == Exit.OK
    assert run("import", "nginx", write("b.conf", POOR), "--strict").exit_code == Exit.WARNINGS


def test_json(run: Run, write: Write) -> None:
    found = json.loads(run("import", "nginx", write("nginx.conf", POOR), "--json").stdout)
    assert load_text(found["config"]).ok
    assert [(one["kind"], one["line"], one["directive"]) for one in found["findings"]] == [
        ("changed", 1, "return 444"), ("left out", 1, "limit_rate 1k"),
    ]


@pytest.mark.parametrize("kind", ["haproxy", "caddy", "apache"])
def test_others_are_not_there(run: Run, write: Write, kind: str) -> None:
    result = run("import", kind, write("x.cfg", "global\n"))
    assert result.exit_code == Exit.USAGE
    assert f"`proxyd import {kind}` is not there" in result.stderr
    assert f"`proxyd import {kind}` is not there" in run("import", kind, "no-such-file").stderr, "rather than that the file is not there"


def test_what_is_not_nginx(run: Run, write: Write) -> None:
    result = run("import", "nginx", write("x.yaml", "listen: :8080\n"))
    assert result.exit_code == Exit.CONFIG_INVALID
    assert "PXD-291" in result.stderr
