"""What operators changed, over a restart: the file, what is handed over, and a daemon that takes it up."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxyd.config import Config
from proxyd.daemon import Daemon
from proxyd.overrides import Overrides, parse_server
from proxyd.serverstate import NAME, ServerState, text_of
from proxyd.statedir import StateDir
from tests.support.config import config_of
from tests.support.daemon import running
from tests.support.wait import until

ONE, TWO, THREE = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"


def config(*servers: str) -> Config:
    return config_of(f"listen: :8080\nto: app\nupstreams: {{app: {{servers: {list(servers)}}}}}")


@pytest.fixture
def overrides() -> Overrides:
    """One of each kind."""
    found = Overrides()
    found.set_state("app", ONE, ONE, "drain", "ops", 1.5)
    found.set_state("app", TWO, TWO, "maint", "ops", 2.0)
    found.set_weight("app", ONE, ONE, 7, 1, "dev", 3.0)
    found.add("app", parse_server({"address": "10.0.0.9:80", "weight": 2, "backup": True, "zone": "b", "max_requests": 5}), "ops", 4.0)
    found.remove("app", THREE, THREE, "ops", 5.0)
    return found


async def test_the_next_process_takes_it_up(tmp_path: Path, overrides: Overrides) -> None:
    await ServerState(StateDir(tmp_path)).keep(overrides)
    state = ServerState(StateDir(tmp_path))
    found = state.take_up(None, config(ONE, TWO, THREE))
    assert found.entries == overrides.entries
    assert state.kept_text(found) == (
        "from before the restart: 1 server kept drained (app/10.0.0.1:80), 1 server kept in maintenance (app/10.0.0.2:80), "
        "1 server kept at another weight (app/10.0.0.1:80), 1 server kept added (app/10.0.0.9:80), 1 server kept out (app/10.0.0.3:80)")
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0


def test_of_servers_that_are_there(overrides: Overrides, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    found = ServerState(StateDir()).take_up(text_of(overrides), config(TWO, "10.0.0.9:80"))
    assert [(view.server, view.change) for view in found.views()] == [(TWO, "maint")]
    assert "the config no longer has its server: app/10.0.0.1:80 drained" in caplog.text


async def test_what_is_handed_over_wins_and_is_kept(tmp_path: Path, overrides: Overrides) -> None:
    await ServerState(StateDir(tmp_path)).keep(overrides)
    state = ServerState(StateDir(tmp_path))
    await state.keep(state.take_up(text_of(Overrides()), config(ONE, TWO, THREE)))
    assert (tmp_path / NAME).read_bytes() == text_of(Overrides())


async def test_the_sentence_tells_of_what_still_holds(overrides: Overrides) -> None:
    state = ServerState(StateDir())
    found = state.take_up(text_of(overrides), config(ONE, TWO, THREE))
    for server in (ONE, TWO):
        found.set_state("app", server, server, "ready", "ops", 9.0)
    found.set_state("app", TWO, TWO, "drain", "ops", 9.0)
    assert state.warnings(found)[0].startswith("from before the restart: 1 server kept at another weight (app/10.0.0.1:80), 1 ")
    assert state.kept_text(Overrides()) == ""
    many = Overrides()
    for port in range(7):
        many.set_state("app", f"10.0.0.1:{port + 80}", ONE, "drain", "ops", 1.0)
    found = state.take_up(text_of(many), config(ONE))
    assert state.kept_text(found).endswith("7 servers kept drained (app/10.0.0.1:80, app/10.0.0.1:81, app/10.0.0.1:82, app/10.0.0.1:83, "
                                           "app/10.0.0.1:84, 2 more)")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 2, "changes": []}', b'{"format": 1}', b"\xff", b"[" * 100_000])
async def test_what_is_damaged_is_put_aside(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAME).write_bytes(damage)
    state = ServerState(StateDir(tmp_path))
    found = state.take_up(None, config(ONE))
    assert (found.entries, (tmp_path / f"{NAME}.damaged").read_bytes()) == ((), damage)
    assert "are lost" in caplog.text
    await state.keep(found)
    assert (tmp_path / NAME).read_bytes() == text_of(found)


@pytest.mark.parametrize("change", [
    {"word": "gone"}, {"word": "weight", "weight": 0}, {"word": "added", "added": {"address": "x"}}, {"server": 3}, {"at": "soon"}, None,
])
def test_a_change_that_is_none_leaves_the_others(overrides: Overrides, change: dict[str, Any] | None) -> None:
    value = json.loads(text_of(overrides))
    value["changes"][0] = value["changes"][0] | change if change is not None else "drained"
    found = ServerState(StateDir()).take_up(json.dumps(value).encode(), config(ONE, TWO, THREE))
    assert found.entries == overrides.entries[1:]


async def test_a_disk_that_refuses_is_told_and_tried_again(tmp_path: Path, overrides: Overrides) -> None:
    state = ServerState(StateDir(tmp_path))
    (tmp_path / NAME).mkdir()
    await state.keep(overrides)
    assert state.warnings(overrides) == [f"changes of servers do not outlive this process: {tmp_path / NAME}: is a directory"]
    (tmp_path / NAME).rmdir()
    await state.keep(overrides)
    assert (state.warnings(overrides), (tmp_path / NAME).read_bytes()) == ([], text_of(overrides))


# ---------------------------------------------------------------------- a daemon
APP = "listen: '127.0.0.1:0'\nupstreams: {app: {servers: ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']}}\nroutes: [{to: app}]\n"


def servers(daemon: Daemon) -> list[tuple[str, str, int]]:
    return [(server.label, server.state, server.weight) for server in daemon.upstreams()[0].servers]


async def test_a_drained_server_stays_drained_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYD_STATE", str(tmp_path / "state"))
    path = tmp_path / "proxyd.yaml"
    async with running(APP, path=path) as daemon:
        await daemon.set_server("app", "127.0.0.1:1", {"state": "drain"}, by="ops")
        await daemon.set_server("app", "127.0.0.1:2", {"weight": 4}, by="ops")
        await daemon.add_server("app", {"address": "127.0.0.1:4"}, by="ops")
        await daemon.remove_server("app", "127.0.0.1:3", by="ops")
        before = servers(daemon)
        assert before == [("127.0.0.1:1", "drain", 1), ("127.0.0.1:2", "up", 4), ("127.0.0.1:4", "up", 1)]
    async with running(APP, path=path) as daemon:
        assert servers(daemon) == before
        assert any("1 server kept drained (app/127.0.0.1:1)" in text for text in daemon.status().warnings)
        assert [event.text for event in daemon.events.after(0, 10) if event.kind == "server.kept"] == list(daemon.status().warnings)
        await daemon.set_server("app", "127.0.0.1:1", {"state": "ready"}, by="ops")
        path.write_text(path.read_text().replace(", '127.0.0.1:2'", ""))
        assert (await daemon.reload()).ok
        await until(lambda: b"127.0.0.1:2" not in next(tmp_path.glob("state/*/servers.json")).read_bytes(), "what was dropped is forgotten")
    async with running(APP.replace("'127.0.0.1:2', ", ""), path=path) as daemon:
        assert servers(daemon) == [("127.0.0.1:1", "up", 1), ("127.0.0.1:4", "up", 1)]
