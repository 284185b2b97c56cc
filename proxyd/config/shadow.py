"""Routes that can never match, because earlier ones take every request that they would: first match wins.

For one route only those earlier patterns can cover it whose host is its own, a wildcard above it or any, and whose path is its own, a
prefix of it or any. Those are few, so they are looked up one by one in a table; the work does not grow with the square of the routes.

Demands (on fields, parameters, cookies, addresses, and all regular expressions) are compared as they are written: a route takes what
another does when it demands nothing that the other does not demand in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from proxyd.config.match import Match
from proxyd.config.matchers import Demand

_EVERY = "*"  # stands for all methods, also those without a name here
Demands = frozenset[Demand]


@dataclass(slots=True)
class _Pattern:
    """What the earlier routes of one host and path pattern, with the same demands, take together."""

    methods: set[str] = field(default_factory=set)
    routes: list[int] = field(default_factory=list)


def shadowed(matches: Sequence[Match]) -> dict[int, list[int]]:
    """Route number → the earlier routes that together leave nothing to it."""
    table: dict[tuple[str, str], dict[Demands, _Pattern]] = {}
    lengths: set[int] = set()
    found: dict[int, list[int]] = {}
    for number, match in enumerate(matches):
        wanted, demands = _methods(match), frozenset(match.demands)
        covered: set[str] = set()
        by: list[int] = []
        for host in _hosts_above(match.host_text):
            for path in _paths_above(match, lengths):
                for pattern in _undemanding(table.get((host, path), {}), demands):
                    if not covered >= wanted:
                        covered |= pattern.methods
                        by += pattern.routes
        if _EVERY in covered or covered >= wanted:
            found[number] = sorted(set(by))
        own = table.setdefault((match.host_text, _path(match)), {}).setdefault(demands, _Pattern())
        own.methods |= wanted
        own.routes.append(number)
        if _path(match).endswith("*"):
            lengths.add(len(match.path_text))
    return found


def _undemanding(patterns: Mapping[Demands, _Pattern], demands: Demands) -> Iterator[_Pattern]:
    """Those that demand no more. Looked up by subset where that is less work than going through them all."""
    if len(patterns) < 1 << len(demands):
        yield from (pattern for known, pattern in patterns.items() if known <= demands)
        return
    for size in range(len(demands) + 1):
        for subset in combinations(demands, size):
            pattern = patterns.get(frozenset(subset))
            if pattern is not None:
                yield pattern


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


def _paths_above(match: Match, lengths: set[int]) -> Iterator[str]:
    yield ""
    if not _path(match):
        return
    yield _path(match)
    text = match.path_text
    for length in lengths:
        if length < len(text) or (length == len(text) and match.path_exact):
            yield text[:length] + "*"
