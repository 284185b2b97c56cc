"""The look-up table of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), said plainly.

The two hashes are SipHash-1-3 of the label under the keys (1, ~1) and (2, ~2), which is a choice of ours: the paper leaves it open. Weights
are turns: a server takes part in so many of the rounds as its weight is of the heaviest.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxyd_ext.core.hash import sip13

_ONES = (1 << 64) - 1


def _mix(x: int) -> int:
    """The finaliser of splitmix64."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _ONES
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _ONES
    return x ^ (x >> 31)


def table(labels: Sequence[str], size: int, weights: Sequence[int] = ()) -> list[int]:
    """`size` entries (a prime), each an index into `labels`."""
    entries = [-1] * size
    heaviest = max(weights, default=1)
    left = size
    servers = []
    for i, label in enumerate(labels):
        begin = sip13(label.encode(), 1, _ONES ^ 1) % size
        servers.append([i, begin, sip13(label.encode(), 2, _ONES ^ 2) % (size - 1) + 1, weights[i] if weights else 1, 0])
    turn = 0
    while True:
        turn += 1
        for server in servers:
            i, place, step, weight, claimed = server
            if turn * weight < claimed + heaviest:
                continue
            while entries[place] >= 0:
                place = (place + step) % size
            entries[place] = i
            server[1] = place
            server[4] += heaviest
            left -= 1
            if not left:
                return entries


def entry_of(key: int, size: int) -> int:
    """Which entry a key's CRC-32 falls on."""
    return _mix(key) % size


def keys_by_entry(size: int) -> list[int]:
    """For every entry of a table the smallest key that falls on it."""
    found = [-1] * size
    left, key = size, 0
    while left:
        entry = _mix(key) % size
        if found[entry] < 0:
            found[entry] = key
            left -= 1
        key += 1
    return found
