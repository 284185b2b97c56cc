"""A deploy, server by server, as an operator's script does it: drain, replace, ready. Clients notice nothing."""
from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fickle import DOWNLOAD_BYTES, Fickle
from tests.acceptance.stage import ROOT, Load, Process, Proxyd, Wrk, ending, free_port, until

SERVERS = 3
DELAY_MS = 20       # so that a drain always has something to wait for
CHECK = "{active: {path: /healthz, interval: 200ms, timeout: 150ms, rise: 1, fall: 2}}"


class Fleet:
    """Three servers behind a daemon."""

    def __init__(self, folder: Path, health: str) -> None:
        self.folder, self.port = folder, free_port()
        self.started: list[Process] = []
        self.servers = [self.start(f"app{i}") for i in range(SERVERS)]
        members = ", ".join(f"'{server.address}'" for server in self.servers)
        self.proxyd = Proxyd(folder, (
            f"listen: '127.0.0.1:{self.port}'\nlog: {{access: none}}\n"
            f"upstreams: {{api: {{servers: [{members}], health: {health}}}}}\nroutes: [{{to: api}}]\n"
        ))
        self.started.append(self.proxyd)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "proxyd", "--admin", self.proxyd.admin, "upstream"]

    def order(self, verb: str, *arguments: str) -> str:
        """`proxyd upstream VERB …`, which must go well; what it says."""
        command = [*self.command, verb, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        assert done.returncode == 0, f"{verb} {arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name: str, port: int | None = None) -> Fickle:
        server = Fickle(self.folder, name, port)
        self.started.append(server)
        server.mood(200, delay_ms=DELAY_MS)
        return server

    def served(self, server: Fickle) -> float:
        return self.proxyd.total("proxyd_upstream_requests_total", f'server="{server.address}"')

    def in_flight(self, server: Fickle) -> float:
        return self.proxyd.total("proxyd_upstream_server_requests_in_flight", f'server="{server.address}"')

    def until_serving(self, server: Fickle) -> None:
        before = self.served(server)
        until(lambda: self.served(server) > before + 100, f"{server.name} serves")


@pytest.fixture(params=["none", CHECK], ids=["passive", "active"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """With passive health only, and with active checks as well: then a server that is back serves after its first pass."""
    health: str = request.param
    fleet = Fleet(tmp_path, "{active: none}" if health == "none" else health)
    try:
        yield fleet
        assert fleet.proxyd.end() == 0
    finally:
        with ending(*fleet.started):
            pass


def under_load(fleet: Fleet) -> Wrk:
    wrk = Wrk(fleet.folder, f"http://127.0.0.1:{fleet.port}/")
    fleet.started.append(wrk)
    for server in fleet.servers:
        fleet.until_serving(server)
    return wrk


def unharmed(load: Load, what: str) -> None:
    print(f"\n{what}: {load.requests} requests, {load.failed} failed")
    assert load.requests > 1000
    assert (load.failed, load.errors) == (0, {}), load


def test_replaced_at_the_same_address(fleet: Fleet) -> None:
    wrk = under_load(fleet)
    for server in fleet.servers:
        name = f"api/{server.address}"
        fleet.order("drain", name, "--wait")
        assert fleet.in_flight(server) == 0
        served = fleet.served(server)
        server.kill()
        others = [other for other in fleet.servers if other is not server]
        for other in others:
            fleet.until_serving(other)
        assert fleet.served(server) == served, "a drained server gets nothing"
        again = fleet.start(f"{server.name}-new", server.port)
        fleet.order("ready", name)
        fleet.until_serving(again)
    unharmed(wrk.stop(), "replaced at the same address")
    assert fleet.proxyd.total("proxyd_http_retries_total") == 0, "not by trying again, either"
    assert fleet.proxyd.total("proxyd_upstream_errors_total") == 0


def test_replaced_by_another_address(fleet: Fleet) -> None:
    wrk = under_load(fleet)
    replaced = []
    for server in fleet.servers:
        new = fleet.start(f"{server.name}-new")
        replaced.append(new)
        fleet.order("add", "api", new.address)
        fleet.until_serving(new)
        fleet.order("drain", f"api/{server.address}", "--wait")
        fleet.order("remove", f"api/{server.address}")
        server.kill()
    unharmed(wrk.stop(), "replaced by another address")
    assert fleet.proxyd.total("proxyd_upstream_errors_total") == 0
    [upstream] = [entry for entry in fleet.proxyd.status()["upstreams"] if entry["name"] == "api"]
    assert {server["label"] for server in upstream["servers"]} == {new.address for new in replaced}


async def test_stragglers_are_told_and_waited_for(fleet: Fleet) -> None:
    """A download that is under way ends as if nothing had been; the drain ends with it."""
    server, port = fleet.servers[0], fleet.port
    for other in fleet.servers[1:]:
        fleet.order("drain", f"api/{other.address}", "--wait")     # so that the download is where the script wants it
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /download HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    for other in fleet.servers[1:]:
        fleet.order("ready", f"api/{other.address}")
    drain = Process([*fleet.command, "drain", f"api/{server.address}", "--wait"], fleet.folder / "drain.log")
    fleet.started.append(drain)
    await asyncio.to_thread(until, lambda: "1 request in flight" in drain.output(), "the straggler is told")
    assert server.address in drain.output()
    assert drain.alive
    assert fleet.in_flight(server) == 1
    server.release()
    assert len(await asyncio.wait_for(reader.readexactly(DOWNLOAD_BYTES), 20)) == DOWNLOAD_BYTES
    await asyncio.to_thread(until, lambda: not drain.alive, "the drain is over")
    assert drain.child.returncode == 0, drain.output()
    print("\n" + drain.output())
    writer.close()
