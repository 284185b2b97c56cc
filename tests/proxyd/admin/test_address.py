from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from proxyd.admin.address import (
    AddressError,
    TcpAddress,
    UnixAddress,
    default_bind,
    default_target,
    is_loopback_host,
    maybe_private_folder,
    others_beside,
    parse_address,
    socket_folders,
    with_credentials,
)


@pytest.mark.parametrize(("text", "expected"), [
    ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
    ("unix:///run/x.sock", UnixAddress("/run/x.sock")),
    ("/run/x.sock", UnixAddress("/run/x.sock")),
    ("./x.sock", UnixAddress("./x.sock")),
    ("127.0.0.1:2080", TcpAddress("127.0.0.1", 2080)),
    (":2080", TcpAddress("127.0.0.1", 2080)),
    ("[::1]:2080", TcpAddress("::1", 2080)),
    ("http://localhost:2080/", TcpAddress("localhost", 2080)),
    ("http://ops@localhost:2080", TcpAddress("localhost", 2080, "ops")),
    ("ops:a%40b:c@[::1]:2080", TcpAddress("::1", 2080, "ops", "a@b:c")),
])
def test_spellings(text: str, expected: object) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(("text", "words"), [
    ("unix:", "names no path"),
    ("127.0.0.1", "has no port"),
    ("127.0.0.1:http", "has no port"),
    ("127.0.0.1:²", "has no port"),
    ("127.0.0.1:70000", "not a port"),
    ("::1:2080", "[::1]:2080"),
    ("https://127.0.0.1:2080", "TLS"),
    ("http://:secret@127.0.0.1:1", "no user"),
    ("https://ops:secret@127.0.0.1:1", "TLS"),
    ("http://ops:secret@127.0.0.1", "has no port"),
    ("ftp://ops:secret@127.0.0.1:1", "not an admin address"),
    ("http://a/b:secret@127.0.0.1:1", "not an admin address"),
])
def test_a_wrong_spelling_says_the_right_one(text: str, words: str) -> None:
    with pytest.raises(AddressError, match=words.replace("[", r"\[")) as found:
        parse_address(text)
    assert "secret" not in str(found.value)


def test_a_password_is_never_shown() -> None:
    address = parse_address("http://ops:secret@127.0.0.1:2080")
    assert str(address) == "http://127.0.0.1:2080"
    assert "secret" not in repr(address)


def test_the_environment_has_what_the_address_lacks() -> None:
    environ = {"PROXYD_ADMIN_USER": "ops", "PROXYD_ADMIN_PASSWORD": "secret"}
    assert with_credentials(TcpAddress("::1", 1), environ) == TcpAddress("::1", 1, "ops", "secret")
    assert with_credentials(TcpAddress("::1", 1, "ann"), environ) == TcpAddress("::1", 1, "ann", "secret")
    assert with_credentials(TcpAddress("::1", 1, "ann", "other"), environ) == TcpAddress("::1", 1, "ann", "other")
    assert with_credentials(UnixAddress("/x"), environ) == UnixAddress("/x")


@pytest.mark.parametrize(("host", "expected"), [
    ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("localhost", True), ("LOCALHOST", True),
    ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("localhost.evil.example", False), ("", False),
])
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback_host(host) is expected


def test_folders_of_the_default_socket() -> None:
    temporary = Path(tempfile.gettempdir())
    assert socket_folders({"XDG_RUNTIME_DIR": "/run/user/7"}, uid=0) == [Path("/run/proxyd"), temporary / "proxyd-0"]
    user = [Path("/run/user/7/proxyd"), Path("/run/proxyd"), temporary / "proxyd-7"]
    assert socket_folders({"XDG_RUNTIME_DIR": "/run/user/7"}, uid=7) == user
    assert socket_folders({"XDG_RUNTIME_DIR": "relative"}, uid=7) == [Path("/run/proxyd"), temporary / "proxyd-7"]


def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert maybe_private_folder(folder) is None
    folder.chmod(0o755)
    assert maybe_private_folder(folder) == folder


def test_a_link_is_not_followed_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert maybe_private_folder(tmp_path / "link") is None


def test_daemon_and_command_line_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / "nosuch" / "deep", tmp_path / "p"]
    monkeypatch.setattr("proxyd.admin.address.socket_folders", lambda environ=None, uid=None: folders)
    bind = default_bind({})
    assert bind == UnixAddress(str(tmp_path / "p" / "admin.sock"))
    assert (tmp_path / "p").stat().st_mode & 0o777 == 0o700
    assert default_target({}) == UnixAddress(str(tmp_path / "nosuch" / "deep" / "admin.sock"))
    Path(bind.path).touch()
    assert default_target({}) == bind


def test_a_second_daemon_is_told_and_never_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.admin.address.socket_folders", lambda environ=None, uid=None: [tmp_path])
    beside = default_bind({}, taken=True)
    assert beside == UnixAddress(str(tmp_path / f"admin-{os.getpid()}.sock"))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(beside.path)
    target = default_target({})
    assert target == UnixAddress(str(tmp_path / "admin.sock"))
    assert others_beside(target) == [beside]
    assert others_beside(UnixAddress("/nosuch/admin.sock")) == []
    assert others_beside(TcpAddress("127.0.0.1", 1)) == []
