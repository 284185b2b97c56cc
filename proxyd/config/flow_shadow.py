"""Routes of ClientHellos that can never match, because earlier ones take every hello that they would: first match wins.

A server name is taken by the patterns of its own spelling, those of a wildcard above it, and "any hello". Among the routes that take the
name, one without application protocols takes all that is left; several with protocols take together what offers one of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from proxyd.config.flow_routes import FlowRoute

ANY = "*"  # stands for every hello; no pattern is spelt so


@dataclass(frozen=True, slots=True)
class Shadow:
    whole: bool  # nothing is left to the route; else to some of its names
    names: tuple[int, ...]  # numbers of them in `sni`
    by: tuple[int, ...]  # the earlier routes that take it


@dataclass(slots=True)
class _Taken:
    """What the earlier routes with one pattern take together."""

    protocols: set[str] = field(default_factory=set)
    everything: bool = False
    routes: list[int] = field(default_factory=list)


def shadowed_hellos(routes: Sequence[FlowRoute]) -> dict[int, Shadow]:
    """Route number → what is not left to it."""
    table: dict[str, _Taken] = {}
    found: dict[int, Shadow] = {}
    for number, route in enumerate(routes):
        patterns, lost, by = route.names or (ANY,), [], set[int]()
        for place, pattern in enumerate(patterns):
            known = [table[above] for above in _above(pattern) if above in table]
            if _covered(known, route.alpn):
                lost.append(place)
                by |= {other for taken in known for other in taken.routes}
        if lost:
            found[number] = Shadow(len(lost) == len(patterns), tuple(lost) if route.names else (), tuple(sorted(by)))
        for pattern in patterns:
            taken = table.setdefault(pattern, _Taken())
            taken.protocols |= {*route.alpn}
            taken.everything |= not route.alpn
            taken.routes.append(number)
    return found


def _covered(known: Sequence[_Taken], protocols: Sequence[str]) -> bool:
    if any(taken.everything for taken in known):
        return True
    return bool(protocols) and {*protocols} <= {protocol for taken in known for protocol in taken.protocols}


def _above(pattern: str) -> Iterator[str]:
    """The patterns that take every hello that `pattern` takes."""
    yield ANY
    if pattern == ANY:
        return
    yield pattern
    labels = pattern.removeprefix("*.").split(".")
    for cut in range(1, len(labels)):
        yield "*." + ".".join(labels[cut:])
