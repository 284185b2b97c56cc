"""The daemon with its real engines, inside the test's loop: what a user sees of start, reload, health and leaving."""
from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from proxyd.config.model import Config
from proxyd.daemon import Daemon
from proxyd.discovery.resolver import Answer
from proxyd.loading import Loaded
from proxyd.snapshot.explain import Question
from proxyd.sockets import Bound
from proxyd.state import DaemonError
from proxyd.transactions.reloading import Reloading
from tests.support.client import connect, get
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin, answer
from tests.support.wait import until

THREADS = pytest.mark.parametrize("threads", [0, 2])


def config(*origins: Origin, extra: str = "") -> str:
    servers = ", ".join(f'"{origin.address}"' for origin in origins)
    return f'listen: "127.0.0.1:0"\nto: app\nupstreams: {{app: {{servers: [{servers}]{extra}}}}}\n'


# ---------------------------------------------------------------------- start
@THREADS
async def test_it_serves(threads: int) -> None:
    async with Origin("one") as one, running(config(one), threads=threads) as daemon:
        assert (await get(port_of(daemon))).body == b"one"
        status = daemon.status()
        assert (status.phase, status.ready, status.generation, status.threads) == ("serving", True, 1, threads)
        assert [view.requests for view in status.upstreams[0].servers] == [1]
        assert [view.alive for view in status.engines] == [True] * max(threads, 1)
        assert [(view.route, view.requests) for view in daemon.routes()] == [("default", 1), ("-", 0)]


async def test_a_port_in_use_refuses_the_start_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        before = len(os.listdir("/proc/self/fd"))
        text = f"{{listen: ['unix:{tmp_path}/a.sock', '127.0.0.1:{port}'], routes: [{{respond: 200}}], log: {{access: none}}}}"
        with pytest.raises(DaemonError, match=f"127.0.0.1:{port}") as caught:
            await Daemon(text=text).start()
        found, = caught.value.diagnostics
        assert found.span is not None
        assert (found.code, found.path) == ("PXD-070", "listeners.default.bind[1]")
        assert text[found.span.column : found.span.end_column] == f"'127.0.0.1:{port}'"
        del caught       # its traceback holds the engines
        gc.collect()
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_broken_config_refuses_the_start() -> None:
    with pytest.raises(DaemonError) as caught:
        await Daemon(text="listen: 8080\n").start()
    assert caught.value.diagnostics


async def test_dead_servers_and_unknown_names_do_not_refuse_the_start() -> None:
    text = 'listen: "127.0.0.1:0"\nto: app\nupstreams: {app: {servers: ["127.0.0.1:1", "nothing.onion:80"]}}\n'
    async with running(text) as daemon:
        assert (await get(port_of(daemon))).status == 502
        states = {server.label: server.state for server in daemon.upstreams()[0].servers}
        assert states == {"127.0.0.1:1": "up", "nothing.onion:80": "unresolved"}
        assert "nothing.onion:80 does not resolve" in daemon.upstreams()[0].warning
        assert daemon.status().warnings == ("<text>:5:44: nothing.onion:80 does not resolve: domain name not found [PXD-090]",)


