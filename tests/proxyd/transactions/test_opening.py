"""Which config a process begins with after another one that was killed, that left, or that hands over.

What `kill -9` leaves is what the disk has at that moment: a copy of the state folder, put back after the daemon has left.
"""
from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxyd.daemon import Daemon
from proxyd.process import privileges
from proxyd.process.upgrade import UpgradeError
from proxyd.transactions.guard import parse_guard
from proxyd.transactions.terms import UNCONDITIONAL, By, Terms
from tests.support.client import get
from tests.support.clock import FakeClock
from tests.support.daemon import port_of, running, whole_config
from tests.support.wait import until

OPS = By("ops", "127.0.0.1", "reload")
CONFIRM, GUARD = Terms(confirm=60.0), Terms(parse_guard("errors > 2% for 30s"))
RESTARTED = "the daemon was restarted meanwhile"


def config(body: str, status: int = 200) -> str:
    return f"listen: '127.0.0.1:0'\nroutes: [{{name: only, respond: {{status: {status}, body: '{body}'}}}}]\n"


def write(path: Path, text: str) -> None:
    path.write_text(whole_config(text))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROXYD_STATE", str(tmp_path / "state"))
    return tmp_path / "proxyd.yaml"


@contextlib.asynccontextmanager
async def serving(path: Path, clock: FakeClock) -> AsyncIterator[Daemon]:
    """A daemon on the file as it is."""
    daemon = Daemon(path=path, clock=clock)
    await daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop(now=True)
        await daemon.wait()


@contextlib.asynccontextmanager
async def killed(path: Path, clock: FakeClock, text: str | None = None) -> AsyncIterator[Daemon]:
    """One that is killed at the end."""
    copy = path.parent / "copy"
    if text is not None:
        write(path, text)
    async with serving(path, clock) as daemon:
        yield daemon
        shutil.copytree(path.parent / "state", copy)
    shutil.rmtree(path.parent / "state")
    copy.rename(path.parent / "state")


async def reload(daemon: Daemon, path: Path, text: str, terms: Terms = UNCONDITIONAL) -> None:
    write(path, text)
    assert (await daemon.reload(terms=terms, by=OPS)).ok


async def body(daemon: Daemon) -> bytes:
    return (await get(port_of(daemon))).body


def story(daemon: Daemon) -> list[tuple[int, str, str, int]]:
    return [(entry.number, entry.how, entry.result, entry.restores) for entry in daemon.config_entries()]


# ---------------------------------------------------------------------- what was gone back from
async def test_a_rolled_back_config_does_not_come_back_with_a_crash(path: Path, clock: FakeClock) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"))
        await daemon.rollback(None, by=OPS)
        before = daemon.config_entries()
    for _ in range(2):
        async with killed(path, clock) as daemon:
            assert await body(daemon) == b"one"
            assert daemon.config_entries() == before
            assert any("is not what serves (config 1 does)" in text for text in daemon.status().warnings)
    async with serving(path, clock) as daemon:
        assert (await daemon.reload(by=OPS)).ok, "whoever asks for the file gets it"
        assert await body(daemon) == b"two"


async def test_a_daemon_that_was_stopped_serves_its_file(path: Path, clock: FakeClock) -> None:
    async with running(config("one"), path=path, clock=clock) as daemon:
        await reload(daemon, path, config("two"))
        await daemon.rollback(None, by=OPS)
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"two"
        assert story(daemon)[-2:] == [(3, "rollback", "served", 1), (4, "start", "serving", 0)]


@pytest.mark.parametrize("text", ["three", "one"])
async def test_a_file_that_was_repaired_meanwhile_is_served(path: Path, clock: FakeClock, text: str) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"))
        await daemon.rollback(None, by=OPS)
    write(path, config(text))
    async with serving(path, clock) as daemon:
        assert await body(daemon) == text.encode()
        assert not daemon.status().serving.file_differs


async def test_there_and_back_again(path: Path, clock: FakeClock) -> None:
    """The file is the newest that came from it, however often was gone back and forth."""
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"))
        await reload(daemon, path, config("three"))
        for number in (2, 1, 2):
            await daemon.rollback(number, by=OPS)
        await daemon.reload("lissen: :80", by=OPS)
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"two"


async def test_a_text_survives_a_crash(path: Path, clock: FakeClock) -> None:
    async with killed(path, clock, config("one")) as daemon:
        assert (await daemon.reload(whole_config(config("text")), by=OPS)).ok
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"text"


