"""Keeps the addresses of every name that the config uses as an origin.

One task a name: look up, tell if the addresses changed, sleep for the TTL, again. When a lookup fails the last addresses stay (a
resolver that is down must not take the origins with it) and it is tried again soon. A name that never resolved is a server that is down,
with a warning.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxyd.clock import Clock
from proxyd.discovery.resolver import ResolveError, Resolver
from proxyd.tasks import Tasks

RETRY_FIRST = 1.0    # seconds to the next try after a failed lookup, doubled each time
RETRY_MAX = 30.0
LOG_EVERY = 60       # of the failures in a row, the first is logged and then each sixtieth

log = logging.getLogger("proxyd.discovery")


@dataclass(slots=True)
class Name:
    """What is known about a name."""

    name: str
    addresses: tuple[str, ...] = ()    # empty: never resolved
    error: str = ""                    # why the last lookup failed; "" when it did not
    failures: int = 0                  # in a row
    looked: asyncio.Event = field(default_factory=asyncio.Event, repr=False)    # set once the first lookup has ended
    task: asyncio.Task[None] | None = field(default=None, repr=False)


@dataclass(slots=True)
class Names:
    tasks: Tasks
    clock: Clock
    resolver: Resolver
    on_change: Callable[[], None]      # addresses of some name changed (or came for the first time)
    _names: dict[str, Name] = field(default_factory=dict)

    async def ensure(self, names: Iterable[str], *, wait: float) -> None:
        """Follow these names, too, and wait at most `wait` seconds for the first answers of the new ones."""
        wanted = set(names)
        for name in sorted(wanted - self._names.keys()):
            self._names[name] = entry = Name(name)
            entry.task = self.tasks.keep(f"dns {name}", _runner(self, entry))
        pending = [self._names[name].looked.wait() for name in sorted(wanted) if not self._names[name].looked.is_set()]
        if pending:
            try:
                async with asyncio.timeout(wait):
                    await asyncio.gather(*pending)
            except TimeoutError:
                return

    async def only(self, names: Iterable[str]) -> None:
        """Follow no other names than these."""
        for name in sorted(self._names.keys() - set(names)):
            entry = self._names.pop(name)
            if entry.task is not None:
                await self.tasks.cancel(entry.task)

    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """Name -> its addresses, () for one that has none."""
        return {name: entry.addresses for name, entry in self._names.items()}

    def error(self, name: str) -> str:
        """Why the name cannot be looked up now, in plain words; "" when it can."""
        entry = self._names.get(name)
        if entry is None or not entry.looked.is_set():
            return "no answer yet"
        return entry.error

    async def follow(self, entry: Name) -> None:
        """The life of one name: ends only by cancellation."""
        while True:
            wait = await self._look(entry)
            entry.looked.set()
            await self.clock.sleep(wait)

    async def _look(self, entry: Name) -> float:
        """One lookup; returns the seconds until the next."""
        try:
            answer = await self.resolver.lookup(entry.name)
        except ResolveError as error:
            entry.error = str(error)
            if entry.failures % LOG_EVERY == 0:
                rest = f"its last addresses stay: {', '.join(entry.addresses)}" if entry.addresses else "its servers are down"
                log.warning("%s does not resolve: %s; %s", entry.name, entry.error, rest)
            entry.failures += 1
            return float(min(RETRY_FIRST * 2 ** min(entry.failures - 1, 10), RETRY_MAX))
        if entry.failures:
            log.info("%s resolves again", entry.name)
        entry.error, entry.failures = "", 0
        log.debug("%s is %s for %g s", entry.name, ", ".join(answer.addresses), answer.ttl)
        if answer.addresses != entry.addresses:
            before, entry.addresses = entry.addresses, answer.addresses
            if before:
                log.info("%s moved: %s -> %s", entry.name, ", ".join(before), ", ".join(answer.addresses))
            self.on_change()
        return answer.ttl


def _runner(names: Names, entry: Name) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        await names.follow(entry)

    return run
