"""Runs the active checks and tells each server what came of them.

One task for each (upstream, server, check). All first checks run at once; later ones are spread by jitter, so that a hundred servers are
not asked in the same millisecond for ever. A server that is still checked after a reload keeps its task, its state and its rhythm.

A server whose first result is still out is *pending* (gets no traffic) as soon as another server of its upstream is known to be good;
while none is, it is used: at start, traffic must not wait for the checks, and later, an unknown server is better than a dead one.
"""
from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from proxyd.clock import Clock
from proxyd.health.check import Address, Check, HttpCheck, Probe, probe, run_check
from proxyd.health.state import CheckState, Outcome
from proxyd.state import CheckView
from proxyd.tasks import Tasks

JITTER = 0.1   # of the interval, either way

log = logging.getLogger("proxyd.health")

Key = tuple[str, str]
"""(upstream, server label)"""


class Target(Protocol):
    """What a check acts on; `proxyd_ext.balance.server.Server` is one."""

    def set_down(self, reason: Literal["health", "maint", "drain", "pending"], on: bool) -> None: ...

    def readmit(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A server that is to be checked."""

    upstream: str
    label: str
    address: Address
    target: Target
    check: Check


@dataclass(slots=True)
class _Watch:
    wanted: Wanted
    state: CheckState
    task: asyncio.Task[None] | None = None
    ejected_streak: int | None = None      # checks passed in a row since the engines ejected the server; None = they did not
    pending: bool = False
    downed: bool = False


@dataclass(slots=True)
class HealthMonitor:
    tasks: Tasks
    clock: Clock
    probe: Probe = probe
    jitter: Callable[[], float] = random.random        # 0 <= x < 1
    on_change: Callable[[str], None] = lambda upstream: None       # called when the state of a server of `upstream` changed
    _watches: dict[Key, _Watch] = field(default_factory=dict)

    async def apply(self, wanted: Iterable[Wanted], *, keep_others: bool = False) -> None:
        """Check exactly these. A server whose address, handle and check stay the same is not disturbed.

        A reload calls it twice: with `keep_others` before the engines get the new snapshot, so that a new server is pending before its
        first pick, and without it when they have, so that a dead server that leaves is not opened while it still takes part.
        """
        new = {(item.upstream, item.label): item for item in wanted}
        stale = [(key, watch) for key, watch in self._watches.items() if not (_same(watch.wanted, new[key]) if key in new else keep_others)]
        for _, watch in stale:
            if watch.task is not None:
                await self.tasks.cancel(watch.task)
        # From here on without a pause: no result can arrive between the old watches and the new.
        for key, watch in stale:
            del self._watches[key]
            self._release(watch, new.get(key))
        for key, item in new.items():
            if key not in self._watches:
                self._watches[key] = _Watch(item, CheckState(item.check.rise, item.check.fall))
        for upstream in {item.upstream for item in new.values()} | {key[0] for key, _ in stale}:
            self._settle(upstream)
        for watch in self._watches.values():
            if watch.task is None:
                watch.task = self.tasks.keep(f"health {watch.wanted.upstream}/{watch.wanted.label}", _runner(self, watch))

    def on_ejected(self, upstream: str, label: str) -> None:
        """The engines took the server out. `rise` passed checks in a row from now on bring it back before its time is over."""
        watch = self._watches.get((upstream, label))
        if watch is not None:
            watch.ejected_streak = 0

    def view(self, upstream: str, label: str) -> CheckView | None:
        """What is known about a server's check; None if it has none."""
        watch = self._watches.get((upstream, label))
        if watch is None:
            return None
        state, last = watch.state, watch.state.last
        return CheckView(
            kind="http" if isinstance(watch.wanted.check, HttpCheck) else "tcp",
            result="unknown" if last is None else "passed" if last.passed else "failed",
            reason="" if last is None else last.reason,
            at=state.at,
            duration_seconds=0.0 if last is None else last.duration_seconds,
            passed=state.passed,
            failed=state.failed,
            streak=state.streak,
        )

    async def watch_one(self, watch: _Watch) -> None:
        """The life of one check: ends only by cancellation."""
        check = watch.wanted.check
        while True:
            began = self.clock.monotonic()
            outcome = await run_check(check, watch.wanted.address, self.clock, self.probe)
            self._on_outcome(watch, outcome)
            spread = check.interval * JITTER * (2 * self.jitter() - 1)
            await self.clock.sleep(max(began + check.interval + spread - self.clock.monotonic(), 0.0))

    def _on_outcome(self, watch: _Watch, outcome: Outcome) -> None:
        wanted, state = watch.wanted, watch.state
        first = state.verdict == "unknown"
        said = "passed" if outcome.passed else f"failed: {outcome.reason}"
        log.debug("%s: %s check %s, %.0f ms", wanted.upstream, wanted.label, said, outcome.duration_seconds * 1000)
        changed = state.on_outcome(outcome, self.clock.wall())
        self._maybe_readmit(watch, outcome)
        if changed:
            self._settle(wanted.upstream)
            if state.verdict == "down":
                times = "" if first else f" {state.streak} times"
                log.warning("%s: %s is down: check failed%s: %s", wanted.upstream, wanted.label, times, outcome.reason)
            elif not first:
                log.info("%s: %s is up: %d checks passed", wanted.upstream, wanted.label, state.streak)
            self.on_change(wanted.upstream)

    def _maybe_readmit(self, watch: _Watch, outcome: Outcome) -> None:
        if watch.ejected_streak is None:
            return
        watch.ejected_streak = watch.ejected_streak + 1 if outcome.passed else 0
        if watch.ejected_streak >= watch.state.rise:
            watch.ejected_streak = None
            watch.wanted.target.readmit()
            log.info("%s: %s is back: %d checks passed since it left", watch.wanted.upstream, watch.wanted.label, watch.state.rise)
            self.on_change(watch.wanted.upstream)

    def _settle(self, upstream: str) -> None:
        """Tell the servers of an upstream what their verdicts mean, each taken with its siblings'. Only differences are told."""
        watches = [watch for watch in self._watches.values() if watch.wanted.upstream == upstream]
        one_is_good = any(watch.state.verdict == "up" for watch in watches)
        for watch in watches:
            downed, pending = watch.state.verdict == "down", watch.state.verdict == "unknown" and one_is_good
            # The reason that holds goes up before the other one falls, so that no pick slips in between.
            if downed and not watch.downed:
                watch.wanted.target.set_down("health", True)
            if pending != watch.pending:
                watch.wanted.target.set_down("pending", pending)
            if watch.downed and not downed:
                watch.wanted.target.set_down("health", False)
            watch.downed, watch.pending = downed, pending

    def _release(self, watch: _Watch, successor: Wanted | None) -> None:
        """A check ends: what it said no longer holds, unless the same server goes on being checked in another way.

        Then the old verdict stands until the new check has its first result, so that a changed interval never opens a dead server.
        """
        if successor is not None and successor.target is watch.wanted.target:
            state = CheckState(successor.check.rise, successor.check.fall, verdict=watch.state.verdict)
            self._watches[(successor.upstream, successor.label)] = _Watch(
                successor, state, ejected_streak=watch.ejected_streak, pending=watch.pending, downed=watch.downed
            )
            return
        if watch.downed:
            watch.wanted.target.set_down("health", False)
        if watch.pending:
            watch.wanted.target.set_down("pending", False)


def _same(old: Wanted, new: Wanted) -> bool:
    return old.target is new.target and old.address == new.address and old.check == new.check


def _runner(monitor: HealthMonitor, watch: _Watch) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        await monitor.watch_one(watch)

    return run
