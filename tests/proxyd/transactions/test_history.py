"""The history of configs, in memory and on disk."""
from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from proxyd.config.bundle import Bundle
from proxyd.statedir import StateDir
from proxyd.transactions.entry import Entry, Result, Tried, entry_of
from proxyd.transactions.guard import parse_guard
from proxyd.transactions.history import ConfigHistory
from proxyd.transactions.terms import Terms

BOUND = 4


def draft(hash: str, result: Result = "serving", **more: Any) -> Entry:
    return Entry(0, 1_000.0, "ops", "reload", hash, result, **more)


def bundle(text: str) -> Bundle:
    return Bundle("/etc/p.yaml", "/etc", {"/etc/p.yaml": text.encode()})


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.transactions.history.KEPT_MAX", BOUND)
    monkeypatch.setattr("proxyd.transactions.history.OTHERS_MAX", BOUND)


@pytest.fixture(params=["memory", "disk"])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> ConfigHistory:
    return ConfigHistory(StateDir(tmp_path if request.param == "disk" else None))


def facts(history: ConfigHistory) -> list[tuple[int, str, str]]:
    return [(entry.number, entry.hash, entry.result) for entry in history.entries]


def test_what_served_and_what_was_refused(history: ConfigHistory) -> None:
    history.add(draft("a"), bundle("a"))
    history.add(draft("b", "refused", note="no"), None)
    history.add(draft("c", "on trial"), bundle("c"))
    assert facts(history) == [(1, "a", "served"), (2, "b", "refused"), (3, "c", "on trial")]
    good = history.last_good()
    assert good is not None
    assert (good.number, good.kept) == (1, True)
    history.change(3, result="serving", note="confirmed by ops")
    newest = history.last_good()
    assert newest is not None
    assert (newest.number, newest.note) == (3, "confirmed by ops")
    assert history.bundle(1) == bundle("a")
    assert history.bundle(2) is None
    assert history.entry(9) is None


def test_refusals_do_not_push_out_what_served(history: ConfigHistory) -> None:
    history.add(draft("a"), bundle("a"))
    for number in range(BOUND + 5):
        history.add(draft(f"x{number}", "refused"), None)
    assert history.bundle(1) == bundle("a")
    assert len(history.entries) == BOUND + 1
    assert history.entries[-1].number == BOUND + 6


def test_the_oldest_are_forgotten_with_their_files(tmp_path: Path) -> None:
    history = ConfigHistory(StateDir(tmp_path))
    for number in range(BOUND + 2):
        history.add(draft(f"{number}"), bundle(f"{number}"))
    assert [entry.number for entry in history.entries] == list(range(3, BOUND + 3))
    assert history.bundle(1) is None
    assert len(list(tmp_path.glob("config-*.json"))) == BOUND


def test_another_daemon_reads_it_and_goes_on_counting(tmp_path: Path) -> None:
    first = ConfigHistory(StateDir(tmp_path))
    first.add(draft("a"), bundle("a"))
    second = ConfigHistory(StateDir(tmp_path))
    second.open()
    assert second.entries == first.entries
    assert second.add(draft("b"), bundle("b")).number == 2
    assert first.add(draft("c"), bundle("c")).number == 3, "the first sees what the second has written"
    assert facts(first) == [(1, "a", "served"), (2, "b", "served"), (3, "c", "serving")]
    assert os.stat(tmp_path / "config-1.json").st_mode & 0o077 == 0


def test_a_trial_that_a_crash_ended_was_cut_short(tmp_path: Path) -> None:
    before = ConfigHistory(StateDir(tmp_path))
    before.add(draft("a"), bundle("a"))
    before.add(draft("b", "on trial"), bundle("b"))
    after = ConfigHistory(StateDir(tmp_path))
    after.open()
    after.end_trials()
    assert [entry.result for entry in after.entries] == ["served", "cut short"]
    good = after.last_good()
    assert good is not None
    assert good.hash == "a"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 2}', '{"format": 1, "entries": [{}], "next": 2}', "\xff"])
def test_a_damaged_list_begins_anew_and_is_kept(tmp_path: Path, damage: str) -> None:
    before = ConfigHistory(StateDir(tmp_path))
    before.add(draft("a"), bundle("a"))
    (tmp_path / "history.json").write_text(damage, "latin-1")
    (tmp_path / "config-1 (copy).json").write_text("somebody's")
    after = ConfigHistory(StateDir(tmp_path))
    after.open()
    assert after.entries == ()
    assert after.add(draft("b"), bundle("b")).number == 2, "numbers are never used again"
    assert (tmp_path / "history.json.damaged").read_text("latin-1") == damage


def test_what_the_disk_refuses_is_kept_in_memory_and_written_later(tmp_path: Path) -> None:
    history = ConfigHistory(StateDir(tmp_path))
    history.add(draft("a"), bundle("a"))
    (tmp_path / "config-2.json").mkdir()
    history.add(draft("b"), bundle("b"))
    assert "in memory only" in history.warning
    assert history.bundle(2) == bundle("b")
    (tmp_path / "config-2.json").rmdir()
    history.change(1, note="again")
    assert history.warning == ""
    assert json.loads((tmp_path / "history.json").read_text())["entries"][1]["hash"] == "b"
    assert history.bundle(2) == bundle("b")


TERMS = Terms(parse_guard("errors > 2.125% for 30s or p99 of route api >= 1.2345s"), 90.25)


@pytest.mark.parametrize("tried", [None, Tried(2, TERMS), Tried(2, Terms(confirm=3.5)), Tried(2, Terms(TERMS.guard))])
def test_an_entry_survives_json(tried: Tried | None) -> None:
    entry = Entry(3, 1.5, "ops", "guard", "h", "rolled back", "p", "n", ("c",), 1, "t", True, False, tried)
    assert entry_of(json.loads(json.dumps(asdict(entry)))) == entry


@pytest.mark.parametrize("damage", [
    {"at": "soon"}, {"tried": 3}, {"tried": {"back_to": 1, "terms": {"confirm": None, "guard": {"conditions": [{"metric": "x"}]}}}},
])
def test_what_is_no_entry_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        entry_of(asdict(draft("a")) | damage)


def test_what_is_live_in_place_of_the_file(history: ConfigHistory) -> None:
    assert (history.live(), history.aside("a")) == (None, None)
    history.add(draft("a"), bundle("a"))
    history.add(draft("b"), bundle("b"))
    assert history.aside("a") is None, "what is live is of the file"
    back = history.add(draft("a", restores=1, of_file=False), bundle("a"))
    history.add(draft("", "refused"), None)
    assert [history.aside(hash) for hash in ("b", "a", "c", "")] == [back, None, None, None]
    history.leave()
    assert history.aside("b") is None
