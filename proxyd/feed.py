"""One who tells and many who listen, each at its own pace: who is too slow misses what it has no room for, and can see how much."""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

ROOM = 256       # items that wait for a slow listener

T = TypeVar("T")


@dataclass(slots=True, eq=False)      # eq=False: each is one of a set
class Listening(Generic[T]):
    """The queue of one listener."""

    room: int = ROOM
    missed: int = 0                # items that it had no room for, since the start
    _items: deque[T] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, item: T) -> None:
        if len(self._items) >= self.room:
            self.missed += 1
            return
        self._items.append(item)
        self._news.set()

    async def wait(self, seconds: float) -> bool:
        """Until there is something to take; False when nothing came in that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        """End the wait, with nothing to take."""
        self._news.set()

    def take(self) -> list[T]:
        """All that waits, the oldest first."""
        found = list(self._items)
        self._items.clear()
        self._news.clear()
        return found


class Feed(Generic[T]):
    """Event loop only."""

    def __init__(self) -> None:
        self._listening: set[Listening[T]] = set()

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listening)

    def tell(self, item: T) -> None:
        for listening in self._listening:
            listening.put(item)

    def miss(self, count: int) -> None:
        """So many items never came here: all who listen missed them."""
        for listening in self._listening:
            listening.missed += count

    @contextmanager
    def listen(self, room: int = ROOM) -> Iterator[Listening[T]]:
        listening: Listening[T] = Listening(room)
        self._listening.add(listening)
        try:
            yield listening
        finally:
            self._listening.discard(listening)
