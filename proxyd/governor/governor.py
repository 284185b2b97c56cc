"""Runs breaker, adaptive limit and hedge delay: one task for each upstream that has any of them.

A part whose settings stay the same over a reload goes on with what it knows; one that leaves, or whose settings change, takes its word
back from the engines first.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from proxyd.clock import Clock
from proxyd.governor.breaker import Breaker, BreakerPolicy, CircuitState, Counts
from proxyd.governor.gradient import SAMPLE_MIN, AdaptivePolicy, Gradient
from proxyd.governor.percentile import HedgeDelay
from proxyd.state import CircuitView, GovernorView
from proxyd.tasks import Tasks
from proxyd_ext.core.stats import BUCKETS_SECONDS

GRADIENT_PERIOD = 0.5    # seconds
HEDGE_PERIOD = 1.0

log = logging.getLogger("proxyd.governor")


class Handle(Protocol):
    """What is governed; `proxyd_ext.balance.pool.UpstreamState` is one."""

    def stats(self) -> Mapping[str, Any]: ...

    def set_circuit(self, circuit: CircuitState, probes: int = 0) -> None: ...

    def set_limit(self, most: int) -> None: ...

    def set_hedge_ms(self, ms: int) -> None: ...


@dataclass(frozen=True, slots=True)
class GovernorPolicy:
    breaker: BreakerPolicy | None = None
    adaptive: AdaptivePolicy | None = None
    hedge: float | None = None     # percentile as a share: 0.95

    def __bool__(self) -> bool:
        return self != GovernorPolicy()


@dataclass(frozen=True, slots=True)
class Governed:
    upstream: str
    policy: GovernorPolicy
    handle: Handle


class _Part(Protocol):
    """One of the three, bound to its upstream. `period` is in seconds."""

    @property
    def period(self) -> float: ...

    def on_look(self, now: float, stats: Mapping[str, Any]) -> None: ...

    def release(self) -> None:
        """Take back what the engines were told."""


@dataclass(slots=True)
class _Circuit:
    upstream: str
    handle: Handle
    clock: Clock
    breaker: Breaker
    since: float                   # wall time of the last change
    last: Counts
    on_change: Callable[[str, CircuitView], None]

    @property
    def period(self) -> float:
        return self.breaker.policy.period

    def on_look(self, now: float, stats: Mapping[str, Any]) -> None:
        counts = counts_of(stats)
        did, self.last = counts - self.last, counts
        before = self.breaker.state
        order = self.breaker.on_look(now, did)
        if order is None:
            return
        self.handle.set_circuit(order.state, order.probes)
        self.last = replace(counts, probes_ok=0, probes_failed=0)        # the engines count the probes of each order from zero
        if order.state != before:
            self.since = self.clock.wall()
            self._tell()
            self.on_change(self.upstream, self.view())

    def _tell(self) -> None:
        breaker = self.breaker
        match breaker.state:
            case "open":
                log.warning("%s: circuit opens for %g s: %s", self.upstream, breaker.open_seconds, breaker.reason)
            case "half_open":
                log.info("%s: circuit is half open: %s", self.upstream, breaker.reason)
            case "closed":
                log.info("%s: circuit closes: %d trial requests went well", self.upstream, breaker.policy.probes)

    def release(self) -> None:
        self.handle.set_circuit("closed")

    def view(self) -> CircuitView:
        return CircuitView(self.breaker.state, self.since, self.breaker.reason)


@dataclass(slots=True)
class _Limit:
    upstream: str
    handle: Handle
    gradient: Gradient
    last: tuple[float, int]        # sum and count of the response times at the last sample
    limit: int = 0
    period: float = GRADIENT_PERIOD

    def on_look(self, now: float, stats: Mapping[str, Any]) -> None:
        times = stats["response_seconds"]
        total, count = times["sum"] - self.last[0], times["count"] - self.last[1]
        if count >= SAMPLE_MIN:
            self.last = (times["sum"], times["count"])
            self.tell(self.gradient.on_sample(total / count, stats["in_flight"]))

    def tell(self, limit: int) -> None:
        if limit != self.limit:
            log.debug("%s: limit %d -> %d", self.upstream, self.limit, limit)
            self.limit = limit
            self.handle.set_limit(limit)

    def release(self) -> None:
        self.handle.set_limit(0)


@dataclass(slots=True)
class _Hedge:
    handle: Handle
    delay: HedgeDelay
    ms: int = 0
    period: float = HEDGE_PERIOD

    def on_look(self, now: float, stats: Mapping[str, Any]) -> None:
        ms = self.delay.on_look(now, stats["response_seconds"]["buckets"])
        if ms != self.ms:
            self.ms = ms
            self.handle.set_hedge_ms(ms)

    def release(self) -> None:
        self.handle.set_hedge_ms(0)


@dataclass(slots=True)
class _Governor:
    """Of one upstream."""

    governed: Governed
    circuit: _Circuit | None = None
    limit: _Limit | None = None
    hedge: _Hedge | None = None
    task: asyncio.Task[None] | None = None

    def parts(self) -> list[_Part]:
        return [part for part in (self.circuit, self.limit, self.hedge) if part is not None]


@dataclass(slots=True)
class Governors:
    tasks: Tasks
    clock: Clock
    on_circuit: Callable[[str, CircuitView], None] = lambda _upstream, _circuit: None
    _governors: dict[str, _Governor] = field(default_factory=dict)

    async def apply(self, wanted: Iterable[Governed]) -> None:
        """Govern exactly these."""
        new = {item.upstream: item for item in wanted if item.policy}
        for name, governor in list(self._governors.items()):
            if new.get(name) != governor.governed and governor.task is not None:
                await self.tasks.cancel(governor.task)
                governor.task = None
        for name in self._governors.keys() - new.keys():
            for part in self._governors.pop(name).parts():
                part.release()
        for name, item in new.items():
            before = self._governors.get(name)
            if before is None or before.task is None:
                governor = self._governors[name] = self._renewed(before, item)
                governor.task = self.tasks.keep(f"governor {name}", partial(self._govern, governor))

    def view(self, upstream: str) -> GovernorView:
        governor = self._governors.get(upstream)
        if governor is None:
            return GovernorView()
        return GovernorView(
            circuit=governor.circuit.view() if governor.circuit is not None else None,
            limit=governor.limit.limit if governor.limit is not None else 0,
            hedge_ms=governor.hedge.ms if governor.hedge is not None else 0,
        )

    def _renewed(self, before: _Governor | None, item: Governed) -> _Governor:
        """Parts as the policy wants them, those of `before` kept where nothing changed for them."""
        governor, policy, handle = _Governor(item), item.policy, item.handle
        kept: set[int] = set()
        if before is not None and before.governed.handle is handle:
            old = before.governed.policy
            governor.circuit = before.circuit if old.breaker == policy.breaker else None
            governor.limit = before.limit if old.adaptive == policy.adaptive else None
            governor.hedge = before.hedge if old.hedge == policy.hedge else None
            kept = {id(part) for part in governor.parts()}
        for part in before.parts() if before is not None else ():
            if id(part) not in kept:
                part.release()
        stats = handle.stats()
        if policy.breaker is not None and governor.circuit is None:
            governor.circuit = _Circuit(
                item.upstream, handle, self.clock, Breaker(policy.breaker), self.clock.wall(), counts_of(stats), self.on_circuit,
            )
        if policy.adaptive is not None and governor.limit is None:
            gradient, times = Gradient(policy.adaptive), stats["response_seconds"]
            governor.limit = _Limit(item.upstream, handle, gradient, (times["sum"], times["count"]))
            governor.limit.tell(int(gradient.limit))
        if policy.hedge is not None and governor.hedge is None:
            governor.hedge = _Hedge(handle, HedgeDelay(policy.hedge, BUCKETS_SECONDS))
        return governor

    async def _govern(self, governor: _Governor) -> None:
        """The life of one task: ends only by cancellation. Each part is looked after once in its period."""
        due: list[tuple[float, _Part]] = [(self.clock.monotonic(), part) for part in governor.parts()]
        while True:
            now = self.clock.monotonic()
            ready = [part for at, part in due if at <= now]
            if ready:
                stats = governor.governed.handle.stats()
                for part in ready:
                    part.on_look(now, stats)
                due = [(now + part.period if at <= now else at, part) for at, part in due]
            await self.clock.sleep(min(at for at, _ in due) - now)


def counts_of(stats: Mapping[str, Any]) -> Counts:
    return Counts(stats["finished"], stats["failed"], stats["probes"]["ok"], stats["probes"]["failed"])
