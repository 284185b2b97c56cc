from __future__ import annotations

from pathlib import Path

from proxyd.loading import load_given, load_path

TEXT = "{listen: ':8080', to: '127.0.0.1:9001'}"


def test_the_hash_is_of_the_meaning() -> None:
    spelt_out = "listeners: {default: {bind: [':8080']}}\nto: ['127.0.0.1:9001']   # the same\n"
    assert load_given(TEXT, None).hash == load_given(spelt_out, None).hash
    assert load_given(TEXT, None).hash != load_given(TEXT.replace("9001", "9002"), None).hash


def test_a_file_with_its_includes(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.yaml").write_text("upstreams: {app: {servers: ['127.0.0.1:9001']}}")
    main = tmp_path / "proxyd.yaml"
    main.write_text("include: conf.d/*.yaml\nlisten: ':8080'\nto: app\n")
    loaded = load_path(main)
    assert loaded.config is not None
    assert loaded.files == (main, tmp_path / "conf.d" / "a.yaml")
    assert loaded.text == main.read_text()


def test_a_text_finds_its_files_beside_the_running_one(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("upstreams: {app: {servers: ['127.0.0.1:9001']}}")
    assert load_given("include: more.yaml\nlisten: ':8080'\nto: app\n", tmp_path).config is not None


def test_a_broken_file_has_diagnostics_and_no_hash(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("listen: 8080\n")
    loaded = load_path(tmp_path / "broken.yaml")
    assert loaded.config is None
    assert loaded.diagnostics
    assert loaded.hash == ""


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    loaded = load_path(tmp_path / "none.yaml")
    assert loaded.config is None
    assert [item.code for item in loaded.diagnostics] == ["PXD-001"]
