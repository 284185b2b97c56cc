"""Transactions on a daemon with its real engine and a clock that a test moves: reloads on trial, rollbacks, what the history tells."""
from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxyd.daemon import Daemon
from proxyd.state import DaemonError, ReloadResult
from proxyd.transactions.guard import parse_guard
from proxyd.transactions.service import TransactionError
from proxyd.transactions.terms import UNCONDITIONAL, By, Terms
from tests.support.client import get
from tests.support.clock import FakeClock
from tests.support.daemon import port_of, running, whole_config
from tests.support.wait import until

OPS = By("ops", "127.0.0.1", "reload")
LISTEN = "listen: '127.0.0.1:0'\n"
BROKEN = "lissen: :80\n"
GUARD = Terms(parse_guard("errors > 2% for 30s"))
CONFIRM = Terms(confirm=60.0)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def config(body: str, status: int = 200) -> str:
    return f"{LISTEN}routes: [{{name: only, respond: {{status: {status}, body: '{body}'}}}}]\n"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def daemon(clock: FakeClock) -> AsyncIterator[Daemon]:
    """Serves "one" from a text, so that what it keeps is in memory."""
    async with running(config("one"), clock=clock) as found:
        yield found


async def reload(daemon: Daemon, text: str, terms: Terms = UNCONDITIONAL, **more: Any) -> ReloadResult:
    return await daemon.reload(whole_config(text), terms=terms, by=OPS, **more)


async def body(daemon: Daemon) -> bytes:
    return (await get(port_of(daemon))).body


def story(daemon: Daemon) -> list[tuple[int, str, str, int]]:
    return [(entry.number, entry.how, entry.result, entry.restores) for entry in daemon.config_entries()]


async def records(daemon: Daemon) -> list[tuple[str, str, str]]:
    return [(record["action"], record["who"], record["result"]) for record in await daemon.audit.last(100)]


async def recorded(daemon: Daemon, record: tuple[str, str, str]) -> None:
    """Wait for an audit record, which is written when the change has been made."""
    await until(lambda: daemon.audit.view().records > 1)
    assert record in await records(daemon)


async def test_a_reload_is_an_entry_and_an_unchanged_one_is_none(daemon: Daemon) -> None:
    assert story(daemon) == [(1, "start", "serving", 0)]
    result = await reload(daemon, config("two"))
    assert (result.entry, result.summary) == (2, "1 route changed, no connection will drain")
    assert (await reload(daemon, config("two") + "# in other words\n")).entry == 0
    assert story(daemon) == [(1, "start", "served", 0), (2, "reload", "serving", 0)]
    assert daemon.status().serving.entry == 2
    entry = daemon.config_entries()[1]
    assert (entry.by, entry.changes) == ("ops", ("route only: action.respond.body: one -> two",)) or entry.changes


async def test_a_refused_one_is_an_entry_that_cannot_be_gone_back_to(daemon: Daemon) -> None:
    result = await reload(daemon, "lissen: :80\n")
    assert (result.ok, result.entry) == (False, 2)
    entry = daemon.config_entries()[1]
    assert (entry.result, entry.kept) == ("refused", False)
    assert "PXD-02" in entry.note
    with pytest.raises(TransactionError, match="config 2 cannot be gone back to: it was refused"):
        await daemon.rollback(2, by=OPS)
    assert daemon.status().serving.entry == 1


async def test_rollback_serves_the_one_before_and_there_and_back(daemon: Daemon) -> None:
    with pytest.raises(TransactionError, match="no other config has served before"):
        await daemon.rollback(None, by=OPS)
    await reload(daemon, config("two"))
    result = await daemon.rollback(None, by=OPS)
    assert (result.ok, result.entry, result.restores) == (True, 3, 1)
    assert await body(daemon) == b"one"
    assert (await daemon.rollback(None, by=OPS)).restores == 2
    assert await body(daemon) == b"two"
    assert (await daemon.rollback(2, by=OPS)).changed is False
    assert story(daemon)[2:] == [(3, "rollback", "served", 1), (4, "rollback", "serving", 2)]
    with pytest.raises(TransactionError, match="no entry 99"):
        await daemon.rollback(99, by=OPS)


