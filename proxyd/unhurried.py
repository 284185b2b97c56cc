"""Work on a thread that leaves the event loop its turns."""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

SPELL_SECONDS = 0.0005
REST_SECONDS = 0.00005

T = TypeVar("T")


def unhurried(items: Iterable[T]) -> Iterator[T]:
    """The items, with a rest after each half millisecond of work on them. The interpreter takes the GIL from a thread only after five, so
    the event loop would wait as long whenever it wakes up; it gets its turn while this thread sleeps. Not for the loop itself."""
    began = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - began > SPELL_SECONDS:
            time.sleep(REST_SECONDS)
            began = time.perf_counter()
