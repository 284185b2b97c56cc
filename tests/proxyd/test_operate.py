"""Servers changed at run time, in a daemon with real engines: what clients, the API and the command line see of it."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxyd.admin.server import AdminServer
from proxyd.cli.entry import root
from proxyd.cli.settings import Settings
from proxyd.daemon import Daemon
from proxyd.discovery.resolver import Answer
from proxyd.overrides import OverrideError
from proxyd.snapshot.explain import Question
from proxyd.state import BalancerView
from tests.support.client import Response, connect, get
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin, answer
from tests.support.wait import until

THREADS = pytest.mark.parametrize("threads", [0, 2])


def config(*origins: Origin, extra: str = "") -> str:
    servers = ", ".join(f'"{origin.address}"' for origin in origins)
    return f'listen: "127.0.0.1:0"\nto: app\nupstreams: {{app: {{servers: [{servers}]{extra}}}}}\n'


async def bodies(daemon: Daemon, times: int = 12) -> set[bytes]:
    return {(await get(port_of(daemon))).body for _ in range(times)}


def states(daemon: Daemon) -> dict[str, str]:
    return {server.label: server.state for server in daemon.upstreams()[0].servers}


def changes(daemon: Daemon) -> list[tuple[str, str]]:
    return [(entry.server, entry.text) for entry in daemon.upstreams()[0].overrides]


@THREADS
async def test_states_hold_at_once(threads: int) -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one, two), threads=threads) as daemon:
        for state in ("drain", "maint"):
            assert (await daemon.set_server("app", one.address, {"state": state}, by="ops")).changed
            assert await bodies(daemon) == {b"two"}
            assert states(daemon)[one.address] == state
        assert not (await daemon.set_server("app", one.address, {"state": "maint"}, by="ops")).changed
        assert changes(daemon) == [(one.address, "in maintenance")]
        await daemon.set_server("app", one.address, {"state": "ready"}, by="ops")
        assert await bodies(daemon) == {b"one", b"two"}
        assert changes(daemon) == []


@THREADS
async def test_a_server_that_was_drained_when_the_config_was_taken_comes_back(threads: int) -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one, two), threads=threads) as daemon:
        await daemon.set_server("app", one.address, {"state": "drain"}, by="ops")
        assert (await daemon.reload(whole_config(config(one, two, extra=", balance: random"), threads=threads))).ok
        assert await bodies(daemon) == {b"two"}
        await daemon.set_server("app", one.address, {"state": "ready", "weight": 2}, by="ops")
        assert await bodies(daemon, 40) == {b"one", b"two"}


async def test_a_route_is_explained_with_what_the_balancer_weighs() -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one, two)) as daemon:
        await daemon.set_server("app", one.address, {"state": "drain"}, by="ops")
        await daemon.set_server("app", two.address, {"weight": 3}, by="ops")
        await bodies(daemon)
        decision, = daemon.explain(Question("GET", "", "/"))
        target, = decision.targets
        assert target.balancer == BalancerView(False, False, 0, "closed")
        drained, weighed = target.servers
        assert (drained.state, drained.effective_weight, drained.latency_seconds) == ("drain", 0.0, 0.0)
        assert (weighed.state, weighed.effective_weight) == ("up", 3.0)
        assert 0 < weighed.latency_seconds < 1


async def test_weights_are_those_of_the_traffic() -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one, two)) as daemon:
        await daemon.set_server("app", one.address, {"weight": 3}, by="ops")
        counts = [(await get(port_of(daemon))).body for _ in range(8)]
        assert (counts.count(b"one"), counts.count(b"two")) == (6, 2)
        assert (await daemon.set_server("app", one.address, {"weight": 1}, by="ops")).changed
        assert changes(daemon) == []


@THREADS
async def test_servers_come_and_go(threads: int) -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one), threads=threads) as daemon:
        await daemon.add_server("app", {"address": two.address}, by="ops")
        assert await bodies(daemon) == {b"one", b"two"}
        await daemon.remove_server("app", one.address, by="ops")
        assert await bodies(daemon) == {b"two"}
        await daemon.add_server("app", {"address": one.address, "weight": 2}, by="ops")
        assert changes(daemon) == [(two.address, "added"), (one.address, "weight 2")]
        await daemon.remove_server("app", two.address, by="ops")
        assert await bodies(daemon) == {b"one"}
        await daemon.add_server("app", {"address": two.address, "priority": 2, "max_requests": 7, "zone": "b"}, by="ops")
        assert await bodies(daemon) == {b"one"}
        assert changes(daemon) == [(one.address, "weight 2"), (two.address, "added, max_requests 7, priority 2, zone b")]


async def test_an_added_server_is_checked_before_it_gets_requests() -> None:
    async with Origin("one") as one, Origin("two") as two:
        two.answer = answer(503)
        check = ", health: {active: {path: /up, interval: 100ms, timeout: 100ms, rise: 1}}"
        async with running(config(one, extra=check)) as daemon:
            await until(lambda: any(b"/up" in head for head in one.heads))
            await daemon.add_server("app", {"address": two.address}, by="ops")
            assert await bodies(daemon) == {b"one"}
            await until(lambda: states(daemon)[two.address] == "down")
            await daemon.set_server("app", two.address, {"state": "maint"}, by="ops")
            two.answer = answer(200, b"two")
            await until(lambda: "health" not in next(
                server.down for server in daemon.upstreams()[0].servers if server.label == two.address))
            assert await bodies(daemon) == {b"one"}, "a check that passes does not end a maintenance"
            await daemon.set_server("app", two.address, {"state": "ready"}, by="ops")
            assert await bodies(daemon) == {b"one", b"two"}


async def test_a_name_is_drained_with_the_addresses_that_it_gets_later() -> None:
    class Moving:
        addresses: tuple[str, ...] = ("127.0.0.1",)

        async def lookup(self, name: str) -> Answer:
            return Answer(self.addresses, 0.05)

        async def close(self) -> None:
            """Nothing is open."""

    moving = Moving()
    async with Origin("one") as one, Origin("two") as two:
        text = f'listen: "127.0.0.1:0"\nto: app\nupstreams: {{app: {{servers: ["app.test:{one.port}", "{two.address}"]}}}}\n'
        async with running(text, resolver=lambda: moving) as daemon:
            change = await daemon.set_server("app", f"APP.test:{one.port}", {"state": "drain"}, by="ops")
            assert change.servers == (f"127.0.0.1:{one.port}",)
            moving.addresses = ("127.0.0.1", "127.0.0.2")
            await until(lambda: states(daemon) == {
                f"127.0.0.1:{one.port}": "drain", f"127.0.0.2:{one.port}": "drain", two.address: "up"})
            assert await bodies(daemon) == {b"two"}


@pytest.mark.parametrize(("server", "orders", "code"), [
    ("127.0.0.1:1", {"state": "drain"}, "PXD-221"),
    (None, {"state": "gone"}, "PXD-224"),
    (None, {"weight": 0}, "PXD-224"),
    (None, {"weihgt": 1}, "PXD-224"),
    (None, {}, "PXD-224"),
])
async def test_what_is_refused_changes_nothing(server: str | None, orders: Mapping[str, object], code: str) -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one, two)) as daemon:
        with pytest.raises(OverrideError) as caught:
            await daemon.set_server("app", server or one.address, orders, by="ops")
        assert caught.value.code.code == code
        with pytest.raises(OverrideError, match="no upstream `api`; there is `app`"):
            await daemon.set_server("api", one.address, {"state": "drain"}, by="ops")
        with pytest.raises(OverrideError, match="has the server"):
            await daemon.add_server("app", {"address": one.address}, by="ops")
        assert (changes(daemon), daemon.generation) == ([], 1)


async def test_the_last_usable_server_stays_unless_forced() -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one, two)) as daemon:
        await daemon.set_server("app", one.address, {"state": "drain"}, by="ops")
        for order in (
            daemon.set_server("app", two.address, {"state": "maint"}, by="ops"), daemon.remove_server("app", two.address, by="ops")
        ):
            with pytest.raises(OverrideError, match="the last usable server of app"):
                await order
        await daemon.remove_server("app", one.address, by="ops")
        with pytest.raises(OverrideError, match="the only server of app"):
            await daemon.remove_server("app", two.address, by="ops", force=False)
        await daemon.remove_server("app", two.address, by="ops", force=True)
        assert (await get(port_of(daemon))).status == 503
        await daemon.add_server("app", {"address": two.address}, by="ops")
        assert await bodies(daemon) == {b"two"}


async def test_what_fails_on_its_way_to_the_engines_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one)) as daemon:
        def refuse(*arguments: object, **words: object) -> None:
            raise ValueError("no")

        with monkeypatch.context() as broken:
            broken.setattr("proxyd.serving.build_spec", refuse)
            with pytest.raises(ValueError, match="no"):
                await daemon.add_server("app", {"address": two.address}, by="ops")
        assert changes(daemon) == []
        await daemon.add_server("app", {"address": two.address}, by="ops")
        assert await bodies(daemon) == {b"one", b"two"}


@THREADS
async def test_a_reload_keeps_what_still_has_its_server(threads: int, caplog: pytest.LogCaptureFixture) -> None:
    async with Origin("one") as one, Origin("two") as two, Origin("new") as new, running(config(one, two), threads=threads) as daemon:
        await daemon.add_server("app", {"address": new.address}, by="ops")
        await daemon.set_server("app", one.address, {"state": "drain"}, by="ops")
        assert (await daemon.reload(whole_config(config(one, two, extra=", balance: least_conn"), threads=threads))).ok
        assert await bodies(daemon) == {b"two", b"new"}
        assert (await daemon.reload(whole_config(config(two), threads=threads))).ok
        assert changes(daemon) == [(new.address, "added")]
        assert f"override dropped, the config no longer has its server: app/{one.address} drained" in caplog.text
        assert (await daemon.reload(whole_config(config(one, two), threads=threads))).ok
        assert await bodies(daemon) == {b"one", b"two", b"new"}, "the server that came back is another one"


async def test_a_reload_that_fails_drops_nothing(tmp_path: Path) -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one, two)) as daemon:
        await daemon.set_server("app", one.address, {"state": "drain"}, by="ops")
        broken = whole_config(config(two)).replace("access: none", f"access: {{to: {tmp_path}/none/log}}")
        assert not (await daemon.reload(broken)).ok
        assert (await daemon.reload(whole_config(config(two)), dry_run=True)).ok
        assert changes(daemon) == [(one.address, "drained")]
        assert await bodies(daemon) == {b"two"}


# ---------------------------------------------------------------------- by the command line
Program = Callable[..., Coroutine[None, None, Result]]


def program(socket: Path) -> Program:
    """The command line on a thread, because the daemon shares our loop."""

    async def run(*arguments: str) -> Result:
        line = ["--admin", f"unix:{socket}", *arguments]
        return await asyncio.to_thread(lambda: CliRunner().invoke(root, line, obj=Settings(), prog_name="proxyd"))

    return run


class Held:
    """The first two answers wait until they are let go."""

    def __init__(self, body: bytes) -> None:
        self.go, self.asked, self._talk = asyncio.Event(), 0, answer(200, body)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        self.asked += 1
        if self.asked <= 2:
            await self.go.wait()
        return await self._talk(reader, writer, head)


@THREADS
async def test_a_server_is_drained_replaced_and_readied_under_requests(threads: int, tmp_path: Path) -> None:
    socket, file = tmp_path / "admin.sock", tmp_path / "proxyd.yaml"
    async with Origin("one") as one, Origin("two") as two, Origin("new") as new:
        admin = f"admin: {{bind: 'unix:{socket}'}}\n"
        async with running(config(one, two) + admin, threads=threads, path=file, services=[AdminServer]) as daemon:
            run, name = program(socket), f"app/{one.address}"
            answers: list[Response] = []

            async def ask() -> None:
                async with connect(port_of(daemon)) as client:
                    while not over.is_set():
                        answers.append(await client.get())

            over = asyncio.Event()
            one.answer = held = Held(b"one")
            clients = [asyncio.create_task(ask()) for _ in range(4)]
            await until(lambda: held.asked > 4)

            late = await run("upstream", "drain", name, "--wait=50ms")
            assert late.exit_code == 1
            assert f"{name} is not idle" in late.stderr
            assert f"{one.address} (drain, draining): 2 in flight on 2 connections after " in late.stderr
            waiting = asyncio.create_task(run("upstream", "drain", name, "--wait"))
            before = len(answers)
            await until(lambda: len(answers) > before + 20, "the others serve on")
            seen = held.asked
            held.go.set()
            idle = await waiting
            assert idle.exit_code == 0, idle.output
            assert idle.stdout.splitlines()[0] == f"{name} is draining already"
            assert held.asked == seen, "nothing new came to it"

            assert (await run("upstream", "maint", name)).stdout == f"{name} is in maintenance\n"
            assert (await run("upstream", "add", "app", new.address, "--weight", "2")).stdout == f"app/{new.address} added\n"
            await until(lambda: new.heads)
            assert (await run("upstream", "weight", f"app/{two.address}", "4")).exit_code == 0
            diff = (await run("diff")).stdout.splitlines()
            assert diff[0] == f"{file} is the running config"
            assert [line.rpartition(" by ")[0] for line in diff[1:]] == [
                f"override: {name} in maintenance", f"override: app/{new.address} added, weight 2", f"override: app/{two.address} weight 4"]

            file.write_text(file.read_text().replace(one.address, f"{one.address}\", \"127.0.0.1:1"))
            shown = json.loads((await run("diff", "--json")).stdout)
            assert [change["text"] for change in shown["changes"]] == ["server app/127.0.0.1:1 added"]
            file.write_text(file.read_text().replace(", \"127.0.0.1:1\"", "") + "\n# changed\n")
            assert (await run("reload")).exit_code == 0
            assert [entry.server for entry in daemon.upstreams()[0].overrides] == [one.address, new.address, two.address]

            assert (await run("upstream", "ready", name, "--wait", "--json")).exit_code == 0
            await until(lambda: held.asked > seen)
            gone = await run("upstream", "remove", f"app/{new.address}", "--wait", "10s")
            assert gone.exit_code == 0
            assert "is idle after" in gone.stdout
            over.set()
            await asyncio.gather(*clients)
            assert {answer.status for answer in answers} == {200}
            assert (await run("upstream", "drain", "nope/x")).exit_code == 7
            assert (await run("upstream", "drain", "app/x")).exit_code == 7
