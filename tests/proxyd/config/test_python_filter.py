from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.config import load, load_text
from proxyd.config.canonical import canonical_text, config_hash
from proxyd.config.python_filter import PythonFilter
from proxyd.diagnostics import render_all
from proxyd.snapshot.build_python import build_python
from proxyd.snapshot.handles import Handles, HandleStore


def text_of(python: str) -> str:
    return f"listen: ':1'\nroutes: [{{to: ['a:1'], use: p}}]\npolicies: {{p: {{python:\n{python}}}}}\n"


def python_of(folder: Path, python: str) -> PythonFilter:
    (folder / "own.py").write_text("def on_request(request): pass\n")
    result = load_text(text_of(python), folder=str(folder), env={})
    assert result.config is not None, render_all(result.diagnostics)
    found = result.config.policies["p"].python
    assert found is not None
    return found


def test_short_form_and_defaults(tmp_path: Path) -> None:
    python = python_of(tmp_path, "own.py")
    assert python == python_of(tmp_path, "{file: own.py}")
    assert (str(python.file), python.file.path) == ("own.py", tmp_path / "own.py")
    assert (python.timeout.seconds, python.on_failure, python.workers, python.disable_after) == (1.0, "closed", 1, 20)
    assert python_of(tmp_path, "{file: own.py, disable_after: none}").disable_after == 0


def test_paths_are_relative_to_the_file_that_they_stand_in(tmp_path: Path) -> None:
    for name in ("conf.d", "filters"):
        (tmp_path / name).mkdir()
    (tmp_path / "filters" / "own.py").write_text("def on_request(request): pass\n")
    (tmp_path / "conf.d" / "p.yaml").write_text("policies: {p: {python: ../filters/own.py}}\n")
    (tmp_path / "main.yaml").write_text("include: conf.d/*.yaml\nlisten: ':1'\nroutes: [{to: ['a:1'], use: p}]\n")
    config = load(tmp_path / "main.yaml", env={}).config
    assert config is not None
    assert config.policies["p"].python is not None
    assert config.policies["p"].python.file.path == tmp_path / "filters" / "own.py"


def test_the_canonical_form_loads_to_the_same(tmp_path: Path) -> None:
    python_of(tmp_path, "own.py")
    config = load_text(text_of("own.py"), folder=str(tmp_path)).config
    assert config is not None
    assert "file: own.py" in canonical_text(config)
    again = load_text(canonical_text(config), folder=str(tmp_path)).config
    assert again == config
    assert config_hash(again) == config_hash(config)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "own.py").write_text("def on_request(request): pass\n")
    assert load_text(text_of("own.py"), folder=str(tmp_path / "other")).config != config


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("{timeout: 1s}", ("PXD-022", 3, 16)),
        ("{file: none.py}", ("PXD-089", 4, 8)),
        ("none.py", ("PXD-089", 4, 1)),
        ("{file: wrong.py}", ("PXD-089", 4, 8)),
        ("{file: null.py}", ("PXD-089", 4, 8)),
        ("{file: large.py}", ("PXD-089", 4, 8)),
        ("{file: own.txt}", ("PXD-089", 4, 8)),
        ("{file: .}", ("PXD-089", 4, 8)),
        ("{file: [own.py]}", ("PXD-030", 4, 8)),
        ("7", ("PXD-030", 4, 1)),
        ("{file: own.py, timeout: 5m}", ("PXD-033", 4, 25)),
        ("{file: own.py, timeout: 50}", ("PXD-031", 4, 25)),
        ("{file: own.py, on_failure: pass}", ("PXD-034", 4, 28)),
        ("{file: own.py, workers: 0}", ("PXD-033", 4, 25)),
        ("{file: own.py, on_error: open}", ("PXD-021", 4, 16)),
    ],
)
def test_mistakes(tmp_path: Path, python: str, expected: tuple[str, int, int]) -> None:
    (tmp_path / "own.py").write_text("def on_request(request): pass\n")
    (tmp_path / "own.txt").write_text("")
    (tmp_path / "wrong.py").write_text("import os\ndef on_request(:\n")
    (tmp_path / "null.py").write_bytes(b"a = 1\0")
    (tmp_path / "large.py").write_text("#" * 1_100_000)
    [found] = load_text(text_of(python), folder=str(tmp_path), env={}).diagnostics
    assert found.span is not None
    assert (found.code, found.span.line + 1, found.span.column + 1) == expected


def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import os\nos.environ[\n")
    [found] = load_text(text_of("own.py"), folder=str(tmp_path), env={}).diagnostics
    assert "own.py:2: '[' was never closed" in found.message


def test_files_are_not_run_when_the_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    assert load_text(text_of("own.py"), folder=str(tmp_path), env={}).ok
    assert not (tmp_path / "ran").exists()


def test_what_engines_get(tmp_path: Path) -> None:
    store = HandleStore()
    first, second, third = (
        build_python(Handles(store), name, python_of(tmp_path, text))
        for name, text in (("p", "own.py"), ("p", "{file: own.py, timeout: 50ms, on_failure: open}"), ("q", "own.py"))
    )
    assert (first.policy, first.timeout_ms, first.fail_open) == ("p", 1_000, False)
    assert (second.timeout_ms, second.fail_open) == (50, True)
    assert first.hooks is second.hooks
    assert third.hooks is not first.hooks
