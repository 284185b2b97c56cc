"""The native tree keeps the rules of design.md §3 and style.md, and pyproject.toml knows all of it."""
from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ext" / "proxyd_ext"
SOURCES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".pyx", ".pxd", ".pxi"})

# design.md §3. A package takes from the levels above its own (a smaller number) only; `balance` keeps its servers with it.
LEVELS = {
    "core": 0, "io": 1, "http1": 1, "log": 1, "preface": 1, "tls": 2, "http2": 2, "route": 2, "balance": 2, "cache": 2, "limit": 2,
    "auth": 2, "filter": 3, "snapshot": 4, "conn": 5, "l4": 6, "engine": 7,
}

_CIMPORT = re.compile(r"^\s*(?:from\s+proxyd_ext\.(\w+)[\w.]*\s+c?import\b|c?import\s+proxyd_ext\.(\w+))", re.MULTILINE)
_HEADER = re.compile(r"^\s*cdef\s+extern\s+from\s+\"proxyd_ext/(\w+)/", re.MULTILINE)
# What style.md leaves out of the data plane, as it would begin a line or follow a signature.
_FORBIDDEN = {
    "with gil": re.compile(r"\bwith\s+gil\b"),
    "textual include": re.compile(r"^\s*include\s+[\"']", re.MULTILINE),
    "DEF or IF": re.compile(r"^\s*(?:DEF\s+\w+\s*=|IF\s+.*:\s*$)", re.MULTILINE),
    "boundscheck switched off": re.compile(r"^\s*#\s*cython:.*boundscheck\s*=\s*False", re.MULTILINE),
}


def without_strings(text: str) -> str:
    """The code without docstrings, and without comments but for Cython's own switches."""
    text = re.sub(r'"""(?:[^\\]|\\.)*?"""', '""', text, flags=re.DOTALL)
    return re.sub(r"^(?!\s*#\s*cython:)(.*?)#.*$", r"\1", text, flags=re.MULTILINE)


def taken_packages(text: str) -> Iterator[str]:
    """The packages of proxyd_ext that a source takes something from."""
    code = without_strings(text)
    for match in _CIMPORT.finditer(code):
        yield match[1] or match[2]
    for match in _HEADER.finditer(code):
        yield match[1]


def test_pyproject_lists_every_module() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = {entry["name"]: entry["sources"][0] for entry in table["tool"]["setuptools"]["ext-modules"]}
    modules = [path.relative_to(ROOT) for path in SOURCES if path.suffix == ".pyx"]
    found = {".".join(path.with_suffix("").parts[1:]): str(path) for path in modules}
    assert declared == found


def test_every_package_has_a_level_and_an_init() -> None:
    packages = {path.parent.name for path in SOURCES if path.parent != PACKAGE}
    assert packages <= set(LEVELS)
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} >= packages


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sources(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    own = path.parent.name
    wrong = {taken for taken in taken_packages(text) if taken != own and LEVELS[taken] >= LEVELS[own]}
    assert not wrong, f"{own} stands on level {LEVELS[own]} and takes from {wrong}"
    assert [name for name, pattern in _FORBIDDEN.items() if pattern.search(without_strings(text))] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_engine_never_imports_the_control_plane(path: Path) -> None:
    assert not re.search(r"^\s*(?:from|import)\s+proxyd\b", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".pyx"], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nor_does_native_code(path: Path) -> None:
    assert not re.search(r"^\s*(?:from|import|cimport)\s+proxyd\b", without_strings(path.read_text(encoding="utf-8")), re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("from proxyd_ext.io.stream cimport (\n    Stream,\n)\n", ["io"]),
        ("from proxyd_ext.io cimport stream", ["io"]),
        ("cimport proxyd_ext.conn.model\n", ["conn"]),
        ('cdef extern from "proxyd_ext/core/shim.h" nogil:\n', ["core"]),
        ('"""from proxyd_ext.io cimport x"""\n# from proxyd_ext.io cimport x\n', []),
    ],
)
def test_the_check_itself_sees(text: str, taken: list[str]) -> None:
    assert list(taken_packages(text)) == taken


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cdef void f() noexcept with gil:\n", "with gil"),
        ("    with gil:\n", "with gil"),
        ('include "x.pxi"\n', "textual include"),
        ("DEF X = 1\n", "DEF or IF"),
        ("IF UNAME_SYSNAME == 'Linux':\n", "DEF or IF"),
        ("# cython: boundscheck=False\n", "boundscheck switched off"),
    ],
)
def test_the_check_itself_forbids(text: str, name: str) -> None:
    assert _FORBIDDEN[name].search(without_strings(text))
