from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd.filters.source import SourceError, digest, files_of, load_source
from tests.support.filters import write_filter


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_hooks_and_files(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("PLAN = 'gold'\n")
    path = write_filter(tmp_path, "import beside_it\nasync def on_request(request): return beside_it.PLAN\ndef on_response(a, b): pass\n")
    source = load_source(path, "loaded_1")
    assert set(source.hooks) == {"request", "response"}
    assert set(files_of(source)) == {str(path), str(tmp_path / "beside_it.py")}
    assert files_of(source)[str(path)] == digest(str(path)) != ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "neither on_request nor on_response"),
        ("on_request = 7\n", "on_request is no function"),
        ("async def on_request(): pass\n", "own.py:3: on_request takes (request)"),
        ("def on_response(request): pass\n", "own.py:3: on_response takes (request, response)"),
        ("import json\n\nundefined\n", "own.py:5: NameError: name 'undefined' is not defined"),
        ("def f(:\n", "own.py:3: "),
        ("sys.exit(3)\n", "own.py:3: SystemExit: 3"),
        ("import not_there_at_all\n", "ModuleNotFoundError"),
    ],
)
def test_what_is_no_filter(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        load_source(write_filter(tmp_path, text), "loaded_2")
    assert message in str(caught.value)
    assert "loaded_2" not in sys.modules or "neither" in message or "is no" in message or "takes" in message


def test_the_trace_begins_in_the_users_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        load_source(write_filter(tmp_path, "def f(): return 1 / 0\nf()\n"), "loaded_3")
    assert "ZeroDivisionError" in caught.value.trace
    assert "importlib" not in caught.value.trace


def test_a_name_that_is_no_module(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="its name does not end"):
        load_source(tmp_path / "own.txt", "loaded_4")


def test_a_file_that_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    assert digest(str(tmp_path / "none")) == ""
