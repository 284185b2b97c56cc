"""The audit trail as the daemon writes it."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxyd.audit.record import Note
from proxyd.audit.rotation import Bounds
from proxyd.audit.trail import Audit
from proxyd.audit.verify import verify
from tests.support.clock import FakeClock

CHANGE = Note("ops", "unix pid 1", "server.change", "app/10.0.0.1:80", detail={"state": "drain"})


async def test_a_note_is_on_disk_when_it_returns_and_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "proxyd.audit")
    audit = Audit(tmp_path, FakeClock())
    await asyncio.gather(*(audit.note(CHANGE) for _ in range(5)))
    with (tmp_path / "audit.jsonl").open("rb") as lines:
        found = verify(lines, head=audit.view().head)
    assert (found.fault, found.records, audit.view().records) == ("", 5, 5)
    assert [record["seq"] for record in await audit.last(2)] == [4, 5]
    assert caplog.messages[0] == 'server.change app/10.0.0.1:80 by ops (unix pid 1): ok, state drain'
    await audit.close()


async def test_without_a_folder_it_is_in_memory_and_chained() -> None:
    audit = Audit(None, FakeClock())
    await audit.note(CHANGE)
    await audit.note(CHANGE)
    first, second = await audit.last(9)
    assert (second["prev"], audit.view().head, audit.view().file) == (first["hash"], second["hash"], "")


async def test_what_cannot_be_written_is_counted_told_and_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.audit.trail.PENDING_MAX", 2)
    audit = Audit(tmp_path, FakeClock())
    await audit.note(CHANGE)
    assert audit.warnings() == []
    assert audit._file is not None
    written = audit._file.append

    def full(notes: Any) -> list[dict[str, Any]]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit._file, "append", full)
    for _ in range(4):
        await audit.note(CHANGE)
    assert (audit.failed, audit.view().waiting, audit.view().records) == (4, 2, 1)
    assert audit.warnings() == ["audit records cannot be written: no space left on device; 2 wait in memory [PXD-256]"]
    monkeypatch.setattr(audit._file, "append", written)
    await audit.note(CHANGE)
    assert (audit.failed, audit.view().waiting, audit.warnings()) == (4, 0, [])
    records = await audit.last(9)
    assert [record["action"] for record in records] == ["server.change"] * 4 + ["audit.lost"]
    assert records[-1]["detail"] == {"records": 2}


async def test_what_is_told_is_written_when_it_closes(tmp_path: Path) -> None:
    audit = Audit(tmp_path, FakeClock())
    noted = asyncio.create_task(audit.note(CHANGE))
    audit.tell(CHANGE)
    await asyncio.sleep(0)
    audit.tell(CHANGE)
    await audit.close()
    await asyncio.gather(noted, return_exceptions=True)
    assert [record["seq"] for record in await audit.last(9)] == [1, 2, 3]
    audit.tell(CHANGE)      # a signal that comes last of all is in the log


async def test_a_trail_that_cannot_be_put_aside_is_told(tmp_path: Path) -> None:
    audit = Audit(tmp_path, FakeClock())
    await audit.note(CHANGE)
    audit.follow(Bounds(size=100, keep=1))
    (tmp_path / "audit-000000000001.jsonl").touch()
    await audit.note(CHANGE)
    assert audit.warnings() == ["the audit trail cannot be put aside, and grows: audit-000000000001.jsonl is there"]
    await audit.note(CHANGE)
    assert audit.warnings() == []


async def test_a_caller_that_goes_away_does_not_stop_it(tmp_path: Path) -> None:
    audit = Audit(tmp_path, FakeClock())
    caller = asyncio.create_task(audit.note(CHANGE))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await audit.note(CHANGE)
    assert [record["seq"] for record in await audit.last(9)] == [1, 2]
