"""From runs to figures: medians over the rounds that count, and ratios paired within a round. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from harness.model import FAMILIES, PEERS, Run, WorkloadResult

Roles = dict[str, str]  # contestant -> Contestant.role


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of the ratios of single rounds, and their extremes: what is common to a round cancels out."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    contestant: str
    role: str
    cpu_us: float
    cpu_us_low: float
    cpu_us_high: float
    per_second: float
    p50_us: float
    p99_us: float
    proxy_percent: float
    rounds: int
    to_floor: Ratio | None
    to_peer: Ratio | None
    faults: tuple[str, ...]  # of the runs that do not count


@dataclass(frozen=True, slots=True)
class Price:
    """What a contestant costs beside the same program in the workload's baseline variant."""

    contestant: str
    baseline: str
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Table:
    rows: list[Row]
    best_peer: str | None
    best_floor: str | None
    control: Ratio | None  # nginx to nginx
    prices: list[Price]


def counted(result: WorkloadResult, contestant: str) -> dict[int, Run]:
    """round -> run, of the rounds and runs that count."""
    return {r.round: r for r in result.runs if r.contestant == contestant and not r.faults and r.round not in result.discarded}


def ratio(of: dict[int, Run], to: dict[int, Run]) -> Ratio | None:
    pairs = [of[n].cpu_us / to[n].cpu_us for n in sorted(of.keys() & to.keys())]
    return Ratio(median(pairs), min(pairs), max(pairs)) if pairs else None


def summarise(result: WorkloadResult, roles: Roles) -> Table:
    names = list(dict.fromkeys(r.contestant for r in result.runs))
    runs = {name: counted(result, name) for name in names}
    peer = _cheapest(runs, [n for n in names if roles[n] in PEERS])
    floor = _cheapest(runs, [n for n in names if roles[n] == "floor"])
    control = next((n for n in names if roles[n] == "control"), None)
    rows = []
    for name in sorted(names, key=lambda n: (_order(roles[n]), names.index(n))):
        faults = tuple(dict.fromkeys(f for r in result.runs if r.contestant == name for f in r.faults))
        rows.append(_row(name, roles[name], list(runs[name].values()), faults, _to(runs, name, floor), _to(runs, name, peer)))
    twin = control.removesuffix(" (control)") if control else None
    between = ratio(runs[control], runs[twin]) if control and twin in runs else None
    return Table(rows, peer, floor, between, _prices(runs, result.workload.baseline))


def _prices(runs: dict[str, dict[int, Run]], variant: str) -> list[Price]:
    found = []
    for base in [name for name in runs if variant and name.endswith(f"-{variant}")]:
        program = base.removesuffix(f"-{variant}")
        for name in runs:
            if name != base and (name == program or name.startswith(f"{program}-")) and (of := ratio(runs[name], runs[base])):
                found.append(Price(name, base, of))
    return found


def _order(role: str) -> int:
    order = ("floor", *(f for f in FAMILIES if f != "floor"), "lesser", "control")
    return order.index(role)


def _cheapest(runs: dict[str, dict[int, Run]], names: Sequence[str]) -> str | None:
    valid = [n for n in names if runs[n]]
    return min(valid, key=lambda n: median(r.cpu_us for r in runs[n].values())) if valid else None


def _to(runs: dict[str, dict[int, Run]], name: str, other: str | None) -> Ratio | None:
    return ratio(runs[name], runs[other]) if other else None


def _row(name: str, role: str, runs: Sequence[Run], faults: tuple[str, ...], to_floor: Ratio | None, to_peer: Ratio | None) -> Row:
    def middle(figure: Callable[[Run], float]) -> float:
        return median(map(figure, runs)) if runs else float("nan")

    return Row(
        contestant=name,
        role=role,
        cpu_us=middle(lambda r: r.cpu_us),
        cpu_us_low=min((r.cpu_us for r in runs), default=float("nan")),
        cpu_us_high=max((r.cpu_us for r in runs), default=float("nan")),
        per_second=middle(lambda r: r.load.per_second),
        p50_us=middle(lambda r: r.load.p50_us),
        p99_us=middle(lambda r: r.load.p99_us),
        proxy_percent=middle(lambda r: r.proxy_percent),
        rounds=len(runs),
        to_floor=to_floor,
        to_peer=to_peer,
        faults=faults,
    )