async def test_a_guard_that_holds_keeps_the_config(daemon: Daemon, clock: FakeClock) -> None:
    result = await reload(daemon, config("two"), GUARD)
    assert result.trial is not None
    assert (result.trial.entry, result.trial.back_to, result.trial.guard) == (2, 1, "errors > 2% for 30s")
    assert (await get(port_of(daemon))).status == 200
    await clock.advance(29)
    assert daemon.status().serving.trial == result.trial
    await clock.advance(2)
    await until(lambda: daemon.status().serving.trial is None)
    assert (daemon.config_entries()[1].result, daemon.config_entries()[1].note) == ("serving", "the guard held for 30s")
    assert await body(daemon) == b"two"


async def test_a_guard_that_breaks_brings_the_old_config_back(daemon: Daemon, clock: FakeClock) -> None:
    for _ in range(60):
        assert await body(daemon) == b"one"
    await reload(daemon, config("two", 503), GUARD)
    for _ in range(60):
        await body(daemon)
    await clock.advance(2)
    await until(lambda: daemon.status().serving.trial is None)
    assert await body(daemon) == b"one"
    assert story(daemon) == [(1, "start", "served", 0), (2, "reload", "rolled back", 0), (3, "guard", "serving", 1)]
    why = "100% errors among 60 requests, the guard allows 2%, after "
    assert daemon.config_entries()[1].note.startswith(why)
    assert daemon.config_entries()[2].note.startswith(f"config 2: {why}")
    await recorded(daemon, ("config.rollback", "proxyd", "ok"))


async def test_few_requests_count_at_the_end(daemon: Daemon, clock: FakeClock) -> None:
    await reload(daemon, config("two", 500), GUARD)
    await body(daemon)
    await clock.advance(29)
    assert await body(daemon) == b"two"
    await clock.advance(2)
    await until(lambda: daemon.status().serving.trial is None)
    assert await body(daemon) == b"one"


async def test_unconfirmed_it_is_gone_back_from_and_confirmed_it_stays(daemon: Daemon, clock: FakeClock) -> None:
    await reload(daemon, config("two"), CONFIRM)
    await clock.advance(61)
    await until(lambda: daemon.status().serving.trial is None)
    assert story(daemon)[1:] == [(2, "reload", "rolled back", 0), (3, "confirm", "serving", 1)]
    assert await body(daemon) == b"one"
    await reload(daemon, config("two"), CONFIRM)
    entry = await daemon.confirm(by=OPS)
    assert (entry.number, entry.result, entry.note) == (4, "serving", "confirmed by ops")
    await clock.advance(120)
    assert await body(daemon) == b"two"
    with pytest.raises(TransactionError, match="no config is on trial"):
        await daemon.confirm(by=OPS)


async def test_while_one_is_on_trial_others_are_refused(daemon: Daemon) -> None:
    await reload(daemon, config("two"), CONFIRM)
    result = await reload(daemon, config("three"))
    assert [found.code for found in result.diagnostics] == ["PXD-251"]
    assert (await reload(daemon, config("three"), dry_run=True)).ok
    assert (await reload(daemon, config("two"))).ok, "the same is no other one"
    assert len(daemon.config_entries()) == 2
    assert (await daemon.rollback(None, by=OPS)).restores == 1
    assert await body(daemon) == b"one"
    assert daemon.config_entries()[1].note == "rolled back to 1 by ops"
    assert daemon.status().serving.trial is None
    assert (await reload(daemon, config("three"))).ok


async def test_a_rollback_to_what_is_on_trial_keeps_it(daemon: Daemon) -> None:
    await reload(daemon, config("two"), CONFIRM)
    assert (await daemon.rollback(2, by=OPS)).changed is False
    assert story(daemon)[-1] == (2, "reload", "serving", 0)
    assert daemon.status().serving.trial is None