async def test_a_bad_source_disables_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    """Keys, tiers, shared limits and services that do not answer: the routes that need none of them serve from the start. A file of the
    config that goes later changes nothing until a reload, which is refused."""
    (tmp_path / "keys.yaml").write_text(f"shop: {'k' * 24}\n")
    (tmp_path / "proxyd.yaml").write_text(f"""
        listen: "127.0.0.1:0"
        admin: {{bind: "unix:{tmp_path}/admin.sock"}}
        routes:
          - {{match: /tokens, respond: 204, use: sso}}
          - {{match: /asked, respond: 204, use: asked}}
          - {{match: /keys, respond: 204, use: keys}}
          - {{match: /limited, respond: 204, use: everywhere}}
          - {{match: /cached, to: gone, cache: 10m}}
          - {{respond: 200}}
        upstreams: {{gone: ["nothing.onion:80"]}}
        policies:
          sso: {{auth: {{jwt: {{issuer: https://id.example, audience: shop, keys: "http://127.0.0.1:1/keys"}}}}}}
          asked: {{auth: {{forward: "http://127.0.0.1:1/ask"}}}}
          keys: {{auth: {{api_key: keys.yaml}}}}
          everywhere: {{rate_limit: {{rate: 100/s, burst: 50, scope: cluster}}}}
        cache: {{shared: {{redis: "redis://127.0.0.1:1/0"}}}}
        limits: {{redis: "redis://127.0.0.1:1/0"}}
    """)
    daemon = Daemon(path=tmp_path / "proxyd.yaml")
    await daemon.start()
    try:
        port = port_of(daemon)
        asked = {path: (await get(port, path)).status for path in ("/", "/limited", "/asked", "/cached", "/keys")}
        assert asked == {"/": 200, "/limited": 204, "/asked": 503, "/cached": 503, "/keys": 401}
        (tmp_path / "keys.yaml").unlink()
        result = await daemon.reload()
        assert (result.ok, [item.code for item in result.diagnostics if item.severity == "error"]) == (False, ["PXD-009"])
        assert (await get(port, "/")).status == 200
    finally:
        daemon.stop(now=True)
        await daemon.wait()


async def test_an_upstream_without_any_address_is_not_ready() -> None:
    text = 'listen: "127.0.0.1:0"\nto: app\nupstreams: {app: {servers: ["nothing.onion:80"]}}\n'
    async with running(text) as daemon:
        assert (await get(port_of(daemon))).status == 503
        assert daemon.not_ready() == ("upstream app has no usable server: nothing.onion:80 is unresolved (domain name not found)",)


async def test_localhost_is_a_name_that_needs_no_resolver() -> None:
    async with Origin("one") as one, running(f'listen: "127.0.0.1:0"\nto: "localhost:{one.port}"\n') as daemon:
        assert (await get(port_of(daemon))).body == b"one"
        server, = daemon.upstreams()[0].servers
        assert (server.label, server.source) == (f"127.0.0.1:{one.port}", f"localhost:{one.port}")


async def test_unix_sockets_on_both_sides(tmp_path: Path) -> None:
    async with (
        Origin("one", path=f"{tmp_path}/o.sock") as one,
        running(f"listen: 'unix:{tmp_path}/w.sock'\nto: '{one.address}'\n"),
        connect(path=f"{tmp_path}/w.sock") as client,
    ):
        assert (await client.get()).body == b"one"
    assert not (tmp_path / "w.sock").exists()


# ---------------------------------------------------------------------- reload
@THREADS
async def test_a_reload_moves_traffic_and_keeps_counters_and_connections(threads: int) -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one), threads=threads) as daemon:
        async with connect(port_of(daemon)) as client:
            assert (await client.get()).body == b"one"
            result = await daemon.reload(whole_config(config(two), threads=threads))
            assert (result.ok, result.changed, result.generation) == (True, True, 2)
            assert [change.text for change in result.plan] == [f"server app/{one.address} removed", f"server app/{two.address} added"]
            assert (await client.get()).body == b"two"
        routes = {view.route: view.requests for view in daemon.routes()}
        assert routes["default"] == 2
        await until(lambda: set(daemon._serving.store.servers) == {("app", two.address)}, "the old server is let go")


async def test_the_same_config_is_a_no_op() -> None:
    async with Origin("one") as one, running(config(one)) as daemon:
        result = await daemon.reload(whole_config(config(one)) + "# in other words\n")
        assert (result.ok, result.changed, result.generation, result.plan) == (True, False, 1, ())
        assert daemon.reloads == {"ok": 0, "unchanged": 1, "failed": 0}


async def test_a_broken_config_changes_nothing() -> None:
    async with Origin("one") as one, running(config(one)) as daemon:
        before = daemon.config_hash
        result = await daemon.reload("lissen: :80\nlisten: :80\n")
        assert (result.ok, result.config_hash) == (False, before)
        assert "PXD-021" in {item.code for item in result.diagnostics}
        assert daemon.last_reload_ok is False
        assert (await get(port_of(daemon))).body == b"one"


