"""The overload guard: sheds the lowest classes of requests while proxyd has not enough memory, or is late.

Four times a second it holds what it measures against the config's thresholds. While anything exceeds its own, requests of one class more
are shed with each look, up to all but the critical ones; once everything has been below nine tenths of its threshold for a second, of one
class less. In between nothing changes, so that the guard does not swing about the threshold. What is measured: the process's memory as a
share of what it may have (memory.py), and a delay, the longest that anybody tells of (how late engines are, how long requests wait for a
place).
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from proxyd.clock import Clock
from proxyd.governor.memory import Memory, MemoryReader
from proxyd.tasks import Tasks

if TYPE_CHECKING:
    import asyncio

    from proxyd.config.overload import Overload as OverloadConfig
    from proxyd_ext.limit.overload import Overload

PERIOD = 0.25       # seconds
CALM = 0.9          # of each threshold
CALM_FOR = 1.0      # seconds
CLASSES = ("low", "normal", "high", "critical")
LEVEL_MAX = len(CLASSES) - 1

log = logging.getLogger("proxyd.governor")


@dataclass(frozen=True, slots=True)
class OverloadRule:
    memory: float              # share, 0 to 1, above which requests are shed; 0: any will do
    queue_delay: float         # seconds; 0: any will do
    retry_after: int           # seconds, which those that are shed are told


def overload_rule(config: OverloadConfig | None) -> OverloadRule | None:
    if config is None:
        return None
    return OverloadRule(int(config.memory) / 100, int(config.queue_delay) / 1000, int(config.retry_after))


@dataclass(frozen=True, slots=True)
class OverloadView:
    on: bool                   # a config asks for it
    level: int                 # classes that are shed: 0 none, 3 all but critical
    shed: tuple[str, ...]      # their names
    since: float               # wall time of the last change; 0: there was none
    reason: str                # of the last change, in plain words
    memory: Memory | None      # None: not known
    delay: float               # seconds, the longest at the last look
    raised: int                # changes so far, by direction
    lowered: int


@dataclass(frozen=True, slots=True)
class _Measured:
    ratio: float               # to its threshold
    text: str


class OverloadGuard:
    """`delays` are asked at each look and answer in seconds."""

    def __init__(
        self,
        tasks: Tasks,
        clock: Clock,
        word: Overload,
        delays: Sequence[Callable[[], float]] = (),
        *,
        memory: Callable[[], Memory | None] | None = None,
    ) -> None:
        self._tasks, self._clock, self._word = tasks, clock, word
        self._delays = tuple(delays)
        self._read_memory = memory or MemoryReader().read
        self._rule: OverloadRule | None = None
        self._task: asyncio.Task[None] | None = None
        self._calm_since: float | None = None
        self._memory: Memory | None = None
        self._delay = 0.0
        self._since, self._reason = 0.0, ""
        self._raised = self._lowered = 0

    async def follow(self, rule: OverloadRule | None) -> None:
        """Guard by this rule from now on; None: let everything pass. What is shed stays so under another rule until that finds calm."""
        if rule == self._rule:
            return
        await self._stop()
        self._rule = rule
        if rule is None:
            self._lower(0, "overload: no longer guarded")
            self._memory, self._delay = None, 0.0
            return
        self._word.retry_s = rule.retry_after
        self._task = self._tasks.keep("overload guard", partial(self._guard, rule))

    async def close(self) -> None:
        await self._stop()

    def view(self) -> OverloadView:
        level = self._word.shed_below
        return OverloadView(
            on=self._rule is not None, level=level, shed=CLASSES[:level], since=self._since, reason=self._reason,
            memory=self._memory, delay=self._delay, raised=self._raised, lowered=self._lowered,
        )

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await self._tasks.cancel(task)
        self._calm_since = None

    async def _guard(self, rule: OverloadRule) -> None:
        while True:
            self._look(rule)
            await self._clock.sleep(PERIOD)

    def _look(self, rule: OverloadRule) -> None:
        now, level = self._clock.monotonic(), self._word.shed_below
        measured = list(self._measure(rule))
        worst = max(measured, key=lambda each: each.ratio, default=_Measured(0.0, ""))
        if worst.ratio >= CALM:
            self._calm_since = None
            if worst.ratio > 1 and level < LEVEL_MAX:
                self._raise(level + 1, worst.text)
        elif self._calm_since is None:
            self._calm_since = now
        elif level > 0 and now - self._calm_since >= CALM_FOR:
            self._calm_since = now
            self._lower(level - 1, "overload is over" if level == 1 else "overload becomes less")

    def _measure(self, rule: OverloadRule) -> Iterator[_Measured]:
        self._memory = self._read_memory()
        self._delay = max((delay() for delay in self._delays), default=0.0)
        if rule.memory and self._memory is not None:
            text = f"{self._memory.share:.0%} of {self._memory.limit >> 20} MiB of memory are in use, more than {rule.memory:.0%}"
            yield _Measured(self._memory.share / rule.memory, text)
        if rule.queue_delay:
            yield _Measured(self._delay / rule.queue_delay, f"requests are {self._delay:.3g} s late, more than {rule.queue_delay:.3g} s")

    def _raise(self, level: int, reason: str) -> None:
        self._change(level, f"overload: {reason}")
        self._raised += 1
        log.warning("%s: requests of class %s are shed", self._reason, " and ".join(CLASSES[:level]))

    def _lower(self, level: int, reason: str) -> None:
        if level == self._word.shed_below:
            return
        self._change(level, reason)
        self._lowered += 1
        rest = f"requests of class {' and '.join(CLASSES[:level])} are still shed" if level else "nothing is shed"
        log.info("%s: %s", self._reason, rest)

    def _change(self, level: int, reason: str) -> None:
        self._word.shed_below = level
        self._since, self._reason = self._clock.wall(), reason
