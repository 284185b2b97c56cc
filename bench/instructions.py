"""User-space instructions that an engine spends on a proxied request, with few and with many servers and routes, without filters and
with them: `--help`.

An inline engine, a client and an origin in one process under callgrind, which counts only inside the engine's turns. Between two marks the
process serves a number of requests, then twice as many: the difference, divided by the number of requests, is what one costs, without
start-up, connecting and warming up. Cycles, caches and the kernel are not in it; what is in it is exact, on a noisy machine too.

Exit code 1 when more than `--limit` percent are added by 1,000 servers against 2, or by 10,000 routes against 10, or more than is promised
by a filter (harness/filters.py).
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.filters import BOUNDS, FOREVER_MS, ROWS, VERDICT, Filtered

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.engine import Engine
from proxyd_ext.io.listener import Listener
from proxyd_ext.route.stats import RouteStats
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import Balance, ListenerSpec, MemberSpec, ProxyAction, RouteSpec, SnapshotSpec, TargetSpec, UpstreamSpec

BALANCES: tuple[Balance, ...] = ("round_robin", "least_conn", "p2c", "ewma", "random", "first", "hash", "maglev")
REQUESTS = 500                 # between the first two marks; twice as many between the next two: whole rounds of the paths
PATHS = REQUESTS               # that are asked for in turn: keys for the hashing balancers
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TURN = "__pyx_f_*engine__turn"             # as Cython names engine.pyx:_turn ...
MARK = "__pyx_pw_*Engine_*stats"           # ... and Engine.stats, which the worker calls as a mark


@dataclass(frozen=True, slots=True)
class Setup:
    balance: Balance
    servers: int
    routes: int
    fields: str = ""           # of which row the requests are; "": they bring no field of their own
    filters: str = ""          # of which row the routes are; "": they have no filters


# ---- within callgrind ----


class World:
    """One engine, one client's connection, one origin behind all servers: each server has connections of its own to it."""

    def __init__(self, setup: Setup) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.origin = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.origin.setblocking(False)
        self.ready = select.epoll()
        self.ready.register(self.origin, select.EPOLLIN)
        self.connections: dict[int, socket.socket] = {}
        self.filtered = ROWS[setup.filters].build() if setup.filters else Filtered()
        self.targets = targets(setup.routes, ROWS[setup.fields].fields if setup.fields else ("",))
        self.asked = 0
        self.engine = Engine(0, 1, inline=True, fake_clock=True)
        self.engine.publish(self.snapshot(setup))
        self.engine.poll()
        self.client = socket.create_connection(("127.0.0.1", self.port))
        self.client.setblocking(False)

    def snapshot(self, setup: Setup) -> Snapshot:
        address = self.origin.getsockname()
        members = [MemberSpec(Server("app", f"10.0.{i >> 8}.{i & 255:03}:8080", address)) for i in range(setup.servers)]
        upstream = UpstreamSpec("app", UpstreamState("app"), members, balance=setup.balance, hash_key="path")
        action = ProxyAction([TargetSpec(0)])
        filters, lane = self.filtered.filters, self.filtered.lane
        routes = [
            RouteSpec(f"r{i}", action, host=host, path=path, filters=filters, lane=lane)
            for i, (host, path) in enumerate(shape(setup.routes))
        ]
        door = socket.create_server(("127.0.0.1", 0))
        door.setblocking(False)
        self.port = door.getsockname()[1]
        listener = Listener("web", f"127.0.0.1:{self.port}", [door.detach()], False)
        stats = [RouteStats("web", route.name) for route in routes] + [RouteStats("web", "-")]
        return Snapshot(SnapshotSpec(1, "", [ListenerSpec(listener, "web", 0, stats)], [routes], [upstream]))

    def serve(self, count: int) -> None:
        """So many requests, one after the other."""
        for _ in range(count):
            self.asked += 1
            self.client.send(self.targets[self.asked * 7919 % len(self.targets)])
            while True:
                self.engine.poll()
                try:
                    answer = self.client.recv(4096)
                except BlockingIOError:
                    self.decide()
                    self.turn_origin()
                    continue
                if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"ok"):
                    raise SystemExit(f"not what was expected: {answer!r}")
                break

    def decide(self) -> None:
        """The first request with a token asks what becomes of it; from then on the verdict is remembered."""
        for event in self.engine.take_events():
            if event[0] == "decide" and self.filtered.remembered is not None:
                _, slot, generation, _, _, _, digest = event
                self.filtered.remembered.put(digest, VERDICT, FOREVER_MS)
                self.engine.decide(slot, generation, VERDICT)

    def turn_origin(self) -> None:
        for fd, _ in self.ready.poll(0.05):
            if fd == self.origin.fileno():
                connection, _ = self.origin.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections[connection.fileno()] = connection
                self.ready.register(connection, select.EPOLLIN)
            elif self.connections[fd].recv(4096):
                self.connections[fd].send(ANSWER)