async def test_a_port_in_use_changes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        async with Origin("one") as one, running(config(one)) as daemon:
            port, taken = port_of(daemon), other.getsockname()[1]
            text = config(one).replace('listen: "127.0.0.1:0"', f'listen: ["127.0.0.1:0", "unix:{tmp_path}/a.sock", "127.0.0.1:{taken}"]')
            result = await daemon.reload(whole_config(text))
            found, = result.diagnostics
            assert (found.code, found.span and found.span.line) == ("PXD-070", 2)
            assert len(daemon.listener_entries()) == 1
            assert os.listdir(tmp_path) == []
            assert (await get(port)).body == b"one"


async def test_a_reload_whose_tests_fail_is_refused_and_a_start_is_not() -> None:
    async with Origin("one") as one:
        failing = config(one) + "tests: [{request: /x, route: default}, {request: /x, status: 404}]\n"
        async with running(failing) as daemon:
            assert (await get(port_of(daemon))).body == b"one"
            for dry_run in (True, False):
                result = await daemon.reload(whole_config(failing), dry_run=dry_run)
                assert (result.ok, result.generation) == (False, 1)
                item, = result.diagnostics
                assert (item.code, item.path, item.span is not None) == ("PXD-055", "tests[1].status", True)
            assert (await daemon.reload(whole_config(config(one)))).ok


async def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path) -> None:
    async with Origin("one") as one, running(f"listen: 'unix:{tmp_path}/w.sock'\nto: '{one.address}'\n") as daemon:
        # Another name for the same socket path: trying it must not replace the file that serves.
        text = f"listeners: {{other: {{bind: 'unix:{tmp_path}/w.sock'}}}}\nto: '127.0.0.1:1'\n"
        result = await daemon.reload(whole_config(text), dry_run=True)
        assert (result.ok, result.dry_run, result.changed, result.generation) == (True, True, True, 1)
        assert result.config_hash != daemon.config_hash
        assert result.plan
        assert daemon.reloads == {"ok": 0, "unchanged": 0, "failed": 0}
        async with connect(path=f"{tmp_path}/w.sock") as client:
            assert (await client.get()).body == b"one"


@THREADS
async def test_listeners_come_and_go(threads: int) -> None:
    async with Origin("one") as one, running(config(one), threads=threads) as daemon:
        first = port_of(daemon)
        added = f'listeners: {{default: {{bind: "127.0.0.1:0"}}, more: {{bind: "127.0.0.1:0", to: "{one.address}"}}}}\n'
        rest = config(one).partition("\n")[2]
        assert (await daemon.reload(whole_config(added + rest, threads=threads))).ok
        assert port_of(daemon) == first
        second = port_of(daemon, "more")
        assert (await get(second)).body == b"one"
        assert (await daemon.reload(whole_config(config(one), threads=threads))).ok
        with pytest.raises(ConnectionRefusedError):
            await get(second)
        assert (await get(first)).body == b"one"
        # and back: the name returns as a new socket
        assert (await daemon.reload(whole_config(added + rest, threads=threads))).ok
        assert (await get(port_of(daemon, "more"))).body == b"one"


async def test_our_own_port_may_change_its_address() -> None:
    async with Origin("one") as one, running(config(one)) as daemon:
        port = port_of(daemon)
        for bind in (f"127.0.0.1:{port}", f":{port}", f"127.0.0.1:{port}"):
            result = await daemon.reload(whole_config(config(one).replace("127.0.0.1:0", bind)))
            assert result.ok, result.diagnostics
            assert [entry.address for entry in daemon.listener_entries()] == [bind]
            assert (await get(port)).body == b"one"


async def test_threads_cannot_change_and_the_rest_does() -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one)) as daemon:
        result = await daemon.reload(whole_config(config(two), threads=3))
        assert [(item.code, item.severity) for item in result.diagnostics] == [("PXD-210", "warning")]
        assert (await get(port_of(daemon))).body == b"two"
        # it stays said until the process starts anew
        again = await daemon.reload(whole_config(config(one), threads=3))
        assert [item.code for item in again.diagnostics] == ["PXD-210"]
        assert (await daemon.reload(whole_config(config(one)))).diagnostics == ()


