"""The native handles of those who have API keys. They outlive reloads and verdicts, since they hold what was used of a quota."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from proxyd_ext.auth.verdict import Consumer

if TYPE_CHECKING:
    from proxyd.config.plans import Period

ConsumerKey = tuple["Period", str]     # (period of the quota, name): counts of days and of months do not mix


class Consumers:
    """One handle a name and kind of period, whatever policies name it, for the life of the daemon: as many as configs have named keys."""

    def __init__(self) -> None:
        self._held: dict[ConsumerKey, Consumer] = {}
        self._waiting: dict[ConsumerKey, tuple[int, int]] = {}     # usage from disk of whom nobody has named yet

    def get(self, name: str, period: Period = "day") -> Consumer:
        key = (period, name)
        if key not in self._held:
            self._held[key] = consumer = Consumer(name)
            if key in self._waiting:
                consumer.set_usage(*self._waiting.pop(key))
        return self._held[key]

    def hash_of(self, name: str) -> int | None:
        """Under which the tables of usage plans know one; None: nobody has that name."""
        return next((consumer.hash for (_, held), consumer in self._held.items() if held == name), None)

    def restore(self, key: ConsumerKey, number: int, used: int, *, on_top: bool) -> None:
        """Usage from disk. `on_top`: what has been counted here in the same period is not part of it; else the larger of both counts."""
        consumer = self._held.get(key)
        here = consumer.usage() if consumer is not None else self._waiting.get(key, (0, 0))
        if here[0] == number and on_top:
            used += here[1]
        if (number, used) <= here:
            return
        if consumer is not None:
            consumer.set_usage(number, used)     # what an engine counts at this very moment is lost
        else:
            self._waiting[key] = (number, used)

    def usage(self) -> Iterator[tuple[ConsumerKey, int, int]]:
        """(key, number of the period, requests) of all who have used anything, named by the config or not."""
        for key, consumer in self._held.items():
            number, used = consumer.usage()
            if used:
                yield key, number, used
        for key, (number, used) in self._waiting.items():
            yield key, number, used
