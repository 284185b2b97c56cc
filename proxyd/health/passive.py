"""Looks at every server's counters once a window and ejects the outliers, within the share of servers that may be out.

One task for each upstream that has such a test. Failures in a row are the engines' own work; those ejections count in the share here, as
ours do there.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from proxyd.clock import Clock
from proxyd.ejections import Ejectable, Ejections
from proxyd.health.outliers import OutlierPolicy, Totals, find_outliers, totals_of
from proxyd.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Judged:
    """An upstream whose servers are compared."""

    upstream: str
    policy: OutlierPolicy
    servers: tuple[tuple[str, Ejectable], ...]     # (label, handle)


@dataclass(slots=True)
class _Bench:
    """What is remembered of one upstream."""

    judged: Judged
    known: dict[str, tuple[Ejectable, Totals]] = field(default_factory=dict)     # at the beginning of the window
    times: dict[str, int] = field(default_factory=dict)      # ejections; each window spent healthy takes one away
    out: set[str] = field(default_factory=set)               # ejected when last looked at
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Outliers:
    tasks: Tasks
    clock: Clock
    ejections: Ejections
    _benches: dict[str, _Bench] = field(default_factory=dict)

    async def apply(self, wanted: Iterable[Judged]) -> None:
        """Judge exactly these. Where the policy stays the same, the window goes on, whichever servers come and go."""
        new = {item.upstream: item for item in wanted if item.policy}
        for name, bench in list(self._benches.items()):
            if name not in new or new[name].policy != bench.judged.policy:
                if bench.task is not None:
                    await self.tasks.cancel(bench.task)
                bench.task = None
            if name not in new:
                del self._benches[name]
        for name, item in new.items():
            bench = self._benches.setdefault(name, _Bench(item))
            bench.judged = item
            labels = {label for label, _ in item.servers}
            bench.times = {label: times for label, times in bench.times.items() if label in labels}
            if bench.task is None:
                bench.task = self.tasks.keep(f"outliers {name}", partial(self._judge_on, name))

    async def _judge_on(self, name: str) -> None:
        """The life of one task: ends only by cancellation."""
        bench = self._benches[name]
        bench.known = _look(bench.judged)
        while True:
            await self.clock.sleep(bench.judged.policy.window)
            self._judge(bench)

    def _judge(self, bench: _Bench) -> None:
        before, bench.known = bench.known, _look(bench.judged)
        policy, servers = bench.judged.policy, dict(bench.judged.servers)
        states = {label: server.state() for label, server in servers.items()}
        did = {
            label: now - before[label][1]
            for label, (server, now) in bench.known.items()
            if label in before and before[label][0] is server and not states[label]["down"] and not states[label]["ejected_for_ms"]
        }
        outliers = find_outliers(policy, did)
        for label in did.keys() - bench.out - {outlier.label for outlier in outliers}:
            bench.times[label] = max(bench.times.get(label, 0) - 1, 0)
        bench.out = {label for label, state in states.items() if state["ejected_for_ms"]}
        usable = sum(state["usable"] for state in states.values())
        room = min(out_limit(len(servers), policy.max_ejected) - len(bench.out), usable - 1)
        for outlier in outliers[: max(room, 0)]:
            times = bench.times[outlier.label] = bench.times.get(outlier.label, 0) + 1
            ms = int(min(policy.eject * times, policy.eject_max) * 1000)
            bench.out.add(outlier.label)
            self.ejections.eject(bench.judged.upstream, outlier.label, servers[outlier.label], ms, outlier.kind, outlier.reason)


def out_limit(servers: int, share: float) -> int:
    """How many of so many may be ejected at a time: one may always be, a lone one never (as `snapshot/compile.pyx` says to the engines)."""
    return min(max(1, int(servers * share + 1e-9)), servers - 1)


def _look(judged: Judged) -> dict[str, tuple[Ejectable, Totals]]:
    return {label: (server, totals_of(server.stats())) for label, server in judged.servers}