async def test_reloads_take_turns() -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one), threads=2) as daemon:
        texts = [whole_config(config(origin), threads=2) for origin in (two, one) * 5]
        results = await asyncio.gather(*(daemon.reload(text) for text in texts))
        assert [result.generation for result in results] == list(range(2, 12))
        assert (await get(port_of(daemon))).body == b"one"


async def test_a_new_name_that_does_not_resolve_is_a_warning() -> None:
    async with Origin("one") as one, running(config(one)) as daemon:
        for dry_run in (True, False):
            text = config(one).replace("servers: [", 'servers: ["nothing.onion:80", ')
            result = await daemon.reload(whole_config(text), dry_run=dry_run)
            assert result.ok
            found, = result.diagnostics
            assert (found.code, found.severity, found.path) == ("PXD-090", "warning", "upstreams.app.servers[0].address")
            assert found.span is not None
            assert (found.span.line, found.span.column) == (4, text.splitlines()[2].index('"nothing'))
        assert daemon.status().warnings[0].startswith("<text>:5:")
        assert (await get(port_of(daemon))).body == b"one"


async def test_a_reload_goes_on_when_its_caller_goes_away() -> None:
    async with Origin("one") as one, Origin("two") as two, running(config(one), threads=2) as daemon:
        caller = asyncio.create_task(daemon.reload(whole_config(config(two), threads=2)))
        await asyncio.sleep(0)
        caller.cancel()
        await until(lambda: daemon.generation == 2)
        assert (await get(port_of(daemon))).body == b"two"


class Refusing:
    """A service that refuses every config with a route called `bad`."""

    def __init__(self, daemon: Daemon) -> None:
        self.seen: list[str] = []

    async def apply(self, config: Config) -> None:
        self.seen.append(config.routes[0].name)
        if config.routes[0].name == "bad":
            raise DaemonError("no such thing")

    async def begin(self) -> None:
        self.seen.append("begin")

    def bounds(self) -> Sequence[Bound]:
        return ()

    async def hand_over(self) -> None:
        self.seen.append("handed over")

    async def close(self) -> None:
        self.seen.append("closed")


async def test_a_service_that_refuses_stops_the_reload_and_goes_back() -> None:
    made: list[Refusing] = []

    def factory(daemon: Daemon) -> Refusing:
        made.append(Refusing(daemon))
        return made[-1]

    text = "listen: '127.0.0.1:0'\nroutes: [{name: good, respond: {body: old}}]\n"
    async with running(text, services=[factory]) as daemon:
        result = await daemon.reload(whole_config(text.replace("good", "bad").replace("old", "new")))
        assert not result.ok
        assert (await get(port_of(daemon))).body == b"old"
    assert made[0].seen == ["good", "begin", "bad", "good", "closed"]


# ---------------------------------------------------------------------- health
async def test_a_failing_check_takes_a_server_out_and_a_passing_one_brings_it_back() -> None:
    health = ", health: {active: {path: /z, interval: 100ms, timeout: 100ms, rise: 2, fall: 2}}"
    async with Origin("one") as one, Origin("two") as two, running(config(one, two, extra=health)) as daemon:
        await until(lambda: all(server.checks[0].passed for server in daemon.upstreams()[0].servers))
        two.answer = answer(500)
        before = daemon.upstreams()[0].servers
        assert [server.state for server in before] == ["up", "up"]
        await until(lambda: daemon.upstreams()[0].servers[1].state == "down")
        good, bad = daemon.upstreams()[0].servers
        assert bad.reason == "check failed: status 500, expected 200-299"
        assert good.since == before[0].since
        assert before[1].since < bad.since <= time.time()
        assert {(await get(port_of(daemon))).body for _ in range(6)} == {b"one"}
        assert daemon.status().ready
        two.answer = answer(200, b"two")
        await until(lambda: daemon.upstreams()[0].usable == 2)
        assert daemon.upstreams()[0].servers[1].since > bad.since
        assert {(await get(port_of(daemon))).body for _ in range(6)} == {b"one", b"two"}


