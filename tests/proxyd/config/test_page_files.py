from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.config import load, load_text
from proxyd.config.canonical import canonical_text, config_hash
from proxyd.config.text import MAX_BODY


def write(folder: Path, **files: str) -> Path:
    (folder / "pages").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / "pages" / f"{name}.html").write_text(content)
    main = folder / "proxyd.yaml"
    main.write_text(
        "listeners: {own: {bind: ':1', routes: [{respond: 200, error_pages: {404: {file: pages/a.html}}}]}, web: {bind: ':2'}}\n"
        "routes: [{respond: 200, error_pages: {5xx: {file: pages/b.html}}}]\n"
        "defaults: {error_pages: {4xx: {file: pages/c.html}}}\n"
    )
    return main


def test_files_are_read_wherever_pages_stand(tmp_path: Path) -> None:
    config = load(write(tmp_path, a="A", b="B", c="C"), env={}).config
    assert config is not None
    assert [page.content for page in config.page_files()] == [b"C", b"B", b"A"]
    assert "file: pages/a.html" in canonical_text(config)
    assert load_text(canonical_text(config), folder=str(tmp_path), env={}).config == config


def test_a_changed_file_is_a_changed_config(tmp_path: Path) -> None:
    before, after = (load(write(tmp_path, a=text, b="B", c="C"), env={}).config for text in ("A", "changed"))
    assert before is not None
    assert after is not None
    assert before != after
    assert config_hash(before) != config_hash(after)


@pytest.mark.parametrize("content", [None, b"x" * (MAX_BODY + 1)])
def test_what_cannot_be_read_is_told_at_its_place(tmp_path: Path, content: bytes | None) -> None:
    main = write(tmp_path, a="A", b="B")
    if content is not None:
        (tmp_path / "pages" / "c.html").write_bytes(content)
    [found] = load(main, env={}).diagnostics
    assert found.span is not None
    assert (found.code, found.span.line + 1, found.span.column + 1) == ("PXD-010", 3, 38)
    assert "pages/c.html" in found.message


def test_an_included_files_pages_stand_beside_it(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "page.html").write_text("beside")
    (tmp_path / "conf.d" / "part.yaml").write_text("defaults: {error_pages: {404: {file: page.html}}}\n")
    main = tmp_path / "proxyd.yaml"
    main.write_text("include: conf.d/*.yaml\nlisten: ':1'\nroutes: [{respond: 200}]\n")
    config = load(main, env={}).config
    assert config is not None
    assert [page.content for page in config.page_files()] == [b"beside"]


def test_a_page_of_a_strange_shape_is_no_file(tmp_path: Path) -> None:
    text = "listen: ':1'\nroutes: [{respond: 200, error_pages: {404: {file: [a]}}}]\ndefaults: {error_pages: [b]}\n"
    assert {item.code for item in load_text(text, folder=str(tmp_path), env={}).diagnostics} == {"PXD-030"}
