"""The access log as the config wants it, on real files, pipes and sockets."""
from __future__ import annotations

import json
import os
import re
import socket
import stat
from pathlib import Path

import pytest

from proxyd.config.model import Config
from proxyd.logs import access
from proxyd.logs.access import AccessSink, LogWanted, open_target
from proxyd.state import DaemonError, LogEntry
from tests.support.config import config_of


def config(log: str, more: str = "") -> Config:
    return config_of(f"listen: ':1'\nto: ['a:1']\nlog: {{access: {log}}}\n{more}")


def opened(log: str, more: str = "") -> AccessSink:
    return AccessSink.open(LogWanted.of(config(log, more)), 1)


def test_without_an_access_log_records_are_for_the_tap() -> None:
    sink = opened("none")
    sink.log.submit(0, {"path": b"/ok"})
    sink.log.submit(0, {"path": b"/bad", "status": 502})
    sink.log.flush()
    assert [json.loads(line)["path"] for line in sink.log.take().splitlines()] == ["/bad"]
    sink.reopen()
    sink.close()
    assert sink.entries() == ()


@pytest.mark.parametrize(("me", "owner", "followed"), [(0, 4_321, False), (0, 0, True), (4_321, 4_321, True)])
def test_root_follows_no_link_of_others(me: int, owner: int, followed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "access.log").symlink_to(tmp_path / "passwd")
    facts = os.stat(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(os, "stat", lambda found: os.stat_result((*facts[:4], owner, *facts[5:])))
    if followed:
        os.close(open_target(str(path)))
    else:
        with pytest.raises(DaemonError, match="symbolic link"):
            open_target(str(path))
    monkeypatch.undo()
    assert (tmp_path / "passwd").exists() == followed


def test_a_file_is_appended_to_and_not_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    os.chmod(path, 0o600)
    fd = open_target(str(path))
    os.write(fd, b"after\n")
    os.close(fd)
    assert path.read_text() == "before\nafter\n"
    new = tmp_path / "new.log"
    os.close(open_target(str(new)))
    assert stat.S_IMODE(new.stat().st_mode) & 0o007 == 0


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match=r"cannot open the access log .*none/a\.log: no such file or directory"):
        open_target(str(tmp_path / "none" / "a.log"))


def test_a_pipe_that_nobody_reads_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DaemonError, match="pipe"):
        open_target(str(tmp_path / "pipe"))


def test_a_target_that_cannot_be_opened_anew_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = opened(f"{{to: {folder}/a.log, format: json}}")
    folder.rename(tmp_path / "moved")
    with pytest.raises(DaemonError):
        sink.reopen()
    sink.log.submit(0, {"path": b"/x"})
    sink.close()
    assert [(entry.written, entry.dropped) for entry in sink.entries()] == [(1, 0)]
    assert "/x" in (tmp_path / "moved" / "a.log").read_text()


def test_unchanged_wishes_are_equal_and_a_new_credential_is_another() -> None:
    policy = f"policies: {{p: {{auth: {{api_key: {{query: key, keys: {{a: {'x' * 32}}}}}}}}}}}"

    def wanted(log: str, more: str = "") -> LogWanted:
        return LogWanted.of(config(log, more))

    assert wanted("none") == wanted("none")
    assert wanted("{to: /x}") == wanted("/x")
    assert wanted("{redact: client.ip}") != wanted("stdout")
    assert wanted("none", policy) != wanted("none")
    assert wanted("none", policy).parameters == ("key",)


@pytest.mark.parametrize("log", ["none", "{to: FILE, format: json}"])
def test_credentials_are_hidden_without_being_asked_for_from_the_tap_too(log: str, tmp_path: Path) -> None:
    jwt = f"{{jwt: {{issuer: 'https://id.example', audience: shop, query: access_token, keys: {{secret: {'x' * 64}}}}}}}"
    sink = opened(log.replace("FILE", str(tmp_path / "a.log")), f"policies: {{p: {{auth: {jwt}}}}}")
    sink.log.follow(True)
    sink.log.submit(0, {"query": b"a=1&access_token=eyJ.secret.x", "referer": b"https://x/?access_token=eyJ.secret.x"})
    sink.close()
    lines = sink.log.take() + b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret" not in lines
    assert {json.loads(line)["query"] for line in lines.splitlines()} == {"a=1&access_token=***"}