async def test_what_cannot_be_loaded_again_leaves_the_file(path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"))
        await daemon.rollback(None, by=OPS)
    bundle = next((path.parent / "state").glob("*/config-3.json"))
    bundle.write_text(bundle.read_text().replace("listen:", "lissen:"))
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"two"
    assert "config 3 cannot be loaded again: " in caplog.text


async def test_a_history_of_an_older_proxyd_is_read(path: Path, clock: FakeClock) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"))
        await daemon.rollback(None, by=OPS)
    history = next((path.parent / "state").glob("*/history.json"))
    value = json.loads(history.read_bytes())
    for entry in value["entries"]:
        del entry["of_file"], entry["tried"]
    history.write_text(json.dumps(value))
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"one"


# ---------------------------------------------------------------------- trials
async def test_a_trial_goes_on_after_a_crash(path: Path, clock: FakeClock) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"), CONFIRM)
        await clock.advance(20)
    async with killed(path, clock) as daemon:
        assert await body(daemon) == b"two"
        trial = daemon.status().serving.trial
        assert trial is not None
        assert (trial.entry, trial.back_to, trial.confirm_until) == (2, 1, 1_060.0)
        assert daemon.config_entries()[1].note == RESTARTED
        assert not (await daemon.reload(whole_config(config("three")), by=OPS)).ok
        await clock.advance(41)
        await until(lambda: daemon.status().serving.trial is None)
        assert await body(daemon) == b"one"
        assert story(daemon) == [(1, "start", "served", 0), (2, "reload", "rolled back", 0), (3, "confirm", "serving", 1)]
        assert daemon.config_entries()[1].note == f"nobody confirmed it within 1m ({RESTARTED})"
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"one"


async def test_it_can_be_confirmed_after_a_crash(path: Path, clock: FakeClock) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"), CONFIRM)
    async with serving(path, clock) as daemon:
        assert (await daemon.confirm(by=OPS)).note == f"confirmed by ops ({RESTARTED})"
        await clock.advance(120)
        assert await body(daemon) == b"two"


@pytest.mark.parametrize(("terms", "seconds", "how", "why"), [
    (CONFIRM, 61, "confirm", "nobody confirmed it within 1m"),
    (GUARD, 41, "guard", "the daemon ended, and the 30s of the guard were over before it was back"),
])
async def test_one_whose_time_is_over_is_gone_back_from(
    path: Path, clock: FakeClock, terms: Terms, seconds: int, how: str, why: str
) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"), terms)
    clock.pass_time(seconds)
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"one"
        assert story(daemon) == [(1, "start", "served", 0), (2, "reload", "rolled back", 0), (3, how, "serving", 1)]
        assert [entry.note for entry in daemon.config_entries()[1:]] == [why, f"config 2: {why}"]
        view = daemon.status().serving
        assert (view.entry, view.restores, view.file_differs, view.trial) == (3, 1, True, None)
        records = [(record["action"], record["target"], record["result"]) for record in await daemon.audit.last(9)]
        assert ("config.rollback", "1", "ok") in records


async def test_a_guard_goes_on_and_breaks(path: Path, clock: FakeClock) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two", 503), GUARD)
    async with serving(path, clock) as daemon:
        for _ in range(60):
            assert await body(daemon) == b"two"
        await clock.advance(2)
        await until(lambda: daemon.status().serving.trial is None)
        assert await body(daemon) == b"one"


async def test_a_text_on_trial_goes_on(path: Path, clock: FakeClock) -> None:
    async with killed(path, clock, config("one")) as daemon:
        assert (await daemon.reload(whole_config(config("text")), terms=CONFIRM, by=OPS)).ok
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"text"
        assert daemon.status().serving.trial is not None


async def test_a_stop_does_not_end_it_and_another_file_does(path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    async with running(config("one"), path=path, clock=clock) as daemon:
        await reload(daemon, path, config("two"), CONFIRM)
    async with serving(path, clock) as daemon:
        assert daemon.status().serving.trial is not None
    write(path, config("three"))
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"three"
        assert story(daemon)[1:] == [(2, "reload", "cut short", 0), (3, "start", "serving", 0)]
        assert "config 2 was on trial when the daemon ended" in caplog.text


async def test_one_that_cannot_be_gone_back_from_is_kept(path: Path, clock: FakeClock) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"), CONFIRM)
    next((path.parent / "state").glob("*/config-1.json")).unlink()
    clock.pass_time(61)
    async with serving(path, clock) as daemon:
        assert await body(daemon) == b"two"
        entry = daemon.config_entries()[1]
        assert (entry.result, entry.note) == ("serving", "nobody confirmed it within 1m; but config 1 cannot be loaded any more")


# ---------------------------------------------------------------------- upgrades
async def test_no_upgrade_that_would_serve_something_else(path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYD_STATE", "none")
    async with running(config("one"), path=path, clock=clock) as daemon:
        await reload(daemon, path, config("two"))
        await daemon.rollback(None, by=OPS)
        with pytest.raises(UpgradeError, match=r"config 1 serves, not what the new process would read.*reload, before"):
            await daemon.upgrade()
        await reload(daemon, path, config("two"), CONFIRM)
        with pytest.raises(UpgradeError, match="config 4 is on trial: confirm it, or roll it back, before"):
            await daemon.upgrade()


# ---------------------------------------------------------------------- whose word it is
@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    found: list[Path | None] = []
    monkeypatch.setattr(privileges, "become_owner", found.append)
    return found


async def test_root_becomes_the_owner_before_it_takes_what_is_kept(path: Path, clock: FakeClock, became: list[Path | None]) -> None:
    async with killed(path, clock, config("one")) as daemon:
        await reload(daemon, path, config("two"))
        await daemon.rollback(None, by=OPS)
    folder = next((path.parent / "state").iterdir())
    async with killed(path, clock):
        assert became == [folder]
    write(path, "lissen: :80")
    last_good = Daemon(path=path, last_good=True, clock=clock)
    await last_good.start()
    assert became == [folder, folder]
    last_good.stop(now=True)
    await last_good.wait()
    write(path, config("two"))
    async with serving(path, clock):
        assert became == [folder, folder], "its own file is root's word"
