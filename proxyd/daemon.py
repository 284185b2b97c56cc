"""The daemon: one config, its engines, and everything that follows it, from start to the last drained connection.

    daemon = Daemon(path=Path("proxyd.yaml"), services=[AdminServer])
    await daemon.start()          # DaemonError when it cannot
    await daemon.wait()           # until stop() or a signal

The steps of taking a config are in `proxyd.serving`; here is the life around them.
"""
from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from proxyd import codes
from proxyd.audit.purges import Purges
from proxyd.audit.record import Note, by_signal
from proxyd.audit.rotation import Bounds
from proxyd.audit.trail import Audit
from proxyd.caching.purge import Purge, Purged
from proxyd.caching.service import Caching
from proxyd.clock import Clock, SystemClock
from proxyd.discovery.names import Names
from proxyd.discovery.resolver import AresResolver, Resolver
from proxyd.engines import Answer, Callbacks, EngineSet
from proxyd.events.ring import Events
from proxyd.events.watch import Notes, Watch
from proxyd.facts import Facts
from proxyd.files import allow_many_files
from proxyd.governor.governor import Governors
from proxyd.health.ejections import Ejections
from proxyd.health.monitor import HealthMonitor
from proxyd.health.passive import Outliers
from proxyd.logs import rotation
from proxyd.logs.own import set_up_log
from proxyd.metrics.admin import AdminCounts
from proxyd.metrics.exposition import Exposition
from proxyd.operate import Operator
from proxyd.overrides import OverrideError
from proxyd.policing import Policing
from proxyd.pools import Pools
from proxyd.process import privileges
from proxyd.process.fdstore import FdStore, sockets_of
from proxyd.process.notify import Notifier
from proxyd.process.passed import PassedFds
from proxyd.process.upgrade import Predecessor, Upgrade, Upgraded, UpgradeError, death_of
from proxyd.records import flight
from proxyd.records.flight import Flight
from proxyd.records.tap import Tap
from proxyd.serverstate import ServerState, text_of
from proxyd.serving import Serving
from proxyd.since import Since
from proxyd.snapshot.store import Store
from proxyd.state import (
    DaemonError,
    Difference,
    Phase,
    ReloadResult,
    ServerChange,
    Service,
)
from proxyd.statedir import open_state
from proxyd.stats.history import History, Point
from proxyd.tasks import Tasks
from proxyd.tracing.exporter import Exporter
from proxyd.transactions.entry import Entry
from proxyd.transactions.history import ConfigHistory
from proxyd.transactions.opening import choose
from proxyd.transactions.reloading import Reloading
from proxyd.transactions.service import Parts, Transactions
from proxyd.transactions.terms import BY_ITSELF, SIGNAL, UNCONDITIONAL, WATCH, By, Terms
from proxyd.watch import fingerprint, read_since, watch
from proxyd.words import one_line, own_version

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd.limits.views import ResetView

ServiceFactory = Callable[["Daemon"], Service]

THREADS_MAX = 64           # what the native side has room for
HEARTBEAT_PATIENCE = 2.5   # seconds: an engine's heart beats once a second
CLOSE_SECONDS = 30.0       # that a manager is asked for beyond the time to drain: threads end, the cache is written

log = logging.getLogger("proxyd.daemon")


