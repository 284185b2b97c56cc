"""Pinned samplers of Zipf's law in plain Python; the native ones (`proxyd_ext.cache.replay`) draw the same numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

_MASK = (1 << 64) - 1


def mix64(x: int) -> int:
    """The finaliser of splitmix64."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def splitmix64(seed: int) -> Iterator[int]:
    """Steele, Lea, Flood 2014."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        yield mix64(state)


def cubic_sizes(n: int) -> list[int]:
    """Sizes of n objects from 100 B to 10 MB, most of them small: 100 * 10 ** (5 * z ** 3), z uniform and the same for the same object."""
    return [int(100 * 100_000 ** (((mix64(item * 7919 + 13) >> 11) / 2**53) ** 3)) for item in range(n)]


def exact(n: int, theta: float, seed: int) -> Iterator[int]:
    """Ranks from 0, each with probability (rank + 1) ** -theta: the distribution function, searched."""
    sums = list(accumulate((rank + 1) ** -theta for rank in range(n)))
    for x in splitmix64(seed):
        yield min(bisect_right(sums, (x >> 11) / 2**53 * sums[-1]), n - 1)


def gray(n: int, theta: float, seed: int) -> Iterator[int]:
    """The approximation of Gray et al. (SIGMOD 1994), as YCSB's ZipfianGenerator has it."""
    zeta = list(accumulate((rank + 1) ** -theta for rank in range(n)))
    eta = (1 - (2 / n) ** (1 - theta)) / (1 - zeta[1] / zeta[-1])
    for x in splitmix64(seed):
        u = (x >> 11) / 2**53
        if u * zeta[-1] < 1:
            yield 0
        elif u * zeta[-1] < 1 + 0.5**theta:
            yield 1
        else:
            yield min(int(n * (eta * u - eta + 1) ** (1 / (1 - theta))), n - 1)


def grouped(n: int, theta: float, single: int = 2000, step: float = 1.01) -> list[tuple[float, float]]:
    """The exact law as (how many, share of the requests of each): the first ranks one by one, then groups of nearly equal ones."""
    groups: list[tuple[float, float]] = []
    first = 0
    while first < n:
        last = min(first + 1 if first < single else int(first * step) + 1, n)
        groups.append((last - first, sum((rank + 1) ** -theta for rank in range(first, last)) / (last - first)))
        first = last
    total = sum(count * weight for count, weight in groups)
    return [(count, weight / total) for count, weight in groups]
