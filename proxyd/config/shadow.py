"""Routes that can never match, because earlier ones take every request that they would: first match wins.

For one route only those earlier patterns can cover it whose host is its own, a wildcard above it or any, and whose path is its own, a
prefix of it or any. Those are few, so they are looked up one by one in a table; the work does not grow with the square of the routes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from proxyd.config.match import Match

_EVERY = "*"  # stands for all methods, also those without a name here


@dataclass(slots=True)
class _Pattern:
    """What the earlier routes of one host and path pattern take together."""

    methods: set[str] = field(default_factory=set)
    routes: list[int] = field(default_factory=list)


def shadowed(matches: Sequence[Match]) -> dict[int, list[int]]:
    """Route number → the earlier routes that together leave nothing to it."""
    table: dict[tuple[str, str], _Pattern] = {}
    lengths: set[int] = set()
    found: dict[int, list[int]] = {}
    for number, match in enumerate(matches):
        wanted = _methods(match)
        covered: set[str] = set()
        by: list[int] = []
        for host in _hosts_above(match.host):
            for path in _paths_above(match, lengths):
                pattern = table.get((host, path))
                if pattern is not None and not covered >= wanted:
                    covered |= pattern.methods
                    by += pattern.routes
        if _EVERY in covered or covered >= wanted:
            found[number] = sorted(set(by))
        own = table.setdefault((match.host, match.path), _Pattern())
        own.methods |= wanted
        own.routes.append(number)
        if match.path.endswith("*"):
            lengths.add(len(match.path_text))
    return found


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
    if not match.path:
        return
    yield match.path
    text = match.path_text
    for length in lengths:
        if length < len(text) or (length == len(text) and match.path_exact):
            yield text[:length] + "*"
