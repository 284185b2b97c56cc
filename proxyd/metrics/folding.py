"""The bound on the number of series (`metrics.max_series`).

Every label value comes from the config or from fixed words, so clients cannot add series without end; but five thousand routes, asked with
many methods and answered with many codes, make more than one wants to pay for. What goes beyond the bound is *folded*: summed into a series
whose names (route, server, ...) are `_other`, while its words (code, error, result, ...) stay, so that sums and ratios over all stay right.

What was shown stays, for a counter must not move into a sum and make that jump; what was folded stays folded, for the sum must not fall.
Among what is new those that count most are shown; among equals the order of their labels decides. So two proxies with the same traffic
fold the same. Gauges, of which a server has ten before its first request, get half of the room at most. A page that was full and then folds
grows by the sums themselves: a line for each family and word.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from operator import add
from typing import Any

from proxyd.metrics.families import Family, Histograms, Labels
from proxyd.metrics.text import HISTOGRAM_LINES

OTHER = "_other"
NAMES = frozenset({"listener", "route", "upstream", "server", "policy", "method"})
"""Labels whose value is `_other` in a folded series. What the config itself calls so is counted in."""
GONE_LIMIT = 10_000
"""How many folded series of a family are told apart after they left. Older ones are only a sum, and count twice should they return."""

Vector = tuple[float, ...]


@dataclass(slots=True)
class _Known:
    """What is remembered of one family."""

    shown: AbstractSet[Labels] = frozenset()
    folded: dict[Labels, Vector] = field(default_factory=dict)       # what each was at last
    sums: dict[Labels, Vector] = field(default_factory=dict)         # of those no longer told apart, by what they are folded into


class Fold:
    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self.folded = 0            # lines that the last page would have had more

    def apply(self, families: Sequence[Family], limit: int) -> None:
        """Make `families` fit into a page of `limit` samples."""
        foldable = [family for family in families if not NAMES.isdisjoint(family.labels)]
        lines = sum(map(lines_of, families))
        if lines > limit or self.folded:
            self._choose(foldable, limit - lines + sum(map(lines_of, foldable)))
            self.folded = sum(self._fold(family) for family in foldable)
        for family in foldable:
            self._of(family).shown = family.series.keys()

    def _of(self, family: Family) -> _Known:
        return self._known.setdefault(family.name, _Known())

    def _choose(self, families: Sequence[Family], room: int) -> None:
        """Decide what is folded, beside what has been; `room`: lines for all of them."""
        room -= sum(cost_of(family) * len(self._sums_of(family)) for family in families)
        room -= self._keep([family for family in families if family.kind == "gauge"], room // 2)
        self._keep([family for family in families if family.kind != "gauge"], room)

    def _keep(self, families: Iterable[Family], room: int) -> int:
        """Show what was shown, and the most used of what is new as long as there is room. The lines that it takes."""
        used, new = 0, list[tuple[float, str, Labels]]()
        costs: dict[str, int] = {}
        for family in families:
            known, costs[family.name] = self._of(family), cost_of(family)
            stay = family.series.keys() & known.shown
            used += costs[family.name] * len(stay)
            new += [(-use(family, labels), family.name, labels) for labels in family.series.keys() - stay - known.folded.keys()]
        for _, name, labels in sorted(new):
            if used + costs[name] > room:
                room = 0               # what counts less is not shown either, though it might fit
                self._known[name].folded[labels] = ()
            else:
                used += costs[name]
        return used

    def _sums_of(self, family: Family) -> AbstractSet[Labels]:
        """The folded series that the family may come to have."""
        known = self._of(family)
        return {folded(family, labels) for labels in (*family.series, *known.folded)} | known.sums.keys()

    def _fold(self, family: Family) -> int:
        """Put sums in the place of what is folded. How many lines that saves."""
        known, before = self._of(family), lines_of(family)
        present = [labels for labels in family.series if labels in known.folded]
        if family.kind == "gauge":
            known.folded = {}                              # one that left has no value
        for labels in present:
            known.folded.pop(labels, None)                 # so that those that left stand first
            known.folded[labels] = vector(family.series.pop(labels))
        while len(known.folded) > len(present) + GONE_LIMIT:
            labels = next(iter(known.folded))
            into = folded(family, labels)
            known.sums[into] = plus(known.sums.get(into, ()), known.folded.pop(labels))
        sums = dict(known.sums)
        for labels, value in known.folded.items():
            into = folded(family, labels)
            sums[into] = plus(sums.get(into, ()), value)
        for into, value in sums.items():
            put(family, into, plus(value, vector(family.series[into])) if into in family.series else value)
        return before - lines_of(family)


def folded(family: Family, labels: Labels) -> Labels:
    """What a series is called when it is folded."""
    return tuple(OTHER if name in NAMES else value for name, value in zip(family.labels, labels, strict=True))


def cost_of(family: Family) -> int:
    """Lines of the page for each series."""
    return HISTOGRAM_LINES if isinstance(family, Histograms) else 1


def lines_of(family: Family) -> int:
    return cost_of(family) * len(family.series)


def use(family: Family, labels: Labels) -> float:
    """How much a series counts; of gauges nobody can say."""
    if isinstance(family, Histograms):
        return float(family.series[labels]["count"])
    return family.series[labels] if family.kind == "counter" else 0.0


def vector(value: float | Mapping[str, Any]) -> Vector:
    return (*value["buckets"], value["count"], value["sum"]) if isinstance(value, Mapping) else (value,)


def put(family: Family, labels: Labels, value: Vector) -> None:
    if isinstance(family, Histograms):
        family.add(labels, {"buckets": value[:-2], "count": value[-2], "sum": value[-1]})
    else:
        family.add(labels, value[0])


def plus(one: Vector, other: Vector) -> Vector:
    """An empty one is nothing."""
    return tuple(map(add, one, other)) if one and other else one or other
