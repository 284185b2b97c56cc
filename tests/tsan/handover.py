"""Snapshots handed to two engines under load: reloads that change a route, a weight, the servers and now and then a listener, while clients
ask for all of it, the consult door is used, counters are read and access records are written.

Everything that two threads share on the data plane is touched at once; ThreadSanitizer watches (run.py). Not a test of behaviour: the
answers are only checked to be answers.
"""
from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from proxyd.daemon import Daemon
from tests.support.client import connect
from tests.support.daemon import port_of
from tests.support.origin import Origin
from tests.support.wait import until

RELOADS = 40
CLIENTS = 8
PATHS = ("/", "/ready", "/fixed", "/moved", "/none")
BALANCES = ("round_robin", "least_conn", "p2c", "random", "{hash: path}")


def config(turn: int, servers: list[str], log: Path, folder: Path) -> str:
    members = ", ".join(f"{{address: '{server}', weight: {1 + (turn + i) % 3}}}" for i, server in enumerate(servers) if (turn + i) % 4)
    second = f"  second: {{bind: ['unix:{folder}/second.sock']}}\n" if turn % 10 < 5 else ""
    return (
        f"runtime: {{threads: 2}}\nlog: {{access: {{to: '{log}', format: json}}}}\n"
        f"listeners:\n  default: {{bind: ['127.0.0.1:0']}}\n{second}"
        f"upstreams: {{app: {{servers: [{members}], balance: {BALANCES[turn // 4 % len(BALANCES)]}}}}}\n"
        "routes:\n  - {match: /ready, respond: {probe: ready}}\n"
        f"  - {{match: /fixed, respond: {{body: 'turn {turn}'}}}}\n  - {{match: /moved, redirect: {{to: '/?{turn}'}}}}\n  - to: app\n"
    )


async def ask(port: int, stop: asyncio.Event, asked: list[int], number: int) -> None:
    """One client: a few requests a connection, then a new one, so that connections land on both engines."""
    while not stop.is_set():
        async with connect(port) as client:
            for i in range(5):
                response = await client.get(PATHS[(number + i) % len(PATHS)])
                assert response.status in (200, 302, 303, 307, 308), response
                asked[number] += 1


async def served(asked: list[int], wanted: int, clients: list[asyncio.Task[None]]) -> None:
    """Wait until the clients have got that many answers, or one of them has failed."""
    await until(lambda: sum(asked) >= wanted or any(client.done() for client in clients), seconds=60)


async def main() -> None:
    asked = [0] * CLIENTS
    stop = asyncio.Event()
    with TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "access.log"
        async with Origin("one") as one, Origin("two") as two, Origin("three") as three:
            servers = [origin.address for origin in (one, two, three)]
            daemon = Daemon(text=config(1, servers, log, folder))
            await daemon.start()
            clients = [asyncio.create_task(ask(port_of(daemon), stop, asked, number)) for number in range(CLIENTS)]
            for turn in range(2, RELOADS + 2):
                result = await daemon.reload(config(turn, servers, log, folder))
                assert (result.ok, result.changed) == (True, True), result
                daemon.status(), daemon.upstreams(), daemon.routes()
                await served(asked, sum(asked) + 12 * CLIENTS, clients)
            stop.set()
            await asyncio.gather(*clients)
            daemon.stop()
            await daemon.wait()
        lines = log.read_bytes().count(b"\n")
    print(f"{RELOADS} reloads, {sum(asked)} requests, {lines} access records")


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    asyncio.run(main())
