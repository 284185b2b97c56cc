"""Least recently used, as a control: the cache itself, and what theory says of it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence


class Lru:
    """Of objects of size 1."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.kept: OrderedDict[int, None] = OrderedDict()

    def ask(self, items: Iterable[int]) -> int:
        """How many of these requests are hits."""
        kept, room, hits = self.kept, self.capacity, 0
        to_end, evict = kept.move_to_end, kept.popitem
        for item in items:
            if item in kept:
                to_end(item)
                hits += 1
            else:
                if len(kept) >= room:
                    evict(last=False)
                kept[item] = None
        return hits


def che(shares: Sequence[tuple[float, float]], capacity: int) -> float:
    """The hit ratio by Che's approximation (Che, Tung, Wang, "Hierarchical web caching systems", JSAC 2002): an object stays for one time T
    since it was last asked for, the T for which the expected number of objects is the capacity.

    `shares`: (how many objects, share of the requests that each of them has).
    """
    low, high = 0.0, 1.0
    while sum(n * -math.expm1(-p * high) for n, p in shares) < capacity:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if sum(n * -math.expm1(-p * middle) for n, p in shares) < capacity:
            low = middle
        else:
            high = middle
    return sum(n * p * -math.expm1(-p * high) for n, p in shares)