async def test_a_rollback_that_cannot_be_done_changes_nothing(daemon: Daemon, clock: FakeClock) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    taken.close()
    second = f"listeners: {{default: {{bind: '127.0.0.1:0'}}, more: {{bind: '127.0.0.1:{port}'}}}}\nroutes: [{{respond: {{body: both}}}}]\n"
    await reload(daemon, second)
    await reload(daemon, config("two", 503), GUARD)
    with socket.create_server(("127.0.0.1", port)):
        result = await daemon.reload(dry_run=True)
        assert result.ok
        await body(daemon)
        await clock.advance(31)
        await until(lambda: daemon.status().serving.trial is None)
        assert story(daemon)[2:] == [(3, "reload", "serving", 0), (4, "guard", "refused", 2)]
        assert await body(daemon) == b"two"
        await recorded(daemon, ("config.rollback", "proxyd", "refused"))
    assert "but the rollback failed" in daemon.config_entries()[2].note
    assert (await daemon.rollback(2, by=OPS)).ok, "by hand it is tried again"
    assert await body(daemon) == b"both"


async def test_a_guard_names_what_there_is(daemon: Daemon) -> None:
    for guard, message in (("errors of route api > 1%", "route `api`"), ("errors of upstream app > 1%", "upstream `app`")):
        with pytest.raises(TransactionError, match=message):
            await reload(daemon, config("two"), Terms(parse_guard(guard)))
    assert await body(daemon) == b"one"
    for name in ("only", "default/only"):
        assert (await reload(daemon, config(name), Terms(parse_guard(f"errors of route {name} > 1%")))).ok
        await daemon.confirm(by=OPS)


async def test_drained_servers_stay_drained_over_a_rollback(clock: FakeClock) -> None:
    text = f"{LISTEN}upstreams: {{app: {{servers: ['127.0.0.1:1', '127.0.0.1:2']}}}}\nroutes: [{{to: app}}]\n"
    async with running(text, clock=clock) as daemon:
        await daemon.reload(whole_config(text.replace("to: app", "to: app, match: /x")), by=OPS)
        await daemon.set_server("app", "127.0.0.1:1", {"state": "drain"}, by="ops")
        assert (await daemon.rollback(None, by=OPS)).ok
        assert [server.state for server in daemon.upstreams()[0].servers] == ["drain", "up"]