class Daemon(Facts):
    def __init__(
        self,
        *,
        path: Path | None = None,
        text: str | None = None,
        services: Sequence[ServiceFactory] = (),
        watch: bool = False,
        last_good: bool = False,
        signals: bool = False,
        clock: Clock | None = None,
        resolver: Callable[[], Resolver] = AresResolver,
    ) -> None:
        """One of `path` and `text` is given. `last_good`: a file that is broken at start does not keep the last good config from serving.
        `signals`: those of the process are for this daemon, from the moment that it begins to serve. Nothing happens before `start()`."""
        if (path is None) == (text is None):
            raise ValueError("a daemon is started from a file or from a text")
        self._path, self._last_good, self._signals = path, last_good, signals
        self._factories, self._watch = tuple(services), watch
        self._clock: Clock = clock or SystemClock()
        self._make_resolver = resolver
        self.passed = PassedFds()
        self._predecessor = Predecessor()
        self._notifier = Notifier()
        self._fd_store = FdStore(self._notifier)
        self._successor: int | None = None       # process id of the one that serves in our place
        self._phase: Phase = "starting"
        self._lock = asyncio.Lock()              # one reload or republish at a time
        self.records = Tap()
        self._traces = Exporter(self.records, self._clock)
        self._moved = asyncio.Event()            # addresses of some name changed
        self._stop, self._stop_now = asyncio.Event(), asyncio.Event()
        self._exit_code = 0
        self._started_at = 0.0
        self.history = History(self, self._clock)
        self.events = Events(self._clock)
        self.flight = Flight(self.records, self._clock)
        self._notes = Notes(self.events, lambda: self._serving.views)
        self.admin_counts = AdminCounts()
        self.metrics = Exposition(self, own_version())
        self._reloading = Reloading(path, text, self._clock, self._notifier, self._on_taken, self._notes.on_reload)

    # ------------------------------------------------------------------ life
    async def start(self) -> None:
        """Load, bind, start the engines, publish, wait for their acknowledgements, tell the service manager READY.

        Raises DaemonError; then everything that was opened is closed again.
        """
        try:
            await self._start()
        except DaemonError as error:
            self._predecessor.tell_failure("\n".join(map(one_line, error.diagnostics)) or str(error))
            raise
        self._predecessor.tell_ready()
        self._keep_sockets()
        self._notifier.send("READY=1", f"STATUS=serving config {self.config_hash}")

    async def _start(self) -> None:
        self._started_at = self._clock.wall()
        before = fingerprint([self._path] if self._path is not None else [])
        own = self._reloading.load()
        self._seen = read_since(before, own.files)
        state = open_state(self._path, leaving_root=privileges.leaves_root(own.config))
        configs = ConfigHistory(state)
        configs.open()
        opening = choose(own, configs, last_good=self._last_good, wall=self._clock.wall())
        loaded = opening.loaded
        config = loaded.config
        assert config is not None
        logging.getLogger("proxyd").setLevel(config.log.level.upper())
        self._tasks = Tasks(self._clock)
        self.audit = Audit(state.folder, self._clock, _bounds(config))
        self._purges = Purges(self._tasks, self._clock, self.audit.tell)
        threads = min(len(os.sched_getaffinity(0)), THREADS_MAX) if config.runtime.threads == "auto" else config.runtime.threads
        self._threads = threads
        self._sights = Watch(self.events, threads=threads > 0)
        self.history.on_point = self._on_point
        self.records.subscribe(self.flight.on_records)
        self._resolver = self._make_resolver()
        self._server_state = ServerState(state)
        store = Store()
        self._caching = Caching(self._tasks, self._clock, on_asked=self._purges.on_purge)
        self._policing = Policing(self._tasks, self._clock, store, self._loop_lag)
        callbacks = Callbacks(
            self._on_ejected, self._on_consult, lambda: self._serving.sweep(), self._on_engine_death, self._caching.on_lookup,
            self._caching.on_stored, self._caching.on_invalidated, self._policing.gateway.on_decide, self._policing.filters.on_filter,
        )
        self._engines = EngineSet(threads, callbacks)
        ejections = Ejections(self._tasks, self._clock, self._on_change)
        self._serving = Serving(
            clock=self._clock,
            engines=self._engines,
            names=Names(self._tasks, self._clock, self._resolver, self._moved.set),
            health=HealthMonitor(self._tasks, self._clock, on_change=self._on_change, on_readmitted=ejections.on_readmitted),
            ejections=ejections,
            outliers=Outliers(self._tasks, self._clock, ejections),
            governors=Governors(self._tasks, self._clock, self._notes.on_circuit),
            pools=Pools(self._tasks, self._clock, lambda upstream: self._serving.upstream_spec(upstream), len(self._engines.engines)),
            since=Since(self._clock, self._notes.on_state),
            services=[factory(self) for factory in self._factories],
            passed=self.passed,
            caching=self._caching,
            policing=self._policing,
            store=store,
            tap=self.records,
            overrides=self._server_state.take_up(self._predecessor.handed, config),
        )
        self._transactions = Transactions(Parts(
            self._reloading, configs, self.audit, self.history, self._clock, self._tasks, self._lock, lambda: self._phase))
        privileges.renounce(config.runtime.user)
        self._engines.start()
        if self._signals:
            self.install_signals()       # not later: one that came before would cut off those who are served already
        try:
            await self._serving.take(config, loaded.hash)
        except DaemonError as error:
            await self._close()
            raise DaemonError(str(error), loaded.places.put(error.diagnostics)) from error
        except BaseException:
            await self._close()
            raise
        self._tasks.keep("rotate logs", self._rotate_logs)
        self._traces.follow(config.tracing)
        self._reloading.begin(self._serving, loaded, own)
        await self._server_state.keep(self._serving.overrides)
        self._notes.on_kept(self._server_state.kept_text(self._serving.overrides))
        await self._transactions.begin(opening)
        self._phase = "serving"
        self._tasks.keep("republish", self._republish)
        self._tasks.keep("stats", self.history.run)
        if self._watch and self._path is not None:
            self._tasks.keep("watch", self._watch_files)
        if self._notifier.watchdog_seconds:
            self._tasks.keep("watchdog", self._feed_watchdog)
        try:
            for service in self._serving.services:
                await service.begin()
        except BaseException:
            await self._close()
            raise

    async def wait(self) -> int:
        """Serve until stopped. Returns the exit code: 0, or 1 when an engine died."""
        await self._stop.wait()
        self._phase = "draining"
        if self._successor is None and not self._exit_code:
            await self._transactions.leave()
        seconds = 0.0 if self._stop_now.is_set() else self.config.runtime.shutdown.drain.seconds
        extend = f"EXTEND_TIMEOUT_USEC={int((seconds + CLOSE_SECONDS) * 1e6)}"
        if not self._exit_code:          # else it is no stop: another process is wanted at once
            self._notifier.send("STOPPING=1", extend, f"STATUS=draining: {self._under_way()} under way")
        if not self._stop_now.is_set():
            await self._drain()
        await self._close()
        return self._exit_code

    def stop(self, *, now: bool = False) -> None:
        """Begin to leave: drain up to `runtime.shutdown.drain`, or at once. `wait()` returns when it is done.

        May be called again with `now`, to cut a drain short.
        """
        if now:
            self._stop_now.set()
        self._stop.set()

    async def until_leaving(self) -> None:
        """Returns when it begins to leave."""
        await self._stop.wait()

    def install_signals(self) -> None:
        """TERM drains (a second one, or INT: at once), HUP reloads, USR1 reopens the logs, USR2 upgrades. Main thread only, while the loop
        runs."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self._stop_by("SIGTERM", now=self._stop.is_set()))
        loop.add_signal_handler(signal.SIGINT, lambda: self._stop_by("SIGINT", now=True))
        loop.add_signal_handler(signal.SIGHUP, lambda: self._begin_by("SIGHUP", "config.reload", lambda: self._reload_unasked(SIGNAL)))
        loop.add_signal_handler(signal.SIGUSR1, self.reopen_logs)
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._begin_by("SIGUSR2", "daemon.upgrade", self._upgrade_and_log))

    def _stop_by(self, name: str, *, now: bool) -> None:
        """One record, unless it stops already, and no slower than this signal says."""
        if not (self._stop_now.is_set() if now else self._stop.is_set()):
            self.audit.tell(by_signal(name, "daemon.stop", now=now))
        self.stop(now=now)

    def _begin_by(self, name: str, action: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._phase == "serving":
            self._tasks.spawn(f"{action} by {name}", work())
        else:
            self.audit.tell(by_signal(name, action, f"proxyd is {self._phase}"))

    async def _drain(self) -> None:
        seconds = self.config.runtime.shutdown.drain.seconds
        log.info("draining: %s under way, for %g s at most", self._under_way(), seconds)
        self._serving.store.remove_files()       # a client of a unix socket is told at once that nobody serves there
        drain = asyncio.ensure_future(self._engines.drain(seconds, hand_over=self._successor is not None))
        cut = asyncio.ensure_future(self._stop_now.wait())
        await asyncio.wait({drain, cut}, return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            log.warning("leaving at once: %s cut off", self._under_way())
        elif not drain.result():
            log.warning("the time to drain is over: %s cut off", self._under_way())
        for future in (drain, cut):
            future.cancel()
        await asyncio.gather(drain, cut, return_exceptions=True)

    def _under_way(self) -> str:
        """`3 requests`, `1 request and 2 flows`."""
        views = self._engines.views()
        exchanges, flows = sum(view.exchanges for view in views), sum(view.flows for view in views)
        requests = f"{exchanges} request{'' if exchanges == 1 else 's'}"
        return f"{requests} and {flows} flow{'' if flows == 1 else 's'}" if flows else requests

    async def _close(self) -> None:
        await self._tasks.close()
        await self._engines.close()
        await self._policing.close()
        await self._caching.close(lambda: self._stop_now.is_set() or self._successor is not None)
        for service in self._serving.services:
            try:
                await service.close()
            except Exception:
                log.exception("%s did not close", type(service).__name__)
        self._serving.close()
        await self._traces.close()
        await self._resolver.close()
        self._purges.close()
        await self.audit.close()
        self._phase = "stopped"

    # ------------------------------------------------------------------ configs (proxyd.transactions)
    async def reload(
        self,
        text: str | None = None,
        *,
        path: Path | None = None,
        dry_run: bool = False,
        terms: Terms = UNCONDITIONAL,
        by: By = BY_ITSELF,
    ) -> ReloadResult:
        """See `Transactions.reload`."""
        return await self._transactions.reload(text, path, dry_run=dry_run, terms=terms, by=by)

    async def rollback(self, number: int | None, *, by: By) -> ReloadResult:
        """See `Transactions.rollback`."""
        return await self._transactions.rollback(number, by=by)

    async def confirm(self, *, by: By) -> Entry:
        """See `Transactions.confirm`."""
        return await self._transactions.confirm(by=by)

    def config_entries(self) -> tuple[Entry, ...]:
        """The history of configs, oldest first."""
        return self._transactions.entries()

    async def config_entry(self, number: int) -> tuple[Entry, dict[str, str]]:
        """See `Transactions.text`."""
        return await self._transactions.text(number)

    async def diff(self, path: Path | None = None) -> Difference:
        return await self._reloading.diff(path)

    async def _reload_unasked(self, by: By) -> None:
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")
        result = await self.reload(by=by)
        self._reloading.tell(result)
        await self._transactions.note_reload(result, by)
        self._notifier.send("READY=1")

    def _on_taken(self) -> None:
        """Another config has begun to serve."""
        self.audit.follow(_bounds(self.config))
        self.history.look()      # so that a point begins with it
        self._traces.follow(self.config.tracing)
        self._keep_sockets()
        self._tasks.spawn("keep server state", self._server_state.keep(self._serving.overrides))

    # ------------------------------------------------------------------ the process after this one
    async def upgrade(self) -> Upgraded:
        """Start this program anew with our listening sockets; once it serves, drain and leave. UpgradeError: it does not; we serve on."""
        if self._phase != "serving":
            raise UpgradeError(f"proxyd is {self._phase}")
        return await self._tasks.shielded("upgrade", self._upgrade_in_turn())

    async def _upgrade_in_turn(self) -> Upgraded:
        async with self._lock:
            if self._successor is not None:
                raise UpgradeError(f"process {self._successor} serves already")
            self._transactions.check_upgrade()
            began = self._clock.monotonic()
            await self._serving.save()
            sockets = sockets_of(self._serving.bounds())
            for name, fds in self.passed.by_name().items():
                sockets.setdefault(name, []).extend(fds)
            self._successor = await Upgrade(sockets, handed=text_of(self._serving.overrides)).run()
            seconds = self._clock.monotonic() - began
            log.info("process %d serves, after %.1f s; this one drains", self._successor, seconds)
            self._notifier.send(f"MAINPID={self._successor}")
            if self._notifier.watches_children:
                self._tasks.spawn("watch the successor", self._leave_when_it_dies())
            self._notifier.mute()
            await self._serving.hand_over()
            self.stop()
            return Upgraded(self._successor, os.getpid(), seconds)

    async def _leave_when_it_dies(self) -> None:
        """The manager hears of our successor's death when we, its parent, have left: until then nobody would serve."""
        assert self._successor is not None
        if how := await death_of(self._successor):
            log.error("process %d, which took over, died: %s; this one leaves, so that another is started", self._successor, how)
            self.stop(now=True)

    async def _upgrade_and_log(self) -> None:
        try:
            done = await self.upgrade()
            self.audit.tell(by_signal("SIGUSR2", "daemon.upgrade", successor=done.pid, seconds=round(done.seconds, 3)))
        except UpgradeError as error:
            log.error("no upgrade, this process serves on: %s%s", error, f"\n{error.output}" if error.output else "")
            self.audit.tell(by_signal("SIGUSR2", "daemon.upgrade", str(error)))

    def _keep_sockets(self) -> None:
        """Our listening sockets are kept by the service manager; those that a process before us has left there for nobody are not."""
        self._fd_store.follow(sockets_of(self._serving.bounds()), self.passed.close_kept())
        if self.passed.left():
            log.warning("passed descriptors that no listener has the address of: %s", ", ".join(map(str, self.passed.left())))

    # ------------------------------------------------------------------ changes of servers at run time (OverrideError when refused)
    async def set_server(self, upstream: str, server: str, orders: Mapping[str, Any], *, by: str, force: bool = False) -> ServerChange:
        return await self._operate(by, lambda operator: operator.change(upstream, server, orders, force=force))

    async def add_server(self, upstream: str, server: Mapping[str, Any], *, by: str) -> ServerChange:
        return await self._operate(by, lambda operator: operator.add(upstream, server))

    async def remove_server(self, upstream: str, server: str, *, by: str, force: bool = False) -> ServerChange:
        return await self._operate(by, lambda operator: operator.remove(upstream, server, force=force))

    async def _operate(self, by: str, order: Callable[[Operator], Coroutine[Any, Any, ServerChange]]) -> ServerChange:
        async def in_turn() -> ServerChange:
            async with self._lock:
                if self._successor is not None:
                    raise OverrideError(codes.CHANGE_INVALID, f"process {self._successor} has taken over: tell it")
                change = await order(Operator(self._serving, self._clock, by))
                await self._server_state.keep(self._serving.overrides)
                self._notes.on_server_change(change, by)
                return change

        # Like a reload: a caller that goes away must not leave it half done.
        return await self._tasks.shielded("change of a server", in_turn())

    async def purge(self, orders: Sequence[Purge]) -> Purged:
        """Purge the cache, on every engine when it returns; a caller that goes away does not stop it half-way."""
        purged = await self._tasks.shielded("purge", self._caching.purge(orders))
        self._notes.on_purge(orders, purged)
        return purged

    def revoke(self, policy: str, user: str | None) -> int:
        """Forget a user's verdicts (None: all) of a policy; how many. KeyError: there is none of that name."""
        return self._policing.gateway.revoke(policy, user)

    async def reset_limit(self, policy: str, key: Sequence[str]) -> ResetView:
        """Forget a key of a limit, or all. LimitError."""
        reset = await self._tasks.shielded("reset", self._policing.limits.reset(policy, key))
        self._notes.on_reset(reset)
        return reset

    async def _watch_files(self) -> None:
        async for _ in watch(lambda: self._reloading.files, self._seen):
            await self._reload_unasked(WATCH)

    async def _republish(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                async with self._lock:
                    if await self._serving.republish():
                        log.info("new addresses serve, generation %d", self.generation)
            except Exception:
                self._moved.set()       # the addresses are still to be taken when the task starts again
                raise

    def reopen_logs(self) -> None:
        """Open log files by their names again (after a rotation)."""
        if self._serving.sink is not None:
            try:
                self._serving.sink.reopen()
            except DaemonError as error:
                log.error("%s; records go on into the old file", error)

    async def _rotate_logs(self) -> None:
        while True:
            await self._clock.sleep(rotation.EVERY)
            async with self._lock:       # a reload opens log files, too
                if self._serving.sink is not None:
                    await self._serving.sink.rotate(self._clock.wall())

    # ------------------------------------------------------------------ what engines tell
    def _on_ejected(self, upstream: str, label: str) -> None:
        server = self._serving.store.servers.get((upstream, label))
        if server is not None:
            self._serving.ejections.on_ejected(upstream, label, server)
            self._serving.health.on_ejected(upstream, label)

    def _on_change(self, upstream: str) -> None:
        """A server of the upstream left or returned."""
        self._serving.on_state(upstream)

    def _on_consult(self, kind: str, payload: bytes, answer: Answer) -> None:
        """A route with `respond: {probe: ...}` asks, or a client with PURGE."""
        if kind == "purge":
            self._caching.on_purge(payload, answer)
            return
        reasons = list(self.not_ready()) if kind == "ready" else []
        facts = {"status": kind} if not reasons else {"status": "not ready", "reasons": reasons}
        answer(503 if reasons else 200, json.dumps(facts).encode() + b"\n", "application/json")

    def _on_point(self, point: Point) -> None:
        """A second is over."""
        self._sights.on_point(point)
        self.flight.tune(self.history.totals(point.at - flight.WINDOW))

    def _on_engine_death(self, index: int, error: BaseException | None) -> None:
        log.critical("engine %d ended unexpectedly; proxyd leaves", index, exc_info=error)
        self._exit_code = 1
        self.audit.tell(Note("proxyd", "self", "daemon.stop", detail={"now": True, "why": f"engine {index} ended unexpectedly"}))
        self.stop(now=True)

    def _loop_lag(self) -> float:
        """Seconds that the slowest engine is behind."""
        return max((view.loop_lag_seconds for view in self._engines.views()), default=0.0)

    async def _feed_watchdog(self) -> None:
        """Tell the service manager that we live, but only while every engine turns."""
        period = self._notifier.watchdog_seconds / 2
        patience = max(period, HEARTBEAT_PATIENCE)
        moved = [(-1, self._clock.monotonic())] * len(self._engines.engines)     # last heartbeat seen, and since when
        while True:
            now = self._clock.monotonic()
            moved = [old if old[0] == beat else (beat, now) for old, beat in zip(moved, self._engines.heartbeats(), strict=True)]
            stuck = [str(index) for index, (_, since) in enumerate(moved) if now - since > patience]
            if stuck:
                log.error("engine %s does not turn; the watchdog is not fed", ", ".join(stuck))
            else:
                self._notifier.send("WATCHDOG=1")
            await self._clock.sleep(period)


def _bounds(config: Config) -> Bounds:
    return Bounds(int(config.log.audit.size), config.log.audit.keep)


def serve(
    *,
    path: Path | None = None,
    text: str | None = None,
    services: Sequence[ServiceFactory] = (),
    watch: bool = False,
    last_good: bool = False,
    on_ready: Callable[[Daemon], None] | None = None,
) -> int:
    """Run a daemon on a uvloop loop until a signal stops it; returns the exit code. Raises DaemonError if it cannot start.

    `on_ready` is called once when it serves (the CLI prints its banner there).
    """

    async def main() -> int:
        allow_many_files()
        daemon = Daemon(path=path, text=text, services=services, watch=watch, last_good=last_good, signals=True)
        set_up_log("info")
        await daemon.start()
        # What is there now stays: no collection of garbage needs to walk it (60 ms, in which neither the loop nor an inline engine moves).
        gc.freeze()
        gc.enable()
        if on_ready is not None:
            on_ready(daemon)
        return await daemon.wait()

    return uvloop.run(main())
