"""Nanoseconds a pick, for every balancer with 10, 1,000 and 10,000 servers: `python bench/picks.py --help`.

A pick is the whole call that an engine makes, with counting the exchange in and out again; it is timed without sockets, on this thread, in
loops of 100,000 picks with keys of a fixed sequence. What must not be seen in the table is growth with the number of servers beyond what
caches cost: nothing walks them (`least_conn` and `first` go down a heap).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import system

from proxyd_ext.balance.pool import Pool, UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.snapshot.spec import Balance, MemberSpec, UpstreamSpec

SIZES = (10, 1_000, 10_000)
LOOP = 100_000


@dataclass(frozen=True, slots=True)
class Case:
    title: str
    balance: Balance
    weighted: bool = False
    busy: int = 0              # exchanges in flight for each server, all the while
    bounded: int = 0           # percent


CASES = (
    Case("round_robin", "round_robin"),
    Case("round_robin, weights 1 to 10", "round_robin", weighted=True),
    Case("least_conn, all idle", "least_conn"),
    Case("least_conn, 5 in flight each", "least_conn", busy=5),
    Case("least_conn, weights, 5 in flight each", "least_conn", weighted=True, busy=5),
    Case("p2c", "p2c"),
    Case("p2c, weights, 5 in flight each", "p2c", weighted=True, busy=5),
    Case("ewma", "ewma", busy=1),
    Case("random, weights", "random", weighted=True),
    Case("first", "first"),
    Case("hash (ketama)", "hash"),
    Case("hash, bounded load 125 %, 5 in flight each", "hash", busy=5, bounded=125),
    Case("maglev", "maglev"),
    Case("maglev, bounded load 125 %, 5 in flight each", "maglev", busy=5, bounded=125),
)


@dataclass(frozen=True, slots=True)
class Cost:
    lowest_ns: float           # of all rounds: what else runs on the machine only adds
    median_ns: float
    build_ms: float


def spec_of(case: Case, servers: int) -> UpstreamSpec:
    members = []
    for i in range(servers):
        label = f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:8080"
        members.append(MemberSpec(Server("app", label, ("127.0.0.1", 9)), weight=1 + i * 7 % 10 if case.weighted else 1))
    settings: dict[str, Any] = {"balance": case.balance, "bounded_load": case.bounded}
    return UpstreamSpec("app", UpstreamState("app"), members, **settings)


def measure(case: Case, servers: int, rounds: int) -> Cost:
    spec = spec_of(case, servers)
    begin = time.perf_counter_ns()
    pool = Pool(spec)
    build_ms = (time.perf_counter_ns() - begin) / 1e6
    for i in range(case.busy * servers):
        # Their answers tell ewma what they cost; keys spread them where keys decide.
        pool.pick(key=i * 2654435761 & 0xFFFFFFFF)
    for i in range(servers if case.balance == "ewma" else 0):
        number = pool.pick()
        pool.done(number, 1_000 + i * 37 % 500)
    pool.cost(LOOP)
    costs = [pool.cost(LOOP) for _ in range(rounds)]
    return Cost(min(costs), statistics.median(costs), build_ms)


def table(rounds: int) -> list[str]:
    lines = [
        "| ns a pick: lowest (median) | " + " | ".join(f"{size:,} servers" for size in SIZES) + f" | tables of {SIZES[-1]:,} built in |",
        "|---|" + "--:|" * (len(SIZES) + 1),
    ]
    for case in CASES:
        costs = [measure(case, size, rounds) for size in SIZES]
        cells = [f"**{cost.lowest_ns:.0f}** ({cost.median_ns:.0f})" for cost in costs]
        lines.append(f"| {case.title} | " + " | ".join(cells) + f" | {costs[-1].build_ms:,.1f} ms |")
        print(lines[-1], file=sys.stderr)
    return lines


def main(arguments: Sequence[str]) -> int:
    p = argparse.ArgumentParser(prog="bench/picks.py", description="Nanoseconds a pick, for every balancer and number of servers.")
    p.add_argument("--rounds", type=int, default=9, help=f"loops of {LOOP:,} picks, of which the lowest counts (default 9)")
    p.add_argument("--out", type=Path, help="write the table there, too")
    options = p.parse_args(arguments)
    environment = system.facts()
    text = "\n".join([
        "# Cost of a pick", "",
        f"{environment['time']} · {environment['cpu']}, {environment['cpus']} CPUs · Linux {environment['kernel']}", "",
        *table(options.rounds), "",
    ])  # fmt: skip
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
