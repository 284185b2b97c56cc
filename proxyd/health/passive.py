"""Looks at every server's counters once a window and ejects the outliers, within the share of servers that may be out.

One task for each upstream that has passive checks. Failures in a row are the engines' own work; those ejections count in the share here, as
ours do there, and both make the next one longer. A server that was fine for a whole window has one of them forgiven.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from proxyd.clock import Clock
from proxyd.health.ejections import Ejectable, Ejections
from proxyd.health.outliers import OutlierPolicy, Totals, find_outliers, totals_of
from proxyd.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Judged:
    """An upstream whose servers are watched."""

    upstream: str
    policy: OutlierPolicy
    servers: tuple[tuple[str, Ejectable], ...]     # (label, handle)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A server when it was last looked at."""

    server: Ejectable
    totals: Totals
    ejections: int
    out: bool                      # ejected at that moment


@dataclass(slots=True)
class _Bench:
    """What is remembered of one upstream."""

    judged: Judged
    seen: dict[str, _Seen] = field(default_factory=dict)     # at the beginning of the window
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Outliers:
    tasks: Tasks
    clock: Clock
    ejections: Ejections
    _benches: dict[str, _Bench] = field(default_factory=dict)

    async def apply(self, wanted: Iterable[Judged]) -> None:
        """Watch exactly these. Where the policy stays the same, the window goes on, whichever servers come and go."""
        new = {item.upstream: item for item in wanted}
        for name, bench in list(self._benches.items()):
            if (name not in new or new[name].policy != bench.judged.policy) and bench.task is not None:
                await self.tasks.cancel(bench.task)
                bench.task = None
            if name not in new:
                del self._benches[name]
        for name, item in new.items():
            bench = self._benches.setdefault(name, _Bench(item))
            bench.judged = item
            if bench.task is None:
                bench.task = self.tasks.keep(f"outliers {name}", partial(self._judge_on, bench))

    async def _judge_on(self, bench: _Bench) -> None:
        """The life of one task: ends only by cancellation."""
        bench.seen = _look(bench.judged)
        while True:
            await self.clock.sleep(bench.judged.policy.window)
            self._judge(bench)

    def _judge(self, bench: _Bench) -> None:
        policy, before, now = bench.judged.policy, bench.seen, _look(bench.judged)
        known = [label for label, seen in now.items() if label in before and before[label].server is seen.server]
        states = {label: seen.server.state() for label, seen in now.items()}
        did = {label: now[label].totals - before[label].totals for label in known if not states[label]["down"] and not now[label].out}
        outliers = find_outliers(policy, did)
        for label in did.keys() - {outlier.label for outlier in outliers}:
            if not before[label].out and now[label].ejections == before[label].ejections:
                now[label].server.forgive()
        room = min(
            out_limit(len(now), policy.max_ejected) - sum(seen.out for seen in now.values()),
            sum(state["usable"] for state in states.values()) - 1,
        )
        for outlier in outliers[: max(room, 0)]:
            server, times = now[outlier.label].server, states[outlier.label]["ejections_in_row"] + 1
            ms = int(min(policy.eject * times, policy.eject_max) * 1000)
            self.ejections.eject(bench.judged.upstream, outlier.label, server, ms, outlier.kind, outlier.reason)
        bench.seen = now


def out_limit(servers: int, share: float) -> int:
    """How many of so many may be ejected at a time: one may always be, a lone one never (the engines have the same rule)."""
    return min(max(1, int(servers * share + 1e-9)), servers - 1)


def _look(judged: Judged) -> dict[str, _Seen]:
    return {label: _see(server) for label, server in judged.servers}


def _see(server: Ejectable) -> _Seen:
    state = server.state()
    return _Seen(server, totals_of(server.stats()), state["ejections"], state["ejected_for_ms"] > 0)
