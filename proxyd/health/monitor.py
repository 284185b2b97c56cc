"""Runs the active checks and tells each server what came of them.

One task for each (upstream, server, check). All first checks run at once; later ones are spread by jitter, so that a hundred servers are
not asked in the same millisecond for ever. A server that is still checked after a reload keeps its tasks, their states and their rhythm.

A server is good when every check of it passes. One whose first results are still out is *pending* (gets no traffic) as soon as another
server of its upstream is known to be good; while none is, it is used: at start, traffic must not wait for the checks, and later, an unknown
server is better than a dead one. Where a check asks for a role (primary or replica) it is pending all the same: the wrong one is worse.

A server that returns, or that joined an upstream which was already served and has passed, starts slowly (`ramp`). Servers without a check
are known here too, so that they do the same when they join.
"""
from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from proxyd.clock import Clock
from proxyd.health.check import Address, Check, PostgresCheck, Probe, RedisCheck, run_check
from proxyd.health.probe import load, probe
from proxyd.health.state import CheckState, Outcome, Verdict
from proxyd.state import CheckView
from proxyd.tasks import Tasks

log = logging.getLogger("proxyd.health")

Key = tuple[str, str]
"""(upstream, server label)"""


class Target(Protocol):
    """What a check acts on; `proxyd_ext.balance.server.Server` is one."""

    def set_down(self, reason: Literal["health", "maint", "drain", "pending"], on: bool) -> None: ...

    def readmit(self) -> None: ...

    def state(self) -> Mapping[str, Any]: ...

    def ramp(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A server and the checks that it must pass (none: it is good)."""

    upstream: str
    label: str
    address: Address
    target: Target
    checks: tuple[Check, ...]


@dataclass(slots=True)
class _Watch:
    """One check of one server."""

    check: Check
    state: CheckState
    trusted: bool = False                  # came to a server that was good: that stands until its first result
    task: asyncio.Task[None] | None = None
    streak: int = 0                        # passes in a row since the engines ejected the server


@dataclass(slots=True)
class _Server:
    wanted: Wanted
    watches: list[_Watch]
    joined: bool                           # came to an upstream that was served already, and has not been good yet
    ejected: int = 0                       # number of the ejection by the engines that passed checks may end; 0: none
    pending: bool = False
    downed: bool = False

    @property
    def wants_role(self) -> bool:
        """A check asks for a role. Then to guess is wrong: a session for a replica would meet the primary, or one that writes a replica."""
        return any(isinstance(each.check, RedisCheck | PostgresCheck) and each.check.role != "any" for each in self.watches)

    @property
    def verdict(self) -> Verdict:
        verdicts = {watch.state.verdict for watch in self.watches if not (watch.state.verdict == "unknown" and _presumed(watch))}
        return "down" if "down" in verdicts else "unknown" if "unknown" in verdicts else "up"


@dataclass(slots=True)
class HealthMonitor:
    tasks: Tasks
    clock: Clock
    probe: Probe = probe
    jitter: Callable[[], float] = random.random        # 0 <= x < 1
    on_change: Callable[[str], None] = lambda upstream: None       # called when the state of a server of `upstream` changed
    on_readmitted: Callable[[str, str], None] = lambda upstream, label: None     # passed checks ended an ejection
    _servers: dict[Key, _Server] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)       # upstreams whose servers `apply` told something, and nobody knows yet

    async def apply(self, wanted: Iterable[Wanted], *, keep_others: bool = False) -> None:
        """Check exactly these. A check whose server, address and settings stay the same is not disturbed.

        A reload calls it twice: with `keep_others` before the engines get the new snapshot, so that a new server is pending before its
        first pick, and without it when they have, so that a dead server that leaves is not opened while it still takes part. What both told
        the servers is a change that is announced at the end of the second: the engines' tables are older than it.
        """
        new = {(item.upstream, item.label): item for item in wanted}
        leaving = set() if keep_others else self._servers.keys() - new.keys()
        for key, server in list(self._servers.items()):
            kept = _kept(server, new[key]) if key in new else set() if key in leaving else set(range(len(server.watches)))
            for index, watch in enumerate(server.watches):
                if index not in kept and watch.task is not None:
                    await self.tasks.cancel(watch.task)
        # From here on without a pause: no result can arrive between the old watches and the new.
        served = {upstream for upstream, _ in self._servers}
        for key in leaving:
            _release(self._servers.pop(key))
        for key, item in new.items():
            self._servers[key] = _taken(self._servers.get(key), item, served)
        for upstream in {item.upstream for item in new.values()} | {upstream for upstream, _ in leaving}:
            if self._settle(upstream):
                self._told.add(upstream)
        for server in self._servers.values():
            for watch in server.watches:
                if watch.task is None:
                    watch.task = self.tasks.keep(_task_name(server, watch), _runner(self, server.wanted, watch))
        if not keep_others:
            told, self._told = self._told, set()
            for upstream in sorted(told):
                self.on_change(upstream)

    def on_ejected(self, upstream: str, label: str) -> None:
        """The engines took the server out. `rise` passes in a row of each check from now on bring it back before its time is over."""
        server = self._servers.get((upstream, label))
        if server is not None and server.watches:
            server.ejected = server.wanted.target.state()["ejections"]
            for watch in server.watches:
                watch.streak = 0

    def checks(self, upstream: str, label: str) -> tuple[CheckView, ...]:
        """What is known about a server's checks."""
        server = self._servers.get((upstream, label))
        return tuple(map(_view, server.watches)) if server is not None else ()

    async def watch_one(self, wanted: Wanted, watch: _Watch) -> None:
        """The life of one check: ends only by cancellation."""
        check = watch.check
        load(check)
        while True:
            began = self.clock.monotonic()
            outcome = await run_check(check, wanted.address, self.clock, self.probe)
            self._on_outcome(wanted, watch, outcome)
            pause = check.pause(watch.state.verdict, failing=not outcome.passed)
            spread = pause * check.jitter * (2 * self.jitter() - 1)
            await self.clock.sleep(max(began + pause + spread - self.clock.monotonic(), 0.0))

    def _on_outcome(self, wanted: Wanted, watch: _Watch, outcome: Outcome) -> None:
        server, state = self._servers[(wanted.upstream, wanted.label)], watch.state
        first = state.verdict == "unknown"
        said = "passed" if outcome.passed else f"failed: {outcome.reason}"
        log.debug("%s: %s %s: %s, %.0f ms", wanted.upstream, wanted.label, watch.check.title, said, outcome.duration_seconds * 1000)
        changed = state.on_outcome(outcome, self.clock.wall())
        self._maybe_readmit(server, watch, outcome)
        if changed:
            self._settle(wanted.upstream)
            _tell(server, watch, first)
            self.on_change(wanted.upstream)

    def _maybe_readmit(self, server: _Server, watch: _Watch, outcome: Outcome) -> None:
        if not server.ejected:
            return
        watch.streak = watch.streak + 1 if outcome.passed else 0
        if any(other.streak < other.state.rise for other in server.watches):
            return
        wanted, number = server.wanted, server.ejected
        state, server.ejected = wanted.target.state(), 0
        if not state["ejected_for_ms"] or state["ejections"] != number:
            return         # its time is over; or it has been ejected since for what checks do not see
        wanted.target.ramp()
        wanted.target.readmit()
        log.info("%s: %s is back: %d checks passed since it left", wanted.upstream, wanted.label, watch.state.rise)
        self.on_readmitted(wanted.upstream, wanted.label)
        self.on_change(wanted.upstream)

    def _settle(self, upstream: str) -> bool:
        """Tell the servers of an upstream what their verdicts mean, each taken with its siblings'; only differences. True: some."""
        told = False
        servers = [server for server in self._servers.values() if server.wanted.upstream == upstream]
        one_is_good = any(server.verdict == "up" for server in servers)
        for server in servers:
            target, verdict = server.wanted.target, server.verdict
            downed, pending = verdict == "down", verdict == "unknown" and (one_is_good or server.wants_role)
            ramps = verdict == "up" and (server.joined or server.downed)
            told |= ramps or downed != server.downed or pending != server.pending
            if ramps:
                target.ramp()                    # before it is opened, so that no pick sees it with its whole weight
                server.joined = False
            # The reason that holds goes up before the other one falls, so that no pick slips in between.
            if downed and not server.downed:
                target.set_down("health", True)
            if pending != server.pending:
                target.set_down("pending", pending)
            if server.downed and not downed:
                target.set_down("health", False)
            server.downed, server.pending = downed, pending
        return told


def _presumed(watch: _Watch) -> bool:
    """Counts as passing while it has no result."""
    return watch.trusted or watch.check.initial == "up"


def _kept(server: _Server, new: Wanted) -> set[int]:
    """Which of the server's checks (by position) go on as they are."""
    old = server.wanted
    if old.target is not new.target or old.address != new.address:
        return set()
    return {index for index, (watch, check) in enumerate(zip(server.watches, new.checks, strict=False)) if watch.check == check}


def _taken(old: _Server | None, new: Wanted, served: set[str]) -> _Server:
    """The server with its new checks. A changed check keeps the verdict of the one in its place until it has a result of its own, so that a
    changed interval never opens a dead server."""
    if old is None or old.wanted.target is not new.target:
        if old is not None:
            _release(old)
        watches = [_Watch(check, CheckState(check.rise, check.fall)) for check in new.checks]
        return _Server(new, watches, joined=new.upstream in served)
    kept, good = _kept(old, new), old.verdict == "up"
    watches = []
    for index, check in enumerate(new.checks):
        if index in kept:
            watches.append(old.watches[index])
        elif index < len(old.watches):
            before = old.watches[index]
            state = CheckState(check.rise, check.fall, verdict=before.state.verdict)
            watches.append(_Watch(check, state, trusted=before.trusted, streak=before.streak))
        else:
            watches.append(_Watch(check, CheckState(check.rise, check.fall), trusted=good))
    return _Server(new, watches, old.joined, old.ejected if watches else 0, old.pending, old.downed)


def _release(server: _Server) -> None:
    """Its checks end: what they said no longer holds."""
    if server.downed:
        server.wanted.target.set_down("health", False)
    if server.pending:
        server.wanted.target.set_down("pending", False)


def _tell(server: _Server, watch: _Watch, first: bool) -> None:
    """A line in the log for a changed verdict."""
    wanted, state = server.wanted, watch.state
    title = f"check {watch.check.title}" if len(server.watches) > 1 else "check"
    if state.verdict == "down":
        times, reason = "" if first else f" {state.streak} times", state.last.reason if state.last is not None else ""
        log.warning("%s: %s is down: %s failed%s: %s", wanted.upstream, wanted.label, title, times, reason)
    elif not first and server.verdict == "up":
        log.info("%s: %s is up: %d checks passed", wanted.upstream, wanted.label, state.streak)
    elif not first:
        log.info("%s: %s: %s passes again, another does not", wanted.upstream, wanted.label, title)


def _view(watch: _Watch) -> CheckView:
    state, last = watch.state, watch.state.last
    return CheckView(
        kind=watch.check.kind,
        title=watch.check.title,
        verdict=state.verdict,
        result="unknown" if last is None else "passed" if last.passed else "failed",
        reason="" if last is None else last.reason,
        at=state.at,
        duration_seconds=0.0 if last is None else last.duration_seconds,
        passed=state.passed,
        failed=state.failed,
        streak=state.streak,
    )


def _task_name(server: _Server, watch: _Watch) -> str:
    title = f" {watch.check.title}" if len(server.watches) > 1 else ""
    return f"health {server.wanted.upstream}/{server.wanted.label}{title}"


def _runner(monitor: HealthMonitor, wanted: Wanted, watch: _Watch) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        await monitor.watch_one(wanted, watch)

    return run