def test_the_tap_gets_what_is_sampled_out(tmp_path: Path) -> None:
    sink = opened(f"{{to: {tmp_path}/a.log, format: haproxy, sample: {{2xx: 0%, 4xx: 0%}}}}")
    sink.log.follow(True)
    for status in (200, 404, 502):
        sink.log.submit(0, {"status": status})
    sink.close()
    assert [json.loads(line)["status"] for line in sink.log.take().splitlines()] == [200, 404, 502]
    assert [(entry.written, entry.dropped, entry.sampled_out) for entry in sink.entries()] == [(1, 0, 2)]
    assert " 502 " in (tmp_path / "a.log").read_text()


@pytest.mark.parametrize(
    ("log", "journal", "frame"),
    [
        ("stdout", False, "none"), ("{format: haproxy}", False, "file"), ("{format: haproxy}", True, "none"),
        ("{to: /x, format: haproxy}", True, "file"), ("syslog", False, "local"), ("'syslog://10.0.0.1'", False, "rfc5424"),
        ("{to: 'syslog+unix:/x', format: haproxy}", False, "rfc5424"), ("none", False, "none"),
    ],
)
def test_what_stands_before_a_line(log: str, journal: bool, frame: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    if not journal:
        monkeypatch.delenv("JOURNAL_STREAM")
    assert LogWanted.of(config(log)).frame() == frame


def test_syslog_by_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        sink = opened(f"'syslog://127.0.0.1:{receiver.getsockname()[1]}'")
        sink.log.submit(0, {"status": 404})
        sink.close()
        message = receiver.recv(65_536).decode()
    assert re.match(rf"<132>1 1970-01-01T00:00:00.000000Z {re.escape(socket.gethostname())} proxyd {os.getpid()} access - {{", message)


def test_the_syslog_of_this_machine_is_the_first_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "LOCAL_SYSLOG", (str(tmp_path / "none"), str(tmp_path / "log")))
    with pytest.raises(DaemonError, match="cannot open the access log syslog: no such file"):
        opened("syslog")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "log"))
        receiver.settimeout(10)
        sink = opened("syslog")
        sink.log.submit(0, {})
        sink.close()
        assert receiver.recv(65_536).startswith(b"<134>Jan  1 00:00:00 proxyd[%d]: {" % os.getpid())


async def test_a_file_is_rotated_between_two_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    sink = opened(f"{{to: {path}, format: json, rotate: {{size: 64KiB, keep: 2}}}}")
    for number in range(400):
        sink.log.submit(0, {"id": number, "path": b"/" * 600})
        if number % 100 == 99:
            sink.log.flush()
            await sink.rotate(0.0)
    sink.close()
    assert sorted(os.listdir(tmp_path)) == ["a.log", "a.log.1", "a.log.2"]
    numbers = [int(json.loads(line)["id"], 16) for name in ("a.log.2", "a.log.1", "a.log") for line in (tmp_path / name).open()]
    assert numbers == list(range(200, 400))
    assert path.read_bytes() == b""


async def test_a_rotation_that_fails_is_told_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = opened(f"{{to: {folder}/a.log, format: json, rotate: {{size: 64KiB}}}}")
    folder.rename(tmp_path / "moved")
    for _ in range(3):
        await sink.rotate(0.0)
    assert [record.getMessage() for record in caplog.records] == [
        f"the access log is not rotated: cannot open the access log {folder}/a.log: no such file or directory"
    ]
    (tmp_path / "moved").rename(folder)
    await sink.rotate(0.0)
    sink.log.submit(0, {"path": b"/x"})
    sink.close()
    assert "/x" in (folder / "a.log").read_text()


def test_counts_go_on_when_another_takes_its_place(tmp_path: Path) -> None:
    first, second, third = opened(f"{{to: {tmp_path}/a, sample: {{2xx: 0%}}}}"), opened("{to: /dev/full}"), opened("none")
    for sink in (first, second, third):
        for status in (200, 500):
            sink.log.submit(0, {"status": status})
    first.close()
    second.follow(first)
    second.close()
    second.forget()
    third.follow(second)
    assert third.entries() == (LogEntry("access", 1, 2, 1),)
    third.forget()
    third.close()
    assert third.entries() == (LogEntry("access", 1, 2, 1),)