async def test_with_all_servers_down_it_is_not_ready_and_says_why() -> None:
    health = ", health: {active: {path: /z, interval: 100ms, timeout: 100ms}}"
    text = config(Origin("gone"), extra=health).replace("127.0.0.1:0\"]", "127.0.0.1:1\"]")
    probes = 'routes: [{match: /ready, respond: {probe: ready}}, {match: /live, respond: {probe: live}}, {to: app}]\n'
    async with running(text.replace("to: app\n", probes)) as daemon:
        await until(lambda: daemon.upstreams()[0].servers[0].state == "down")
        port = port_of(daemon)
        ready = await get(port, "/ready")
        assert ready.status == 503
        assert json.loads(ready.body)["reasons"] == [
            "upstream app has no usable server: 127.0.0.1:1 is down (check failed: connection refused)"
        ]
        live = await get(port, "/live")
        assert (live.status, json.loads(live.body)) == (200, {"status": "live"})
        assert (await get(port)).status == 503


async def test_a_server_that_fails_is_ejected_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    passive = ", health: {passive: {consecutive_5xx: 3, eject: 30s}}"
    async with Origin("one") as one, Origin("two") as two, running(config(one, two, extra=passive)) as daemon:
        await two.refuse()
        port = port_of(daemon)
        assert {(await get(port)).status for _ in range(8)} == {200}
        await until(lambda: daemon.upstreams()[0].servers[1].state == "ejected")
        assert "connection refused" in daemon.upstreams()[0].servers[1].reason
    lines = [record.getMessage() for record in caplog.records if record.name == "proxyd.health"]
    assert lines == [f"app: {two.address} left: connection refused 3 times; back in 30 s"]


# ---------------------------------------------------------------------- names
class Zone:
    """A resolver whose one record the test writes."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def lookup(self, name: str) -> Answer:
        return Answer(self.addresses, 0.05)

    async def close(self) -> None: ...


async def test_a_name_that_moves_takes_its_traffic_along() -> None:
    zone = Zone("127.0.0.1")
    async with Origin("one") as one, Origin("two", host="127.0.0.2", port=one.port) as two:
        text = f'listen: "127.0.0.1:0"\nto: app\nupstreams: {{app: {{servers: ["app.internal:{one.port}"]}}}}\n'
        async with running(text, resolver=lambda: zone) as daemon:
            before = daemon.config_hash
            assert (await get(port_of(daemon))).body == b"one"
            zone.addresses = ("127.0.0.2",)
            await until(lambda: daemon.generation == 2)
            assert (await get(port_of(daemon))).body == b"two"
            assert daemon.config_hash == before
            assert [server.label for server in daemon.upstreams()[0].servers] == [two.address]


# ---------------------------------------------------------------------- leaving
@THREADS
async def test_a_drain_lets_a_request_finish_and_takes_no_new_connection(threads: int) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        begun.set()
        await go_on.wait()
        return await answer(200, b"late")(reader, writer, head)

    async with Origin("one") as one, running(config(one), threads=threads) as daemon:
        one.answer = slow
        port = port_of(daemon)
        async with connect(port) as client:
            request = asyncio.create_task(client.get())
            await begun.wait()
            daemon.stop()
            left = asyncio.create_task(daemon.wait())
            await until(lambda: _refused(port), "the listener closes")
            assert daemon.not_ready() == ("proxyd is draining",)
            go_on.set()
            assert (await request).body == b"late"
            assert await left == 0
        assert daemon.phase == "stopped"


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_a_second_stop_cuts_the_drain_short(caplog: pytest.LogCaptureFixture) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        await reader.read()
        return False

    async with Origin("one") as one, running(config(one)) as daemon:
        one.answer = never
        async with connect(port_of(daemon)) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: one.heads)
            daemon.stop()
            left = asyncio.create_task(daemon.wait())
            await until(lambda: daemon.phase == "draining")
            daemon.stop(now=True)
            assert await left == 0
            assert await client.reader.read() == b"", "cut off without an answer"
    assert "leaving at once: 1 request cut off" in caplog.text


async def test_an_idle_keep_alive_connection_does_not_hold_up_a_drain() -> None:
    async with Origin("one") as one, running(config(one), threads=2) as daemon, connect(port_of(daemon)) as client:
        await client.get()
        daemon.stop()
        async with asyncio.timeout(5):
            assert await daemon.wait() == 0
        assert await client.ended()


async def test_an_engine_that_dies_takes_the_daemon_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async with Origin("one") as one, running(config(one), threads=2) as daemon:
        daemon.engine_entries()[1].engine.close()     # it leaves its thread without having been told so by the daemon
        async with asyncio.timeout(5):
            assert await daemon.wait() == 1
    assert "engine 1 ended unexpectedly" in caplog.text


# ---------------------------------------------------------------------- signals, logs, the service manager
class Terminated:
    """A service that takes its time to begin; meanwhile a client comes, and the daemon is told to leave."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    async def apply(self, config: Config) -> None: ...

    async def begin(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port_of(self.daemon))
        self.writer.write(b"GET / HTTP/1.1\r\n")
        await self.writer.drain()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(self.daemon._stop.is_set, "the daemon has heard it")

    def bounds(self) -> tuple[Bound, ...]:
        return ()

    async def hand_over(self) -> None: ...

    async def close(self) -> None: ...


