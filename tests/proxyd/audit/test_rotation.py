"""The trail goes on from file to file, whatever happens in between."""
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from proxyd.audit.file import AuditFile, last_records
from proxyd.audit.reading import Trail
from proxyd.audit.record import Note
from proxyd.audit.rotation import Bounds, files_before
from proxyd.audit.verify import Verdict, verify

CHANGE = Note("ops", "unix pid 1", "server.change", "app/10.0.0.1:80", detail={"state": "drain"})
SMALL = Bounds(size=800, keep=2)      # three records a file


def changes(file: AuditFile, number: int) -> None:
    for _ in range(number):
        file.append([(CHANGE, 1.0)])


def verdict(file: AuditFile) -> Verdict:
    """Of all that there is, against what the daemon has in mind."""
    return verify(Trail(file.path), head=file.head.hash)


def actions(path: Path) -> set[str]:
    return {record["action"] for record in last_records(path, 1_000)}


def test_the_chain_goes_over_files_and_the_oldest_expire(tmp_path: Path) -> None:
    file = AuditFile(tmp_path, SMALL)
    changes(file, 8)
    assert [path.name for path in files_before(file.path)] == ["audit-000000000003.jsonl", "audit-000000000006.jsonl"]
    assert (verdict(file).fault, verdict(file).records, verdict(file).expired) == ("", 8, 0)
    changes(file, 2)
    assert [path.name for path in files_before(file.path)] == ["audit-000000000006.jsonl", "audit-000000000009.jsonl"]
    found = verdict(file)
    assert (found.fault, found.records, found.expired) == ("", 8, 3), "the tenth tells of the first three, and is followed by the change"
    record = last_records(file.path, 2)[0]
    assert (record["action"], record["target"], record["detail"]["seq"]) == ("audit.expired", "audit-000000000003.jsonl", 3)
    assert [record["seq"] for record in last_records(file.path, 7)] == list(range(5, 12))
    assert all(os.stat(path).st_mode & 0o077 == 0 for path in [*files_before(file.path), file.path])


def test_what_was_removed_by_somebody_else_shows(tmp_path: Path) -> None:
    file = AuditFile(tmp_path, SMALL)
    changes(file, 10)
    first, second = files_before(file.path)
    hidden = second.rename(tmp_path / "hidden")
    assert (verdict(file).fault, verdict(file).text) == ("removed", "records 7 to 9 were removed: record 10 follows record 6")
    hidden.rename(second)
    assert verdict(file).fault == ""
    first.unlink()
    assert (verdict(file).fault, verdict(file).text) == (
        "removed", "records 1 to 6 were removed: the trail begins with record 7, and no record tells that those before it had expired")


def test_where_a_fault_is(tmp_path: Path) -> None:
    file = AuditFile(tmp_path, SMALL)
    changes(file, 10)
    second = files_before(file.path)[1]
    lines = second.read_bytes().splitlines(keepends=True)
    second.write_bytes(b"".join([lines[0], lines[1].replace(b'"ops"', b'"eve"'), lines[2]]))
    trail = Trail(file.path)
    found = verify(trail)
    assert (found.fault, trail.place(found.line)) == ("changed", (second, 2)), "that others expired is told behind it"


class Killed(BaseException):
    """The process ends here."""


def dying(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Die at a call that changes the disk; in the middle of it, if it writes."""
    calls = count()

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if next(calls) != at:
                return real(*given, **named)
            if name == "write":
                real(given[0], bytes(given[1])[: len(given[1]) // 2])
            raise Killed

        return call

    for name in ("open", "write", "fsync", "ftruncate", "rename", "unlink"):
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))


def test_killed_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is put aside, two expire; and with each call to the disk the process may end. What was told as written is there, the chain
    whole, and the next daemon goes on with it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)      # what is on its way to the disk outlives the process
    before = tmp_path / "before"
    before.mkdir()
    file = AuditFile(before, Bounds(size=800, keep=4))
    changes(file, 15)
    steps = 0
    for steps in range(100):
        folder = tmp_path / str(steps)
        shutil.copytree(before, folder)
        with monkeypatch.context() as patched:
            dying(patched, steps)
            try:
                AuditFile(folder, SMALL).append([(CHANGE, 2.0)])
            except Killed:
                pass
            else:
                break
        after = AuditFile(folder, SMALL)
        after.open()
        changes(after, 1)
        found = verdict(after)
        assert (found.fault, found.text) == ("", ""), steps
        assert verify(Trail(after.path), head=file.head.hash).fault == "", "what was there before is there"
        assert "audit.gap" not in actions(after.path)
        assert len(files_before(after.path)) <= 4, "they do not pile up"
        changes(after, 4)
        assert (len(files_before(after.path)), verdict(after).fault) == (2, "")
    assert steps > 12


def test_a_disk_that_is_full_at_the_turn_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AuditFile(tmp_path, SMALL)
    changes(file, 3)

    def full(descriptor: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                file.append([(CHANGE, 2.0)])
    assert file.path.read_bytes() == b""
    changes(file, 1)
    assert (verdict(file).fault, verdict(file).records, actions(file.path)) == ("", 4, {"server.change"})


def refuse(*_: Any) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("done", ["taken", "forbidden"])
def test_a_file_that_cannot_be_put_aside_is_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: str) -> None:
    file = AuditFile(tmp_path, SMALL)
    changes(file, 3)
    if done == "taken":
        (tmp_path / "audit-000000000003.jsonl").touch()
    else:
        monkeypatch.setattr(os, "rename", refuse)
    changes(file, 1)
    assert [json.loads(line)["seq"] for line in file.path.read_bytes().splitlines()] == [1, 2, 3, 4]
    assert file.stuck == ("audit-000000000003.jsonl is there" if done == "taken" else "Operation not permitted")


def test_what_the_other_daemon_of_an_upgrade_puts_aside_is_no_gap(tmp_path: Path) -> None:
    old, new = AuditFile(tmp_path, SMALL), AuditFile(tmp_path, SMALL)
    changes(old, 2)
    new.open()
    changes(new, 3)
    changes(old, 3)
    changes(new, 1)
    assert (verdict(new).fault, verdict(new).records, actions(new.path)) == ("", 9, {"server.change"})


def test_it_is_read_while_it_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the reader has opened the newest file, and before it has listed those before."""
    file = AuditFile(tmp_path, SMALL)
    changes(file, 3)

    def turned(path: Path) -> list[Path]:
        monkeypatch.undo()
        changes(file, 1)
        return files_before(path)

    monkeypatch.setattr("proxyd.audit.reading.files_before", turned)
    assert [record["seq"] for record in last_records(file.path, 9)] == [1, 2, 3]
    assert [record["seq"] for record in last_records(file.path, 9)] == [1, 2, 3, 4]