# ---------------------------------------------------------------------- with a file
@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file whose daemons keep their state."""
    monkeypatch.setenv("PROXYD_STATE", str(tmp_path / "state"))
    return tmp_path / "proxyd.yaml"


async def test_the_file_differs_until_it_says_what_serves(kept: Path, clock: FakeClock) -> None:
    async with running(config("one"), path=kept, clock=clock) as daemon:
        write(kept, whole_config(config("two")))
        assert (await daemon.reload(by=OPS)).ok
        assert not daemon.status().serving.file_differs
        await daemon.rollback(None, by=OPS)
        assert daemon.status().serving.file_differs
        assert any("is not what serves (config 1 does)" in text for text in daemon.status().warnings)
        assert (await daemon.diff()).summary == "1 route changed, no connection will drain"
        write(kept, whole_config(config("one")))
        assert not daemon.status().serving.file_differs
        write(kept, whole_config(config("three")))
        assert (await daemon.reload(by=OPS)).ok
        assert not daemon.status().serving.file_differs


async def test_a_diff_tells_that_a_failing_test_of_the_config_would_refuse_it(kept: Path, clock: FakeClock) -> None:
    async with running(config("one"), path=kept, clock=clock) as daemon:
        write(kept, whole_config(config("two")) + "tests: [{request: /, status: 404}]\n")
        found = await daemon.diff()
        assert not (await daemon.reload(by=OPS)).ok
    assert found.changes == ()
    assert [(one.code, one.severity) for one in found.diagnostics] == [("PXD-055", "error")]


async def test_includes_and_pages_are_as_they_were(kept: Path, clock: FakeClock) -> None:
    parts = kept.parent / "conf.d"
    parts.mkdir()
    (parts / "a.yaml").write_text("routes: [{match: /x, respond: {body: included}}]\n")
    (kept.parent / "404.html").write_bytes(b"page \xff one")
    text = f"include: conf.d/*.yaml\n{LISTEN}defaults: {{error_pages: {{404: {{file: 404.html}}}}}}\n"
    async with running(text, path=kept, clock=clock) as daemon:
        (parts / "a.yaml").unlink()
        (parts / "b.yaml").write_text("routes: [{match: /x, respond: {body: other}}]\n")
        (kept.parent / "404.html").write_bytes(b"page two")
        assert (await daemon.reload(by=OPS)).ok
        assert (await get(port_of(daemon), "/x")).body == b"other"
        assert (await daemon.rollback(1, by=OPS)).ok
        assert (await get(port_of(daemon), "/x")).body == b"included"
        assert (await get(port_of(daemon), "/y")).body == b"page \xff one"
        _, files = await daemon.config_entry(1)
        assert sorted(Path(name).name for name in files) == ["404.html", "a.yaml", "proxyd.yaml"]


async def test_a_start_with_the_same_config_goes_on_with_its_entry(kept: Path) -> None:
    async with running(config("one"), path=kept) as daemon:
        write(kept, whole_config(config("two")))
        await daemon.reload(by=OPS)
    async with running(config("two"), path=kept) as daemon:
        assert story(daemon) == [(1, "start", "served", 0), (2, "reload", "serving", 0)]
        assert (await daemon.rollback(None, by=OPS)).restores == 1
        assert (await daemon.rollback(None, by=OPS)).restores == 2
        before = daemon.config_entries()
    async with running(config("two"), path=kept) as daemon:
        assert daemon.config_entries() == before
    assert [record["action"] for record in await daemon.audit.last(9)] == ["daemon.start"] * 3


async def test_a_daemon_that_leaves_takes_nothing_back(daemon: Daemon, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    await reload(daemon, config("two"), CONFIRM)
    monkeypatch.setattr(daemon, "_phase", "draining")
    await clock.advance(61)
    await until(lambda: "trial" not in {task.get_name() for task in asyncio.all_tasks()})
    assert daemon.status().serving.trial is not None
    assert await body(daemon) == b"two"
    monkeypatch.undo()


async def test_a_trial_that_ends_with_the_daemon_is_no_good_config(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(config("one"), path=kept) as daemon:
        write(kept, whole_config(config("two")))
        await daemon.reload(terms=CONFIRM, by=OPS)
    write(kept, BROKEN)
    daemon = Daemon(path=kept, last_good=True)
    await daemon.start()
    try:
        assert await body(daemon) == b"one"
        assert story(daemon) == [(1, "start", "serving", 0), (2, "reload", "cut short", 0)]
        assert "config 2 was on trial when the daemon ended" in caplog.text
    finally:
        daemon.stop(now=True)
        await daemon.wait()


async def test_a_broken_file_at_start_names_the_last_good_config_and_serves_it_if_asked(kept: Path) -> None:
    async with running(config("one"), path=kept):
        pass
    write(kept, BROKEN)
    with pytest.raises(DaemonError, match="not valid") as caught:
        await Daemon(path=kept).start()
    assert "`proxyd run --last-good` serves config 1" in caught.value.help
    daemon = Daemon(path=kept, last_good=True)
    await daemon.start()
    try:
        assert await body(daemon) == b"one"
        assert daemon.status().serving.file_differs
        assert any("is not what serves" in text for text in daemon.status().warnings)
        assert not (await daemon.reload(by=OPS)).ok
        write(kept, whole_config(config("two")))
        assert (await daemon.reload(by=OPS)).ok
        assert not daemon.status().serving.file_differs
    finally:
        daemon.stop(now=True)
        await daemon.wait()


async def test_without_a_last_good_config_a_broken_file_is_refused(kept: Path) -> None:
    write(kept, BROKEN)
    with pytest.raises(DaemonError) as caught:
        await Daemon(path=kept).start()
    assert caught.value.help == ""
    with pytest.raises(DaemonError, match="there is no last good one"):
        await Daemon(path=kept, last_good=True).start()


async def test_watched_reloads_are_entries_and_a_rollback_is_not_undone(kept: Path) -> None:
    async with running(config("one"), path=kept, watch=True) as daemon:
        await asyncio.sleep(0)
        replacement = kept.with_suffix(".new")
        replacement.write_text(whole_config(config("two")))
        os.replace(replacement, kept)
        await until(lambda: len(daemon.config_entries()) == 2)
        assert story(daemon)[1] == (2, "watch", "serving", 0)
        await recorded(daemon, ("config.reload", "watch", "ok"))
        await daemon.rollback(None, by=OPS)
        assert daemon._reloading.files == (kept,)
        assert await body(daemon) == b"one"
