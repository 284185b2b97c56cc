"""Who proxyd becomes. That it does is shown, as root, in tests/acceptance/accept_package.py."""
from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxyd.config.address import BindAddress
from proxyd.config.load import load_text
from proxyd.process import privileges
from proxyd.process.privileges import Identity, become_owner, drop, files_of, give, identity, leaves_root, renounce_capabilities
from proxyd.sockets import open_bound
from proxyd.state import DaemonError


def test_a_name_with_its_groups() -> None:
    entry = pwd.getpwuid(0)
    found = identity(entry.pw_name, None)
    assert (found.uid, found.gid) == (0, entry.pw_gid)
    assert entry.pw_gid in found.groups
    other = grp.getgrall()[-1]
    assert identity(entry.pw_name, other.gr_name).gid == other.gr_gid


def test_a_number_needs_no_name() -> None:
    """As in a container, whose image knows no users."""
    assert identity("54321", None) == Identity(54321, 54321, (54321,))
    assert identity("54321", "54322").gid == 54322


@pytest.mark.parametrize(("user", "group", "path"), [("no-such-user", None, "runtime.user"), ("root", "no-such-group", "runtime.group")])
def test_who_is_not_there(user: str, group: str | None, path: str) -> None:
    with pytest.raises(DaemonError, match="there is no") as caught:
        identity(user, group)
    assert [(entry.code, entry.path) for entry in caught.value.diagnostics] == [("PXD-281", path)]


def test_who_is_it_already_has_nothing_to_do() -> None:
    before = os.getresuid(), os.getgroups()
    drop(None, None, ())
    drop(str(os.geteuid()), None, ())
    assert (os.getresuid(), os.getgroups()) == before


def test_only_root_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54320)
    with pytest.raises(DaemonError, match="only root can become `54321`, and proxyd was started as user id 54320"):
        drop("54321", None, ())


def test_what_goes_over_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYD_STATE", "")
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/state:{tmp_path}/other")
    (tmp_path / "proxyd").mkdir()
    config = load_text(f"""
        listen: 127.0.0.1:8080
        routes: [respond: 204]
        log: {{access: {tmp_path}/proxyd/access.log}}
        cache: {{memory: {{snapshot: {tmp_path}/cache}}}}
        usage: {tmp_path}/usage.json
    """).config
    assert config is not None
    bound = open_bound(BindAddress.parse(f"unix:{tmp_path}/s"), engines=1)
    found = set(files_of(config, [bound]))
    bound.close()
    names = {"state", "proxyd/access.log", "proxyd", "cache", "usage.json", "s"}
    assert found == {tmp_path / name for name in names}
    assert privileges.STATE_FOLDER not in map(str, found)
    monkeypatch.setenv("PROXYD_STATE", "none")
    assert tmp_path / "state" not in set(files_of(config, []))


def test_nothing_but_what_is_there_goes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder may be the user's since an earlier start: links in it lead to what root must keep."""
    (ours := tmp_path / "proxyd" / "sub").mkdir(parents=True)
    (theirs := tmp_path / "etc").mkdir()
    (theirs / "shadow").write_text("root's")
    (ours / "state").write_text("ours")
    (tmp_path / "proxyd" / "cache").symlink_to(theirs)
    (ours / "folder").symlink_to(theirs)
    (ours / "file").symlink_to(theirs / "shadow")
    (ours / "name").hardlink_to(theirs / "shadow")
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((os.readlink(path), uid, gid)))
    for path in (tmp_path / "proxyd", tmp_path / "proxyd" / "cache", tmp_path / "gone"):
        give(path, 54321, 54322)
    assert given == [(str(path), 54321, 54322) for path in (tmp_path / "proxyd", ours, ours / "state")]


@pytest.mark.parametrize(("uids", "wanted"), [
    ({}, []),
    ({"state/a": 54321}, [("54321", "1")]),
    ({"state": 54322, "state/a": 0}, [("54322", "1")]),
    ({"state": 54322, "state/a": 54321}, [("54321", "1")]),
])
def test_root_becomes_who_could_have_written_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uids: dict[str, int], wanted: list[tuple[str, str]]
) -> None:
    """The owner of a folder above can put another one in its place, be it a link."""
    dropped: list[tuple[str, str]] = []
    monkeypatch.setattr(privileges, "drop", lambda user, group, files: dropped.append((user, group)))
    owners = {tmp_path / name: uid for name, uid in uids.items()}
    monkeypatch.setattr(Path, "lstat", lambda path: SimpleNamespace(st_uid=owners.get(path, 0), st_gid=1))
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    become_owner(tmp_path / "state/a")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    become_owner(None)
    assert dropped == []
    become_owner(tmp_path / "state/a")
    assert dropped == wanted


def test_a_thread_without_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it began with; the others keep what they have."""
    def kept() -> list[str]:
        return re.findall(r"^Cap(?:Prm|Eff):\t(\w+)$", Path("/proc/thread-self/status").read_text(), re.MULTILINE)

    def look() -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
        renounce_capabilities()
        found.append(kept())

    before, found = kept(), list[list[str]]()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert (found, kept()) == ([["0" * 16] * 2], before)


@pytest.mark.parametrize(("user", "leaves"), [("", False), ("user: root", False), ("user: 0", False), ("user: proxyd", True)])
def test_who_leaves_root(user: str, leaves: bool) -> None:
    assert leaves_root(load_text(f"runtime: {{{user}}}\nlisten: 127.0.0.1:8080\nroutes: [respond: 204]").config) is leaves
    assert leaves_root(None)


RENOUNCED = """
import sys, threading
from proxyd.process import privileges
def look(before=lambda: None):
    before()
    with open("/proc/thread-self/status") as status:
        found.append("NoNewPrivs:\\t1" in status.read())
found, main = [], threading.Event()
old = threading.Thread(target=lambda: (main.wait(), look(), look(privileges.renounce_as_main)))
old.start()
privileges.renounce_as_main()
look()
privileges.os.geteuid = lambda: 0
privileges.renounce(None)
look()
privileges.renounce("54321")
new = threading.Thread(target=look)
new.start()
new.join()
main.set()
old.join()
print(found)
"""


def test_engines_and_programs_gain_nothing_back() -> None:
    """Threads that begin later have it, and one that is older takes it before it starts a program."""
    found = subprocess.run([sys.executable, "-c", RENOUNCED], capture_output=True, text=True, check=True)
    assert found.stdout == "[False, False, True, False, True]\n"