async def test_a_signal_while_the_daemon_starts_cuts_nobody_off() -> None:
    made: list[Terminated] = []

    def factory(daemon: Daemon) -> Terminated:
        made.append(Terminated(daemon))
        return made[-1]

    text = whole_config("listen: '127.0.0.1:0'\nroutes: [{respond: {body: served}}]\n", threads=1)
    daemon = Daemon(text=text, services=[factory], signals=True)
    await daemon.start()
    leaves = asyncio.ensure_future(daemon.wait())
    made[0].writer.write(b"Host: a\r\n\r\n")
    assert (await made[0].reader.read()).endswith(b"served")
    made[0].writer.close()
    async with asyncio.timeout(10):
        assert await leaves == 0


async def test_hup_reloads_the_file_and_term_drains(tmp_path: Path) -> None:
    path = tmp_path / "proxyd.yaml"
    async with Origin("one") as one, Origin("two") as two, running(config(one), path=path) as daemon:
        daemon.install_signals()
        path.write_text(whole_config(config(two)))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: daemon.generation == 2)
        assert (await get(port_of(daemon))).body == b"two"
        assert daemon.config_text == path.read_text()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await daemon.wait() == 0


async def test_a_broken_file_at_hup_is_told_with_each_error_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "proxyd.yaml"
    async with Origin("one") as one, running(config(one), path=path) as daemon:
        daemon.install_signals()
        path.write_text("listen: 80\nto: [x]\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: daemon.reloads["failed"] == 1)
        await until(lambda: len([record for record in caplog.records if record.levelname == "ERROR"]) == 2)
        first, second = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
        assert first.startswith("reload refused, the old config serves on: ")
        assert "proxyd.yaml:1:9: `80` is a port without an address" in first
        assert "proxyd.yaml:2:6: the address `x` lacks a port" in second
        assert (await get(port_of(daemon))).body == b"one"


async def test_watch_follows_a_file_that_changes_while_it_is_read_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "proxyd.yaml"
    async with Origin("one") as one, Origin("two") as two:
        load = Reloading.load

        def load_and_change(self: Reloading) -> Loaded:
            monkeypatch.undo()
            loaded = load(self)
            path.write_text(whole_config(config(two)))
            return loaded

        monkeypatch.setattr(Reloading, "load", load_and_change)
        async with running(config(one), path=path, watch=True) as daemon:
            await until(lambda: daemon.generation == 2)
            assert (await get(port_of(daemon))).body == b"two"


async def test_watch_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "proxyd.yaml"
    async with Origin("one") as one, Origin("two") as two, running(config(one), path=path, watch=True) as daemon:
        path.write_text(whole_config(config(two)))
        await until(lambda: daemon.generation == 2)
        assert (await get(port_of(daemon))).body == b"two"


@THREADS
async def test_the_access_log_is_written_and_reopened(tmp_path: Path, threads: int) -> None:
    log, moved = tmp_path / "access.log", tmp_path / "access.1"
    access = f"{{to: {log}, format: json}}"
    async with Origin("one") as one, running(config(one), threads=threads, access=access) as daemon:
        port = port_of(daemon)
        await get(port, "/first")
        await until(lambda: "/first" in log.read_text())
        log.rename(moved)
        daemon.reopen_logs()
        await get(port, "/second")
        await until(lambda: log.exists() and "/second" in log.read_text())
        assert "/second" not in moved.read_text()
        entry, = daemon.log_entries()
        assert (entry.sink, entry.written, entry.dropped) == ("access", 2, 0)
    assert all(json.loads(line) for line in log.read_text().splitlines())


@THREADS
async def test_a_reload_changes_the_access_log_without_losing_a_record(tmp_path: Path, threads: int) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    logs = (f"{{to: {one}, format: json}}", f"{{to: {two}, format: json}}", f"{{to: {two}, format: combined}}", "none", f"{{to: {three}}}")
    text = 'listen: "127.0.0.1:0"\nroutes: [{respond: 200}]\n'
    async with running(text, threads=threads, access=logs[0]) as daemon, connect(port_of(daemon)) as client:
        for number, access in enumerate(logs):
            result = await daemon.reload(whole_config(text, threads=threads, access=access))
            assert (result.ok, result.diagnostics) == (True, ())
            await client.get(f"/{number}")
        await until(lambda: three.exists() and three.read_text())
        assert json.loads(one.read_text())["path"] == "/0"
        second, third = two.read_text().splitlines()
        assert json.loads(second)["path"] == "/1"
        assert '"GET /2 HTTP/1.1"' in third
        assert json.loads(three.read_text())["path"] == "/4"


async def test_a_log_that_cannot_be_opened_changes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    text = 'listen: "127.0.0.1:0"\nroutes: [{respond: 200}]\n'
    async with running(text, access=f"{{to: {log}, format: json}}") as daemon:
        result = await daemon.reload(whole_config(text, access=f"{{to: {tmp_path}/none/access.log}}"))
        found, = result.diagnostics
        assert found.span is not None
        assert (found.code, found.span.line, found.span.column) == ("PXD-213", 1, 19)
        await get(port_of(daemon))
        await until(log.read_text)


async def test_the_service_manager_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        loop = asyncio.get_running_loop()
        async with Origin("one") as one, running(config(one), threads=2) as daemon:
            kept = f"FDSTORE=1\nFDNAME=proxyd-127.0.0.1%3A{port_of(daemon)}\nFDPOLL=0"
            assert await loop.sock_recv(manager, 1000) == kept.encode()
            assert (await loop.sock_recv(manager, 1000)).startswith(b"READY=1\nSTATUS=serving")
            for _ in range(3):
                assert await loop.sock_recv(manager, 1000) == b"WATCHDOG=1"
        heard: list[bytes] = []
        while not heard or not heard[-1].startswith(b"STOPPING=1"):
            heard.append(await loop.sock_recv(manager, 1000))


async def test_a_route_is_explained_by_the_native_table() -> None:
    text = """
        listen: "127.0.0.1:0"
        routes:
          - {name: api, match: GET example.com/api/*, to: app}
          - {name: rest, respond: 404}
        upstreams: {app: {servers: ["127.0.0.1:1"]}}
    """
    async with running(text) as daemon:
        hit, = daemon.explain(Question("GET", "example.com", "/x/../api/1"))
        assert (hit.route, hit.action, hit.path, hit.upstreams, hit.why_not) == ("api", "to app", "/api/1", ("app",), ())
        miss, = daemon.explain(Question("POST", "other.com", "/api/1"))
        assert (miss.route, miss.action) == ("rest", "respond 404")
        assert miss.why_not == (("api", ("method", "host")),)
        refused, = daemon.explain(Question("GET", "example.com", "/../../x"))
        assert refused.route is None
        assert refused.action.startswith("400 ")
        assert daemon.explain(Question("GET", "x", "/", listener="none")) == ()
        target, = hit.targets
        assert (target.upstream, target.share, target.balance) == ("app", 1.0, "round_robin")
        assert [(server.label, server.state) for server in target.servers] == [("127.0.0.1:1", "up")]
