"""The configs that are shipped load without a finding."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxyd import demo
from proxyd.config import load
from proxyd.snapshot.explain import compile_unbound

FOLDER = Path(__file__).parents[3] / "config"
PAGES = [FOLDER.parent / "README.md", *sorted((FOLDER / "guide").iterdir())]
BLOCKS = [block for page in PAGES for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)]
CONFIGS = [block for block in BLOCKS if block.startswith("listen:")]
SHIPPED = sorted(path for path in FOLDER.rglob("*.yaml") if path.parent.name != "prometheus")
FILES = {name: block for block in BLOCKS for name in re.findall(r"\A# ([\w.]+\.yaml)\b", block)}  # those that the configs name


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_it_loads(path: Path) -> None:
    result = load(path, env={})
    assert result.diagnostics == []
    assert result.ok


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_engine_takes_it(path: Path) -> None:
    config = load(path, env={}).config
    assert config is not None
    compiled = compile_unbound(config)
    assert [upstream.name for upstream in compiled.spec.upstreams] == list(config.upstreams)


def test_there_are_the_examples_that_the_readme_names() -> None:
    assert {path.stem for path in (FOLDER / "examples").iterdir()} == {
        "two-lines",
        "ten-lines",
        "api",
        "cache",
        "cache-aside",
        "canary",
        "circuit",
        "dns",
        "failover",
        "gateway",
        "jwt-api",
        "many-hosts",
        "postgres",
        "redis",
        "site",
        "sticky",
        "tcp",
        "tls-passthrough",
        "websocket",
    }


def test_each_begins_with_what_it_is_for_and_how_to_try_it() -> None:
    for path in (FOLDER / "examples").iterdir():
        lines = path.read_text().splitlines()
        head = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
        if path.stem not in ("two-lines", "ten-lines"):  # they stand in the README
            assert 3 <= len(head) <= 9
            assert [line for line in head if line.startswith("#     ")], path.stem


def test_two_and_ten_lines_have_as_many() -> None:
    for name, count in (("two-lines", 2), ("ten-lines", 10)):
        assert len((FOLDER / "examples" / f"{name}.yaml").read_text().splitlines()) == count


def test_the_quickstart_sends_to_the_demo_origins() -> None:
    config = load(FOLDER / "quickstart.yaml", env={}).config
    assert config is not None
    assert [(server.address.host, server.address.port) for server in config.upstreams["demo"].servers] == list(demo.ADDRESSES)
    assert [str(bind) for bind in config.admin.bind] == ["auto", "127.0.0.1:2080"]
    assert all(bind.is_loopback for listener in config.listeners.values() for bind in listener.bind)


@pytest.mark.parametrize("text", CONFIGS, ids=range(len(CONFIGS)))
def test_what_the_pages_print_loads(text: str, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "proxyd.yaml").write_text(text)
    assert load(tmp_path / "proxyd.yaml", env={}).diagnostics == []


def test_the_readme_prints_the_ten_lines() -> None:
    assert (FOLDER / "examples" / "ten-lines.yaml").read_text() in CONFIGS
