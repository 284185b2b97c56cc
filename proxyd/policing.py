"""What stands beside the engines for policies: who a credential is (`gateway`), users' filters (`filters`), limits that are shared and what
all of them do (`limits`), and the guard against overload. One object, so that the daemon follows, asks and ends them together.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxyd.filters.service import Filters
from proxyd.gateway.service import Gateway
from proxyd.governor.overload import OverloadGuard, overload_rule
from proxyd.limits.service import Limits
from proxyd.snapshot.gates import configure_gate
from proxyd_ext.filter.key import hash_key
from proxyd_ext.limit.rate import now_us
from proxyd_ext.snapshot.spec import PythonFilter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxyd.clock import Clock
    from proxyd.config.model import Config
    from proxyd.snapshot.store import Store
    from proxyd.tasks import Tasks
    from proxyd_ext.snapshot.spec import SnapshotSpec


class Policing:
    def __init__(self, tasks: Tasks, clock: Clock, store: Store, loop_lag: Callable[[], float]) -> None:
        """`loop_lag`: seconds that the slowest engine is behind."""
        self._store = store
        self.gateway = Gateway(tasks, clock)
        self.filters = Filters(tasks, clock)
        self.limits = Limits(clock, store.gate, now_us, hash_key, consumer=self.gateway.consumers.hash_of)
        self.overload = OverloadGuard(tasks, clock, store.overload, (loop_lag, self._oldest_wait))

    def _oldest_wait(self) -> float:
        return self._store.gate.stats()["oldest_wait_us"] / 1e6

    async def prepare(self, config: Config, spec: SnapshotSpec) -> None:
        """What can fail. DaemonError: the config is refused, and nothing is left of the attempt."""
        await self.filters.prepare(config, spec)

    async def abandon(self) -> None:
        await self.filters.abandon()

    async def follow(self, config: Config, spec: SnapshotSpec) -> None:
        """The config is being taken; before the engines get it, so that none asks too early."""
        await self.gateway.follow(config, spec)
        await self.filters.follow(config, spec)
        await self.limits.follow(config, spec)
        configure_gate(self._store, config)

    async def taken(self, config: Config) -> None:
        """The engines serve it now."""
        await self.overload.follow(overload_rule(config.runtime.overload))

    def keep_only(self, specs: Iterable[SnapshotSpec]) -> None:
        """Let go of what none of these snapshots names."""
        self.filters.keep_only({
            filter_.hooks.id
            for spec in specs for table in spec.tables for route in table for filter_ in route.filters
            if isinstance(filter_, PythonFilter)
        })

    async def close(self) -> None:
        """After the engines have closed."""
        await self.overload.close()
        await self.limits.close()
        await self.filters.close()
        await self.gateway.close()
