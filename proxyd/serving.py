"""From a loaded config to the last engine's acknowledgement, in an order in which everything that can fail comes before the hand-over.

    prepare       look up new names (bounded), bind new addresses, compile the snapshot            | all of this can fail, and then
    follow        let the services take the config, open its access log                            | what it did is taken back
    hand over     new servers are checked first; publish; wait for every acknowledgement           | cannot fail
    let go        forget names, checks and listeners that left; handles, when the last engine says so

A *republish* is the same without a new config: the addresses of a name have changed, or an operator changed what the upstreams have.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxyd import codes
from proxyd.caching.service import Caching
from proxyd.clock import Clock
from proxyd.config.address import BindAddress
from proxyd.diagnostics import Diagnostic
from proxyd.discovery.names import Names
from proxyd.engines import EngineSet
from proxyd.governor.governor import Governed, Governors
from proxyd.health.check import Address
from proxyd.health.ejections import Ejections
from proxyd.health.monitor import HealthMonitor, Wanted
from proxyd.health.passive import Judged, Outliers
from proxyd.logs.access import AccessSink, LogWanted
from proxyd.overrides import Overrides
from proxyd.policing import Policing
from proxyd.pools import Pools
from proxyd.process import privileges
from proxyd.process.passed import PassedFds
from proxyd.records.tap import Tap
from proxyd.since import Since
from proxyd.snapshot.build import build_spec
from proxyd.snapshot.compiled import Compiled
from proxyd.snapshot.members import Members, names_of, needs_lookup
from proxyd.snapshot.store import ListenerKey, Store
from proxyd.sockets import BindError, Bound, close_all, open_bound, socket_kind
from proxyd.state import DaemonError, Service
from proxyd.upkeep import build_checks, cache_wanted, governor_policy, hedge_percentiles, outlier_policy
from proxyd.views import Views
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot import Snapshot

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd_ext.balance.server import Server
    from proxyd_ext.snapshot.spec import UpstreamSpec

NAMES_WAIT = 2.0    # seconds that a start or a reload waits for the first answers of new names

log = logging.getLogger("proxyd.serving")


@dataclass(slots=True)
class Serving:
    """What serves, and the steps that change it. One caller at a time."""

    clock: Clock
    engines: EngineSet
    names: Names
    health: HealthMonitor
    ejections: Ejections
    outliers: Outliers
    governors: Governors
    pools: Pools
    since: Since
    services: Sequence[Service]
    passed: PassedFds
    caching: Caching
    policing: Policing
    store: Store
    tap: Tap
    current: Compiled | None = None
    sink: AccessSink | None = None
    overrides: Overrides = field(default_factory=Overrides)
    _candidate: Compiled | None = None       # compiled, not handed over yet: its handles must not be let go meanwhile
    _flows: bool = False                     # some listener has (had) flows, which may have outlived it

    @property
    def compiled(self) -> Compiled:
        if self.current is None:
            raise RuntimeError("nothing serves yet")
        return self.current

    def _sink(self) -> AccessSink:
        if self.sink is None:
            raise RuntimeError("nothing serves yet")
        return self.sink

    @property
    def views(self) -> Views:
        return Views(self.compiled, self.store, self.health, self.ejections, self.governors, self.names, self.since, self.overrides)

    async def take(self, config: Config, config_hash: str) -> None:
        """Serve this config. DaemonError: it cannot be done, and what served before serves on."""
        try:
            candidate = await self._prepare(config, config_hash)
            sink = await self._follow(config)
            if self.current is None:
                privileges.drop(config.runtime.user, config.runtime.group, privileges.files_of(config, self.bounds()))
        except BaseException:
            await self._abandon()
            raise
        await self._hand_over(candidate, sink)

    async def try_out(self, config: Config, config_hash: str) -> None:
        """Do what can fail, and take it back: the answer to a dry run. DaemonError as `take` would raise it (but for the services)."""
        try:
            await self._prepare(config, config_hash)
        finally:
            await self._abandon()

    async def republish(self) -> bool:
        """Bring new addresses of names, and changed overrides, to the engines. False when the members are what they were."""
        before = self.compiled
        members = self.overrides.members(before.config, self.names.addresses())
        if members == before.members:
            return False
        await self._hand_over(self._compile(before.config, members, before.config_hash), self._sink())
        return True

    async def refresh(self, upstream: str) -> None:
        """`overrides` say something else of this upstream: bring it to the engines."""
        await self.names.ensure(self._names_of(self.compiled.config), wait=NAMES_WAIT)
        if not await self.republish():
            self._mark_states(self.compiled.members, upstream)
            self.note_states(upstream)
        await self.pools.rebuild(upstream)      # also that of a new snapshot: it was compiled before the states were told

    def upstream_spec(self, upstream: str) -> UpstreamSpec | None:
        """Of an upstream that serves now."""
        specs = self.current.spec.upstreams if self.current is not None else ()
        return next((spec for spec in specs if spec.name == upstream), None)

    def on_state(self, upstream: str) -> None:
        """A server of the upstream left or returned."""
        self.note_states(upstream)
        if self.current is not None:
            self.pools.changed(upstream)

    def note_states(self, upstream: str) -> None:
        """The state of some server of the upstream may have changed: remember when, and have the flows looked at that it has."""
        if self.current is not None and upstream in self.current.members:
            self.views.note_states(upstream)
            if self._flows:
                self.engines.review()

    def unresolved(self, config: Config) -> list[Diagnostic]:
        """A warning for every server whose name has no address now."""
        return [
            Diagnostic(
                codes.UNRESOLVED.code, f"{server.address} does not resolve: {self.names.error(server.address.host)}",
                help="its servers count as down until it does", severity="warning", path=f"upstreams.{name}.servers[{index}].address",
            )
            for name, upstream in config.upstreams.items()
            for index, server in enumerate(upstream.servers)
            if needs_lookup(server.address) and not self.names.addresses().get(server.address.host)
        ]

    def sweep(self) -> None:
        """Let go of handles that no engine can use any more."""
        kept = [compiled.spec for compiled in (self.current, self._candidate) if compiled is not None]
        living = [*self.engines.specs(), *kept]
        self.store.sweep(living)
        self.policing.keep_only(living)
        self.ejections.forget_others(set(self.store.servers))
        if self.current is not None:
            self.since.forget_others({(name, member.label) for name, members in self.current.members.items() for member in members})

    def bounds(self) -> list[Bound]:
        """All listening sockets, those of the services, too."""
        return [*self.store.bounds(), *(bound for service in self.services for bound in service.bounds())]

    async def save(self) -> None:
        """Write what another process is going to read: the cache's snapshot, and usage of quotas."""
        await self.caching.save()
        await self.policing.gateway.save()

    async def hand_over(self) -> None:
        """Another process serves at these addresses: the services stop listening, and no file is ours to remove or to write."""
        await self.caching.hand_over()
        await self.policing.gateway.hand_over()
        for bound in self.store.bounds():
            bound.give_away()
        for service in self.services:
            await service.hand_over()

    def close(self) -> None:
        """After the engines have closed."""
        self.store.remove_files()
        if self.sink is not None:
            self.sink.close()
            self.tap.finish(self.sink.log)

    # ------------------------------------------------------------------ the steps
    async def _prepare(self, config: Config, config_hash: str) -> Compiled:
        await self.names.ensure(self._names_of(config), wait=NAMES_WAIT)
        self._bind(config)
        try:
            candidate = self._compile(config, self.overrides.members(config, self.names.addresses()), config_hash)
        except ValueError as error:
            raise _failed(codes.COMPILE_FAILED, f"the engines refuse the config: {error}") from error
        await self.policing.prepare(config, candidate.spec)
        return candidate

    def _bind(self, config: Config) -> None:
        """Bind every address that is not bound yet, and report all that cannot be."""
        wanted = dict(binds_of(config))
        bounds: list[tuple[ListenerKey, Bound]] = []
        errors: list[Diagnostic] = []
        engines = len(self.engines.engines)
        for key, (bind, path) in wanted.items():
            if key in self.store.listeners:
                continue
            try:
                exclusive = not self.store.is_leaving(bind, wanted.keys(), key.kind)
                bound = open_bound(bind, engines=engines, kind=key.kind, exclusive=exclusive, passed=self.passed, place=False)
                bounds.append((key, bound))
            except BindError as error:
                errors.append(Diagnostic(codes.BIND_FAILED.code, f"listener {key.name}: {error}", help=error.help, path=path))
        if errors:
            close_all([bound for _, bound in bounds])
            raise DaemonError(errors[0].message, errors)
        for key, bound in bounds:
            self.store.adopt(key.name, key.bind, bound)

    def _compile(self, config: Config, members: Members, config_hash: str) -> Compiled:
        def listen(name: str, bind: BindAddress) -> Listener:
            return self.store.listeners[ListenerKey(name, str(bind), socket_kind(config.listeners[name].mode))].listener

        generation = self.current.generation + 1 if self.current is not None else 1
        cache = self.store.cache_for(config)
        spec = build_spec(config, members, listen, self.store, generation=generation, config_hash=config_hash, cache=cache)
        self._candidate = Compiled(config, members, spec, Snapshot(spec))
        return self._candidate

    async def _follow(self, config: Config) -> AccessSink:
        """The access log of the new config, which may be the one that is written now."""
        followed: list[Service] = []
        try:
            for service in self.services:
                followed.append(service)
                await service.apply(config)
            sink = self._open_log(config)
            try:
                self.store.place_files()
            except OSError:
                if sink is not self.sink:
                    sink.close()
                raise
            return sink
        except (DaemonError, OSError) as error:
            if self.current is not None:
                await _go_back(followed, self.current.config)
            if isinstance(error, DaemonError):
                raise
            raise _failed(codes.SERVICE_FAILED, str(error)) from error

    def _open_log(self, config: Config) -> AccessSink:
        wanted = LogWanted.of(config)
        if self.sink is not None and self.sink.wanted == wanted:
            return self.sink
        try:
            sink = AccessSink.open(wanted, len(self.engines.engines))
            self.tap.prepare(sink.log)
            return sink
        except DaemonError as error:
            raise _failed(codes.LOG_FAILED, str(error), "log.access.to") from error

    async def _hand_over(self, candidate: Compiled, sink: AccessSink) -> None:
        for dropped in self.overrides.keep_only(candidate.config):
            log.info("override dropped, the config no longer has its server: %s/%s %s", dropped.upstream, dropped.server, dropped.text)
        for upstream in candidate.members:
            self._mark_states(candidate.members, upstream)
        wanted = list(self._checks(candidate))
        await self.health.apply(wanted, keep_others=True)
        await self.caching.follow(cache_wanted(candidate.config, candidate.spec))
        await self.policing.follow(candidate.config, candidate.spec)
        await self.engines.publish(candidate.spec, candidate.native, sink.log)
        self.current, self._candidate = candidate, None
        self.store.depart_others(dict(binds_of(candidate.config)).keys())
        self._flows |= any(listener.flow is not None for listener in candidate.spec.listeners)
        self.store.resize_cache(candidate.config)
        await self.policing.taken(candidate.config)
        before, self.sink = self.sink, sink
        self.tap.follow(sink.log)
        if before is not None and before is not sink:
            sink.follow(before)
            await asyncio.to_thread(before.close)
            sink.forget()
            self.tap.finish(before.log)
        for upstream in candidate.members:
            self.on_state(upstream)      # states may have changed since the snapshot was compiled
        await self._forget_names()
        await self.health.apply(wanted)
        await self.outliers.apply(self._judged(candidate))
        await self.governors.apply(self._governed(candidate))
        self.sweep()

    async def _abandon(self) -> None:
        self._candidate = None
        await self.policing.abandon()
        self.sweep()
        await self._forget_names()

    async def _forget_names(self) -> None:
        await self.names.only(self._names_of(self.current.config) if self.current is not None else ())

    def _names_of(self, config: Config) -> frozenset[str]:
        return names_of(self.overrides.config(config))

    def _mark_states(self, members: Members, upstream: str) -> None:
        """Tell the upstream's servers the states that operators gave them."""
        for member in members[upstream]:
            if member.address is not None:
                self.overrides.mark(upstream, member, self.store.server(upstream, member.label, member.address))

    def _servers(self, compiled: Compiled, upstream: str) -> Iterator[tuple[str, Address, Server]]:
        """Label, address and handle of every server that has an address."""
        for member in compiled.members[upstream]:
            if member.address is not None:
                yield member.label, member.address, self.store.server(upstream, member.label, member.address)

    def _checks(self, compiled: Compiled) -> Iterator[Wanted]:
        for name, upstream in compiled.config.upstreams.items():
            checks = build_checks(upstream)
            for label, address, server in self._servers(compiled, name):
                yield Wanted(name, label, address, server, checks)

    def _judged(self, compiled: Compiled) -> Iterator[Judged]:
        for name, upstream in compiled.config.upstreams.items():
            servers = tuple((label, server) for label, _, server in self._servers(compiled, name))
            yield Judged(name, outlier_policy(upstream.health.passive), servers)

    def _governed(self, compiled: Compiled) -> Iterator[Governed]:
        hedges = hedge_percentiles(compiled.config)
        for name, upstream in compiled.config.upstreams.items():
            yield Governed(name, governor_policy(upstream.circuit, hedges.get(name)), self.store.upstream(name))


def binds_of(config: Config) -> Iterator[tuple[ListenerKey, tuple[BindAddress, str]]]:
    """Each listener's key -> the address and its path in the config."""
    for name, listener in config.listeners.items():
        for index, bind in enumerate(listener.bind):
            yield ListenerKey(name, str(bind), socket_kind(listener.mode)), (bind, f"listeners.{name}.bind[{index}]")


async def _go_back(services: Sequence[Service], config: Config) -> None:
    """The reload failed: the services that may have taken the new config take the old one again."""
    for service in services:
        try:
            await service.apply(config)
        except (DaemonError, OSError) as error:
            log.error("%s cannot go back to the running config: %s", type(service).__name__, error)


def _failed(code: codes.Code, message: str, path: str = "") -> DaemonError:
    return DaemonError(message, [Diagnostic(code.code, message, path=path)])
