"""The daemon's part for users' filters: which of them there are, and who answers the engines' questions.

A pool belongs to a policy (to its `Hooks`): it comes with the first config that uses it on a route, and is redefined by later ones without
a request noticing. Engines that still use an older snapshot ask the pool as it is now. It goes when no snapshot names its Hooks any more.

A filter is loaded before the config that brings it is taken: one that does not load refuses the config, and what serves serves on.
"""
from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxyd.clock import Clock
from proxyd.diagnostics import Diagnostic
from proxyd.filters.counters import FilterCounters, FilterEntry
from proxyd.filters.generation import Generation
from proxyd.filters.pool import FilterSettings, Pool
from proxyd.filters.process import LoadFailed, start_worker
from proxyd.state import DaemonError
from proxyd.tasks import Tasks
from proxyd_ext.snapshot.spec import PythonFilter

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd.config.python_filter import PythonFilter as PythonPolicy
    from proxyd.filters.generation import Asking, StartWorker
    from proxyd.filters.protocol import HookWord
    from proxyd_ext.filter.hooks import Hooks
    from proxyd_ext.snapshot.spec import SnapshotSpec


@dataclass(frozen=True, slots=True)
class _Part:
    """What becomes of one policy when the config is taken. `generation` None: the one that answers will do."""

    pool: Pool
    settings: FilterSettings
    generation: Generation | None


class Filters:
    def __init__(self, tasks: Tasks, clock: Clock, *, start: StartWorker = start_worker) -> None:
        """`tasks`: in which filters leave that no config names any more."""
        self._tasks, self._clock, self._start_worker = tasks, clock, start
        self._pools: dict[int, Pool] = {}                   # by Hooks.id
        self._counters: dict[str, FilterCounters] = {}      # by policy: they never go backwards
        self._prepared: tuple[SnapshotSpec, list[_Part]] | None = None

    # ------------------------------------------------------------------ life
    async def prepare(self, config: Config, spec: SnapshotSpec) -> None:
        """Load what `follow` is going to need. DaemonError: a filter does not load, and nothing is left of the attempt.

        For a dry run, too: `abandon` takes it back.
        """
        await self.abandon()
        wanted = [(self._pool_for(hooks, settings), settings) for hooks, settings in _wanted(config, spec)]
        loading = [asyncio.ensure_future(pool.prepare(settings)) for pool, settings in wanted]
        try:
            results = await asyncio.gather(*loading, return_exceptions=True)
        except asyncio.CancelledError:
            results = await asyncio.gather(*loading, return_exceptions=True)       # they were cancelled with us; what had loaded goes
            await _close(result for result in results if isinstance(result, Generation))
            raise
        refused = [_refusal(settings, error) for (_, settings), error in zip(wanted, results, strict=True) if isinstance(error, LoadFailed)]
        unexpected = [result for result in results if isinstance(result, BaseException) and not isinstance(result, LoadFailed)]
        if refused or unexpected:
            await _close(result for result in results if isinstance(result, Generation))
            raise unexpected[0] if unexpected else DaemonError(refused[0].message, refused)
        parts = [_Part(pool, settings, result) for (pool, settings), result in zip(wanted, results, strict=True)
                 if not isinstance(result, BaseException)]  # fmt: skip
        self._prepared = spec, parts

    async def follow(self, config: Config, spec: SnapshotSpec) -> None:
        """The config is being taken: its filters answer from now on. Never fails when `prepare` has been called; else as that does."""
        if self._prepared is None or self._prepared[0] is not spec:
            await self.prepare(config, spec)
        _, parts = self._prepared or (spec, [])
        self._prepared = None
        for part in parts:
            part.pool.take(part.settings, part.generation)
            self._pools[part.pool.id] = part.pool

    async def abandon(self) -> None:
        """The config that was prepared is not taken."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            await _close(part.generation for part in prepared[1] if part.generation is not None)

    def keep_only(self, ids: Collection[int]) -> None:
        """Let go of the filters whose Hooks no snapshot names any more; `ids`: of those that are named."""
        for number in [number for number in self._pools if number not in ids]:
            pool = self._pools.pop(number)
            self._tasks.spawn(f"filter {pool.settings.name} leaves", pool.close())

    async def close(self) -> None:
        """After the engines have closed. Some seconds at most, whatever the filters do."""
        await self.abandon()
        pools, self._pools = self._pools, {}
        await asyncio.gather(*(pool.close() for pool in pools.values()))

    def _pool_for(self, hooks: Hooks, settings: FilterSettings) -> Pool:
        counters = self._counters.setdefault(settings.name, FilterCounters())
        return self._pools.get(hooks.id) or Pool(hooks, settings, self._clock, counters, self._start_worker)

    # ------------------------------------------------------------------ what engines ask
    def on_filter(self, engine: Asking, slot: int, generation: int, hooks_id: int, hook: HookWord, request: bytes) -> None:
        """Answers by `change`, `reply` or `fail` of the engine, at once or later. Microseconds; never waits."""
        pool = self._pools.get(hooks_id)
        if pool is None:
            engine.fail(slot, generation)
        else:
            pool.ask(engine, slot, generation, hook, request)

    # ------------------------------------------------------------------ facts
    def entries(self) -> tuple[FilterEntry, ...]:
        return tuple(sorted((pool.entry() for pool in self._pools.values()), key=lambda entry: entry.policy))


def _wanted(config: Config, spec: SnapshotSpec) -> list[tuple[Hooks, FilterSettings]]:
    """The filters that some route asks: a policy that nobody uses costs nothing."""
    found: dict[int, tuple[Hooks, FilterSettings]] = {}
    for filter_ in (filter_ for table in spec.tables for route in table for filter_ in route.filters):
        if isinstance(filter_, PythonFilter) and filter_.hooks.id not in found:
            python = config.policies[filter_.policy].python
            if python is not None:
                found[filter_.hooks.id] = filter_.hooks, _settings(filter_.policy, python)
    return list(found.values())


def _settings(name: str, python: PythonPolicy) -> FilterSettings:
    return FilterSettings(
        name, python.file.path, python.timeout.seconds, python.workers, python.max_pending, python.disable_after, python.disable_for.seconds
    )


def _refusal(settings: FilterSettings, error: LoadFailed) -> Diagnostic:
    message = f"the filter `{settings.name}` does not load: {error}"
    help = "its file is run once in a worker before the config is taken"
    return Diagnostic("PXD-089", message, help=help, path=f"policies.{settings.name}.python.file")


async def _close(generations: Iterable[Generation]) -> None:
    await asyncio.gather(*(generation.close() for generation in generations))
