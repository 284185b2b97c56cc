"""The audit trail on disk: appended to by daemons in turn, told when it is not as it was left."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxyd.audit.file import TAIL_BYTES, AuditFile, last_records, maybe_record
from proxyd.audit.record import Note
from proxyd.audit.verify import verify

CHANGE = Note("ops", "unix pid 1", "server.change", "app/10.0.0.1:80", detail={"state": "drain"})


def facts(file: AuditFile) -> list[tuple[int, str]]:
    with file.path.open("rb") as lines:
        assert verify(lines, head=file.head.hash).fault == ""
    return [(record["seq"], record["action"]) for record in last_records(file.path, 100)]


def test_records_are_chained_and_private(tmp_path: Path) -> None:
    file = AuditFile(tmp_path)
    file.open()
    record, = file.append([(CHANGE, 1_000.25)])
    assert record["time"] == "1970-01-01T00:16:40.250Z"
    assert file.head.hash == record["hash"]
    file.append([(CHANGE, 1.0), (CHANGE, 2.0)])
    assert [seq for seq, _ in facts(file)] == [1, 2, 3]
    assert last_records(file.path, 2)[0]["seq"] == 2
    assert os.stat(file.path).st_mode & 0o077 == 0


def test_two_daemons_write_in_turn(tmp_path: Path) -> None:
    old, new = AuditFile(tmp_path), AuditFile(tmp_path)
    old.append([(CHANGE, 1.0)])
    new.open()
    assert new.head == old.head
    for file in (new, old, old, new):
        file.append([(CHANGE, 1.0)])
    assert [seq for seq, _ in facts(new)] == [1, 2, 3, 4, 5]


def test_no_record_hides_where_the_chain_ends(tmp_path: Path) -> None:
    """Who is allowed to purge may name as many megabytes as a body holds."""
    AuditFile(tmp_path).append([(Note("ops", "127.0.0.1", "cache.purge", "x" * TAIL_BYTES, detail={"why": "\x00" * TAIL_BYTES}), 1.0)])
    after = AuditFile(tmp_path)
    after.open()
    after.append([(CHANGE, 2.0)])
    assert facts(after) == [(1, "cache.purge"), (2, "server.change")]
    assert last_records(after.path, 2)[0]["detail"]["left_out_bytes"] > TAIL_BYTES


def test_a_torn_line_is_taken_away_and_told(tmp_path: Path) -> None:
    file = AuditFile(tmp_path)
    file.append([(CHANGE, 1.0)])
    with file.path.open("ab") as out:
        out.write(b'{"seq":2,"ti')
    after = AuditFile(tmp_path)
    after.open()
    after.append([(CHANGE, 2.0)])
    assert facts(after) == [(1, "server.change"), (2, "audit.repaired"), (3, "server.change")]
    assert last_records(after.path, 2)[0]["detail"] == {"bytes_cut": 12}


@pytest.mark.parametrize("done", ["removed", "shortened", "replaced"])
def test_a_file_that_is_not_as_it_was_left_is_told(tmp_path: Path, done: str) -> None:
    file = AuditFile(tmp_path)
    file.append([(CHANGE, 1.0), (CHANGE, 2.0)])
    left = file.head
    first = file.path.read_bytes().splitlines(keepends=True)[0]
    if done == "removed":
        file.path.unlink()
    elif done == "shortened":
        os.truncate(file.path, len(first))
    else:
        other = tmp_path / "other"
        other.write_bytes(first)
        os.replace(other, file.path)
    file.append([(CHANGE, 3.0)])
    begins = 0 if done == "removed" else 1
    assert facts(file)[begins:] == [(begins + 1, "audit.gap"), (begins + 2, "server.change")]
    assert last_records(file.path, 2)[0]["detail"] == {"expected": left.hash, "seq": 2}


def test_a_last_line_that_is_no_record_is_told_and_stays(tmp_path: Path) -> None:
    file = AuditFile(tmp_path)
    file.path.write_bytes(b"hello\n")
    file.append([(CHANGE, 1.0)])
    with file.path.open("rb") as lines:
        found = verify(lines)
    assert (found.fault, found.line) == ("changed", 1)
    assert [record["action"] for record in last_records(file.path, 9)] == ["audit.gap", "server.change"]


def test_what_the_disk_refuses_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AuditFile(tmp_path)
    file.append([(CHANGE, 1.0)])
    written, before = os.write, file.path.read_bytes()

    def full(descriptor: int, data: Any) -> int:
        if len(data) > 50:
            return written(descriptor, bytes(data)[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        file.append([(CHANGE, 2.0)])
    monkeypatch.undo()
    assert file.path.read_bytes() == before
    file.append([(CHANGE, 2.0)])
    assert facts(file) == [(1, "server.change"), (2, "server.change")]


def test_a_held_lock_is_waited_for_and_then_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.statedir.LOCK_PATIENCE", 0.05)
    hold = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError, match="another process holds it"):
            AuditFile(tmp_path).append([(CHANGE, 1.0)])
        other.stdin.close()
    assert AuditFile(tmp_path).append([(CHANGE, 1.0)])


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"seq": true}', b"\xff"])
def test_what_is_no_record(line: bytes) -> None:
    assert maybe_record(line) is None
