"""A config is loaded again as its files were."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxyd.config import Config, load, load_text
from proxyd.config.bundle import TEXT, Bundle
from proxyd.config.load import LoadResult, load_kept


def good(result: LoadResult) -> tuple[Config, Bundle]:
    assert result.config is not None, result.diagnostics
    assert result.bundle is not None
    return result.config, result.bundle


@pytest.fixture
def main(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/a.yaml").write_text("routes: [{match: /x, respond: 200}]\n")
    (tmp_path / "404.html").write_bytes(b"gone \xff")
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "proxyd.yaml").write_text(
        "include: [conf.d/*.yaml, none/*.yaml]\nlisten: :8080\ndefaults: {error_pages: {404: {file: 404.html}}}\n"
        "policies: {p: {headers: {response: {set: {X-A: '${file:secret}'}}}}}\n")
    return tmp_path / "proxyd.yaml"


def test_what_is_kept_and_what_is_not(main: Path) -> None:
    _, bundle = good(load(main))
    assert {Path(name).name for name in bundle.files} == {"proxyd.yaml", "a.yaml", "404.html"}
    assert not any(b"s3cret" in content for content in bundle.files.values())


def test_it_is_the_same_when_the_files_have_changed(main: Path) -> None:
    before, bundle = good(load(main))
    stored = Bundle.of(json.loads(json.dumps(bundle.as_dict())))
    assert stored == bundle
    (main.parent / "conf.d/a.yaml").unlink()
    (main.parent / "conf.d/b.yaml").write_text("broken: [\n")
    (main.parent / "404.html").unlink()
    main.write_text("lissen: 1\n")
    after, again = good(load_kept(stored))
    assert after == before
    assert again == bundle


def test_secrets_are_those_of_now(main: Path) -> None:
    before, bundle = good(load(main))
    (main.parent / "secret").write_text("rotated\n")
    after, _ = good(load_kept(bundle))
    assert after != before
    (main.parent / "secret").unlink()
    assert [found.code for found in load_kept(bundle).errors] == ["PXD-009"]


def test_a_relative_path_is_the_same_elsewhere(main: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(main.parent)
    before, bundle = good(load("proxyd.yaml"))
    monkeypatch.chdir("/")
    assert good(load_kept(bundle))[0] == before


def test_a_text(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("routes: [{respond: 200}]\n")
    before, bundle = good(load_text("listen: :8080\ninclude: part.yaml\n", folder=str(tmp_path)))
    (tmp_path / "part.yaml").unlink()
    assert bundle.main == TEXT
    assert good(load_kept(bundle))[0] == before


def test_a_broken_config_has_none() -> None:
    assert load_text("lissen: 1\n").bundle is None


def test_damaged_json_is_told() -> None:
    with pytest.raises(KeyError):
        Bundle.of({"main": "/a", "folder": "/", "files": {}, "globs": {}})