def shape(routes: int) -> list[tuple[str, str]]:
    """(host, path) of each: hosts with about as many paths each as there are hosts."""
    hosts = max(1, int(routes**0.5))
    return [(f"host-{i % hosts:05}.example", f"/part-{i // hosts:05}/") for i in range(routes)]


def targets(routes: int, fields: Sequence[str]) -> list[bytes]:
    """Requests of equal length, spread over the routes, each with one of the fields."""
    every = shape(routes)
    out = []
    for i in range(max(PATHS, len(fields))):
        item = i % PATHS
        host, path = every[item * len(every) // PATHS]
        more = fields[i % len(fields)]
        out.append(f"GET {path}item-{item:05} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n{more}\r\n".encode())
    return out


def work(setup: Setup) -> None:
    world = World(setup)
    world.serve(2 * setup.servers + REQUESTS)      # every server has its connection, whichever the order
    for count in (0, REQUESTS, 2 * REQUESTS):
        world.serve(count)
        world.engine.stats()
    # The process ends here; nothing of its end is measured.
    sys.stdout.flush()
    os._exit(0)


# ---- outside ----


def totals(folder: Path) -> list[int]:
    """Instructions before the first mark, and from mark to mark; what follows the last one is in a file without a number."""
    counts = []
    for each in sorted(folder.glob("out.*"), key=lambda path: int(path.suffix[1:])):
        found = re.search(r"^(?:totals|summary): (\d+)", each.read_text(), re.MULTILINE)
        if found:
            counts.append(int(found[1]))
    return counts


@cache
def instructions(setup: Setup) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", "--collect-atstart=no",
            f"--toggle-collect={TURN}", f"--dump-before={MARK}",
            sys.executable, __file__, "--worker",
            ",".join((setup.balance, str(setup.servers), str(setup.routes), setup.fields, setup.filters)),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: {' '.join(command)}\n{done.stdout}{done.stderr}")
        counts = totals(folder)
    if len(counts) < 3 or not counts[1]:
        raise SystemExit(f"bench: callgrind found no marks: {counts}; does the engine still name them {TURN} and {MARK}?")
    return (counts[2] - counts[1]) / REQUESTS


def compare(title: str, few: Setup, many: Setup, limit: float | None) -> tuple[str, bool]:
    """A row of the table, and whether it is within its limit (percent; None: there is none)."""
    base, other = instructions(few), instructions(many)
    ratio = other / base
    fine = limit is None or ratio <= 1 + limit / 100
    line = f"| {title} | {base:,.0f} | {other:,.0f} | **{ratio:.4f}**{'' if fine or limit is None else f' above {1 + limit / 100:g}'} |"
    print(line, file=sys.stderr)
    return line, fine


def compare_filters(name: str) -> tuple[str, bool]:
    row = ROWS[name]
    fields = name if row.fields != ("",) else ""
    return compare(row.title, Setup("round_robin", 2, 1, fields), Setup("round_robin", 2, 1, fields, name), BOUNDS.get(name))


def table(columns: str, rows: Sequence[tuple[str, bool]]) -> str:
    return "\n".join([f"| instructions a request | {columns} | ratio |", "|---|--:|--:|--:|", *(line for line, _ in rows), ""])


def main(arguments: Sequence[str]) -> int:
    p = argparse.ArgumentParser(prog="bench/instructions.py", description="User-space instructions per proxied request, by callgrind.")
    p.add_argument("--balances", default="round_robin,least_conn,p2c,hash", help="of " + ", ".join(BALANCES) + ", all or none")
    p.add_argument("--filters", default=",".join(ROWS), help="of " + ", ".join(ROWS) + ", or none")
    p.add_argument("--limit", type=float, default=5.0, help="percent that many may cost more than few (default 5)")
    p.add_argument("--out", type=Path, help="write the table there, too")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    options = p.parse_args(arguments)
    if options.worker:
        balance, servers, routes, fields, filters = options.worker.split(",")
        work(Setup(balance, int(servers), int(routes), fields, filters))
    if not shutil.which("valgrind"):
        raise SystemExit("bench: valgrind not found. Install with:\n    sudo apt-get install valgrind")
    wanted = {"all": list(BALANCES), "none": []}.get(options.balances, options.balances.split(","))
    if unknown := set(wanted) - set(BALANCES):
        p.error(f"no balancer {', '.join(sorted(unknown))}; there are {', '.join(BALANCES)}")
    filters = [] if options.filters == "none" else options.filters.split(",")
    if unknown := set(filters) - set(ROWS):
        p.error(f"no filters {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    results = []
    text = ""
    if wanted:
        results = [compare("10 → 10,000 routes", Setup("round_robin", 2, 10), Setup("round_robin", 2, 10_000), options.limit)]
        results += [compare(f"2 → 1,000 servers, {each}", Setup(each, 2, 1), Setup(each, 1_000, 1), options.limit) for each in wanted]
        text = table("few | many", results)
    if filters:
        filtered = [compare_filters(each) for each in filters]
        text += ("\n" if text else "") + table("without | with", filtered)
        results += filtered
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0 if all(fine for _, fine in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
