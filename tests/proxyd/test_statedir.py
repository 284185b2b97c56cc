"""Where state is kept."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxyd.statedir import StateDir, open_state, replace_file, state_dir

CONFIG = Path("/etc/proxyd/proxyd.yaml")
FOLDER = "proxyd.yaml-"


@pytest.mark.parametrize(("environ", "uid", "base"), [
    ({"PROXYD_STATE": "/x", "STATE_DIRECTORY": "/y"}, 0, "/x"),
    ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, 1000, "/var/lib/a"),
    ({"XDG_STATE_HOME": "/s"}, 0, "/var/lib/proxyd"),
    ({"XDG_STATE_HOME": "/s", "HOME": "/home/a"}, 1000, "/s/proxyd"),
    ({"HOME": "/home/a"}, 1000, "/home/a/.local/state/proxyd"),
])
def test_the_first_place_that_is_named(environ: dict[str, str], uid: int, base: str) -> None:
    found = state_dir(CONFIG, environ, uid)
    assert found is not None
    assert (str(found.parent), found.name[: len(FOLDER)], len(found.name)) == (base, FOLDER, len(FOLDER) + 8)


@pytest.mark.parametrize(("path", "environ"), [(None, {"PROXYD_STATE": "/x"}), (CONFIG, {"PROXYD_STATE": "none"}), (CONFIG, {})])
def test_nothing_is_kept(path: Path | None, environ: dict[str, str]) -> None:
    assert state_dir(path, environ, 1000) is None
    assert open_state(path, {"PROXYD_STATE": "none"}) == StateDir()


def test_what_root_left_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.statedir.SYSTEM", tmp_path)
    environ = {"HOME": "/home/a"}
    found = state_dir(CONFIG, environ, 1000)
    assert found is not None
    assert found.parent == Path("/home/a/.local/state/proxyd")
    (tmp_path / found.name).mkdir()
    assert state_dir(CONFIG, environ, 1000) == tmp_path / found.name


def test_every_config_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PROXYD_STATE": str(tmp_path)}
    monkeypatch.chdir(tmp_path)
    assert state_dir(Path("p.yaml"), environ) == state_dir(tmp_path / "p.yaml", environ) != state_dir(tmp_path / "a/p.yaml", environ)


def test_it_is_made_private(tmp_path: Path) -> None:
    state = open_state(CONFIG, {"PROXYD_STATE": str(tmp_path / "a")})
    assert state.folder is not None
    assert os.stat(state.folder).st_mode & 0o777 == 0o700
    assert open_state(CONFIG, {"PROXYD_STATE": str(tmp_path / "a")}) == state


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = open_state(CONFIG, {"PROXYD_STATE": str(tmp_path / "file")})
    assert found.folder is None
    assert found.warning.endswith("not a directory")
    state = open_state(CONFIG, {"PROXYD_STATE": str(tmp_path)})
    assert state.folder is not None
    state.folder.chmod(0o777)
    assert open_state(CONFIG, {"PROXYD_STATE": str(tmp_path)}).warning.endswith("other users may write to it")


def test_who_leaves_root_takes_what_he_kept_as_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PROXYD_STATE": str(tmp_path)}
    state = open_state(CONFIG, environ)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "stat", lambda path, **_: os.stat_result((0o40700, 0, 0, 2, 54321, 54321, 0, 0, 0, 0)))
    assert open_state(CONFIG, environ).warning.endswith("other users may write to it")
    assert open_state(CONFIG, environ, leaving_root=True) == state
    monkeypatch.setattr(os, "geteuid", lambda: 54320)
    assert open_state(CONFIG, environ, leaving_root=True).folder is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a"
    replace_file(file, b"one")
    replace_file(file, b"two")
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"two", ["a"])
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path, b"x")
    assert os.listdir(tmp_path) == ["a"]
