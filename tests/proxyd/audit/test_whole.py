"""The daemon with its audit trail: what nobody asks the admin API for leaves one record, too."""
from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from proxyd.daemon import Daemon
from proxyd.process.upgrade import Upgraded, UpgradeError
from tests.support.client import Response, connect
from tests.support.daemon import port_of, running, whole_config
from tests.support.wait import until

CONFIG = 'listeners: {web: {bind: "127.0.0.1:0"}}\nroutes: [{respond: {status: 200, body: %s}}]\n'
PURGES = """
    listeners:
      web: {bind: "127.0.0.1:0"}
      behind: {bind: "127.0.0.1:0", client_ip: {header: X-Forwarded-For, trust: [127.0.0.1]}}
      aside: {bind: "127.0.0.1:0", mode: cache}
    routes: [{respond: 204}]
    cache: {memory: 8MiB, purge: {allow: [127.0.0.1, 10.0.0.9]}}
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYD_STATE", str(tmp_path / "state"))


async def told(daemon: Daemon) -> list[tuple[str, str, str, str, dict[str, Any]]]:
    """All records but that of the start."""
    first, *others = await daemon.audit.last(100)
    assert (first["action"], first["who"], first["origin"], first["result"]) == ("daemon.start", "proxyd", "self", "ok")
    return [tuple(record[name] for name in ("action", "who", "origin", "result", "detail")) for record in others]


async def records(daemon: Daemon, number: int) -> list[tuple[str, str, str, str, dict[str, Any]]]:
    await until(lambda: daemon.audit.view().records > number)
    return await told(daemon)


def raised(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "now"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
async def test_a_stop_by_signal_is_on_the_disk_when_it_has_ended(tmp_path: Path, number: signal.Signals, now: bool) -> None:
    async with running(CONFIG % "one", path=tmp_path / "proxyd.yaml") as daemon:
        daemon.install_signals()
        raised(number)
        async with asyncio.timeout(5):
            assert await daemon.wait() == 0
    assert Path(daemon.audit.view().file).is_relative_to(tmp_path)
    assert await told(daemon) == [("daemon.stop", "signal", number.name, "ok", {"now": now})]


async def test_each_signal_that_changes_how_it_stops_leaves_one_record(tmp_path: Path) -> None:
    async with running(CONFIG % "one", path=tmp_path / "proxyd.yaml") as daemon:
        daemon.install_signals()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            raised(number)
            await asyncio.sleep(0)
        await daemon.wait()
    assert [(who, origin, detail["now"]) for _, who, origin, _, detail in await told(daemon)] == [
        ("signal", "SIGTERM", False), ("signal", "SIGTERM", True)]


async def test_hup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "proxyd.yaml"
    async with running(CONFIG % "one", path=path) as daemon:
        daemon.install_signals()
        for count, text in enumerate([CONFIG % "one", CONFIG % "two", "nonsense"], 1):
            path.write_text(whole_config(text))
            raised(signal.SIGHUP)
            assert len(await records(daemon, count)) == count
        unchanged, changed, broken = await told(daemon)
        assert {record[:3] for record in (unchanged, changed, broken)} == {("config.reload", "signal", "SIGHUP")}
        assert [(record[3], record[4]["entry"]) for record in (unchanged, changed, broken)] == [("ok", 0), ("ok", 2), ("refused", 3)]
        monkeypatch.setattr(daemon, "_phase", "draining")
        raised(signal.SIGHUP)
        assert (await records(daemon, 4))[3:] == [("config.reload", "signal", "SIGHUP", "refused", {"why": "proxyd is draining"})]


async def test_usr2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(CONFIG % "one", path=tmp_path / "proxyd.yaml") as daemon:
        daemon.install_signals()

        async def upgrade() -> Upgraded:
            if daemon.audit.view().records == 1:
                raise UpgradeError("the new process has died")
            return Upgraded(4242, 4141, 0.5)

        monkeypatch.setattr(daemon, "upgrade", upgrade)
        for count in (1, 2):
            raised(signal.SIGUSR2)
            await records(daemon, count)
        assert await told(daemon) == [
            ("daemon.upgrade", "signal", "SIGUSR2", "refused", {"why": "the new process has died"}),
            ("daemon.upgrade", "signal", "SIGUSR2", "ok", {"successor": 4242, "seconds": 0.5}),
        ]


async def test_the_end_of_an_engine(tmp_path: Path) -> None:
    path = tmp_path / "proxyd.yaml"
    path.write_text(whole_config(CONFIG % "one", threads=2))
    daemon = Daemon(path=path)
    await daemon.start()
    daemon.engine_entries()[1].engine.close()
    async with asyncio.timeout(5):
        assert await daemon.wait() == 1
    assert await told(daemon) == [("daemon.stop", "proxyd", "self", "ok", {"now": True, "why": "engine 1 ended unexpectedly"})]


async def asked(daemon: Daemon, listener: str, text: str) -> Response:
    async with connect(port_of(daemon, listener)) as client:
        await client.send(text.encode() + b"\r\n\r\n")
        return await client.response()


@pytest.mark.parametrize("threads", [0, 2])
async def test_the_method_purge(tmp_path: Path, threads: int) -> None:
    async with running(PURGES, path=tmp_path / "proxyd.yaml", threads=threads) as daemon:
        await asked(daemon, "web", "PURGE /a?token=secret HTTP/1.1\r\nHost: test")
        await asked(daemon, "behind", "PURGE / HTTP/1.1\r\nHost: test\r\nSurrogate-Key: one two\r\nX-Forwarded-For: 10.0.0.9")
        await asked(daemon, "behind", "PURGE / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 10.0.0.7")
        await asked(daemon, "aside", "DELETE /key HTTP/1.1\r\nHost: test")
        one, two = await records(daemon, 2)
        targets = [record["target"] for record in await daemon.audit.last(2)]
    assert one == ("cache.purge", "127.0.0.1", "PURGE from 127.0.0.1", "ok", {"objects": 0})
    assert two == ("cache.purge", "10.0.0.9", "PURGE from 127.0.0.1", "ok", {"objects": 0})
    assert targets == ["url http://test/a", "tag one, tag two"]


async def test_the_bounds_follow_the_config(tmp_path: Path) -> None:
    path = tmp_path / "proxyd.yaml"
    async with running(CONFIG % "one", path=path) as daemon:
        path.write_text(whole_config(CONFIG % "two").replace("log: {", "log: {audit: {size: 64KiB, keep: 3}, "))
        assert (await daemon.reload()).changed
        assert daemon.audit._file is not None
        assert (daemon.audit._file.bounds.size, daemon.audit._file.bounds.keep) == (65_536, 3)
