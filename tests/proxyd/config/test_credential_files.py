from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.config import LoadResult, load, load_text
from proxyd.diagnostics import render_all
from tests.support.config import config_in

KEY, OTHER = "shop-0123456789abcdef", "bank-0123456789abcdef"
HASH = "$2y$04$" + "a" * 53
HEAD = "listen: ':1'\nroutes: [{use: p, respond: 200}]\n"


def keys_text(inside: str = "file: keys") -> str:
    return f"{HEAD}policies: {{p: {{auth: {{api_key: {{{inside}}}}}}}}}\n"


def users_text(inside: str = "file: users") -> str:
    return f"{HEAD}policies: {{p: {{auth: {{basic: {{{inside}}}}}}}}}\n"


def load_with(folder: Path, text: str, **files: str | bytes) -> LoadResult:
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return load_text(text, folder=str(folder), env={})


def findings(folder: Path, text: str, **files: str | bytes) -> list[tuple[str, str, int, int]]:
    """Code, name of the file, line and column."""
    found = load_with(folder, text, **files).diagnostics
    assert all(item.span is not None for item in found), render_all(found)
    return [
        (item.code, Path(item.span.source.name).name, item.span.line + 1, item.span.column + 1) for item in found if item.span is not None
    ]


def test_keys_join_those_of_the_config(tmp_path: Path) -> None:
    content = f"# all\nshop: {KEY}\nold: {{key: {OTHER}, enabled: false}}\n"
    result = load_with(tmp_path, keys_text(f"file: keys, keys: {{bank: {{sha256: {'b' * 64}}}}}"), keys=content)
    assert result.config is not None, render_all(result.diagnostics)
    auth = result.config.policies["p"].auth
    assert auth is not None
    assert auth.api_key is not None
    assert [(name, key.enabled) for name, key in auth.api_key.keys.items()] == [("bank", True), ("shop", True), ("old", False)]
    assert result.warnings == []           # a secret in a file of its own is where it belongs


def test_an_htpasswd_file(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"# staff\nann:{HASH}\n\nbob smith:{HASH}:a comment\n")
    auth = config_in(tmp_path, users_text()).policies["p"].auth
    assert auth is not None
    assert auth.basic is not None
    assert auth.basic.users == {"ann": HASH, "bob smith": HASH}
    assert config_in(tmp_path, f"{HEAD}policies: {{p: {{auth: {{basic: users}}}}}}\n").policies["p"].auth == auth


def test_the_files_are_among_those_that_are_watched(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"shop: {KEY}\n")
    (tmp_path / "main.yaml").write_text(keys_text())
    assert [path.name for path in load(tmp_path / "main.yaml").files] == ["main.yaml", "keys"]


def test_an_empty_file_is_no_keys(tmp_path: Path) -> None:
    for content in ("", "# nobody yet\n"):
        result = load_with(tmp_path, keys_text(), keys=content)
        assert result.config is not None, render_all(result.diagnostics)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("shop: short\n", ("PXD-087", 1, 7)),
        (f"a: {KEY}\nshop: {{key: {OTHER}, plann: x}}\n", ("PXD-021", 2, 36)),
        (f"shop: {KEY}\nshop: {KEY}\n", ("PXD-023", 2, 1)),
        (f"shop:\n  key: {KEY}\n\tx: y\n", ("PXD-003", 3, 1)),
        (f"- {KEY}\n", ("PXD-030", 1, 1)),
        (f"{KEY}\n", ("PXD-030", 1, 1)),
        (b"shop: \xff\n", ("PXD-009", 1, 7)),
        (f"'a:b': {KEY}\n", ("PXD-036", 1, 1)),
    ],
)
def test_mistakes_in_a_file_of_keys_are_pointed_at_there(tmp_path: Path, content: str | bytes, expected: tuple[str, int, int]) -> None:
    assert findings(tmp_path, keys_text(), keys=content) == [(expected[0], "keys", *expected[1:])]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", ("PXD-086", 1)),
        (f"ann:{HASH}\nhunter2\n", ("PXD-086", 2)),
        (f"ann:{HASH}\nann:{HASH}\n", ("PXD-023", 2)),
        (f"ann:{HASH}\n:{HASH}\n", ("PXD-036", 2)),
    ],
)
def test_mistakes_in_an_htpasswd_file_are_pointed_at_there(tmp_path: Path, content: str, expected: tuple[str, int]) -> None:
    assert findings(tmp_path, users_text(), users=content) == [(expected[0], "users", expected[1], 1)]


@pytest.mark.parametrize(
    "content",
    [f"shop: {KEY} oops\n", f"{KEY}\n", f"- {KEY}\n", f"{{a: {KEY} x, b: {KEY}}}\n", f"a: {KEY}\na: {KEY}\n", f"a: {{key: '{KEY}}}\n"],
)
def test_no_finding_shows_a_key(tmp_path: Path, content: str) -> None:
    found = load_with(tmp_path, keys_text(), keys=content).diagnostics
    assert found
    assert KEY not in render_all(found)


@pytest.mark.parametrize("content", ["ann:hunter2\n", "hunter2\n", "ann:hunter2\nann:hunter2\n"])
def test_no_finding_shows_a_password(tmp_path: Path, content: str) -> None:
    found = load_with(tmp_path, users_text(), users=content).diagnostics
    assert found
    assert "hunter2" not in render_all(found)


def test_a_file_that_is_not_there_is_one_finding(tmp_path: Path) -> None:
    assert findings(tmp_path, keys_text()) == [("PXD-009", "<text>", 3, 39)]
    assert findings(tmp_path, users_text()) == [("PXD-009", "<text>", 3, 37)]


def test_the_same_name_in_the_config_and_in_the_file(tmp_path: Path) -> None:
    text = keys_text(f"file: keys, keys: {{shop: {{sha256: {'b' * 64}}}}}")
    assert findings(tmp_path, text, keys=f"shop: {KEY}\n") == [("PXD-023", "keys", 1, 1)]
