"""Routes that can never match, because earlier ones take every request that they would: first match wins.

For one route only those earlier patterns can cover it whose host is its own, a wildcard above it or any, and whose path is its own, a
prefix of it or any. Those are few, so they are looked up one by one in a table; the work does not grow with the square of the routes.

Demands (on fields, parameters, cookies, addresses, and all regular expressions) are compared as they are written: a route takes what
another does when it demands nothing that the other does not demand in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, islice

from proxyd.config.match import Match
from proxyd.config.matchers import Demand

_EVERY = "*"  # stands for all methods, also those without a name here
_LOOKUPS = 4096  # among the patterns of one host and path that differ in their demands; beyond it a shadow may go unseen
Demands = frozenset[Demand]
Takers = dict[str, int]  # method → the first route that takes it


@dataclass(slots=True)
class _Host:
    """What the earlier routes of one host pattern take."""

    paths: dict[str, dict[Demands, Takers]] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)  # of the prefixes among the paths


def shadowed(matches: Sequence[Match]) -> dict[int, list[int]]:
    """Route number → the earlier routes that together leave nothing to it."""
    hosts: dict[str, _Host] = {}
    found: dict[int, list[int]] = {}
    for number, match in enumerate(matches):
        path, wanted, demands = _path(match), _methods(match), frozenset(match.demands)
        takers: Takers = {}
        for above in _hosts_above(match.host_text):
            known = hosts.get(above)
            for pattern in _patterns_above(known, path, demands) if known is not None else ():
                takers = pattern | takers
        if _EVERY in takers:
            found[number] = [takers[_EVERY]]
        elif takers.keys() >= wanted:
            found[number] = sorted({takers[method] for method in wanted})
        own = hosts.setdefault(match.host_text, _Host())
        first = own.paths.setdefault(path, {}).setdefault(demands, {})
        for method in wanted:
            first.setdefault(method, number)
        if path.endswith("*"):
            own.lengths.add(len(path) - 1)
    return found


def _patterns_above(host: _Host, path: str, demands: Demands) -> Iterator[Takers]:
    for above in _paths_above(path, host.lengths):
        patterns = host.paths.get(above)
        if patterns is not None:
            yield from _undemanding(patterns, demands)


def _undemanding(patterns: Mapping[Demands, Takers], demands: Demands) -> Iterator[Takers]:
    """Those that demand no more. Looked up by subset where that is less work than going through them all."""
    if len(patterns) < 1 << len(demands) and len(patterns) <= _LOOKUPS:
        yield from (takers for known, takers in patterns.items() if known <= demands)
        return
    subsets = chain.from_iterable(combinations(demands, size) for size in range(len(demands) + 1))
    for subset in islice(subsets, _LOOKUPS):
        takers = patterns.get(frozenset(subset))
        if takers is not None:
            yield takers


def _path(match: Match) -> str:
    """The path's pattern; empty where any will do, or a regular expression decides."""
    return match.path if isinstance(match.path, str) else ""


def _methods(match: Match) -> set[str]:
    if not match.method:
        return {_EVERY}
    return {*match.method} | ({"HEAD"} if "GET" in match.method else set())


def _hosts_above(host: str) -> Iterator[str]:
    """The patterns that take every host that `host` takes."""
    yield ""
    if not host:
        return
    yield host
    labels = host.removeprefix("*.").split(".")
    for cut in range(1, len(labels)):
        yield "*." + ".".join(labels[cut:])


def _paths_above(path: str, lengths: set[int]) -> Iterator[str]:
    yield ""
    if not path:
        return
    yield path
    text = path.removesuffix("*")
    for length in lengths:
        if length < len(text) or (length == len(text) and not path.endswith("*")):
            yield text[:length] + "*"
