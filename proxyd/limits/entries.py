"""Which handles of limits and of the gateway a snapshot has: each policy once, however many routes use it."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from proxyd.state import LimitEntries, ShareEntry
from proxyd_ext.snapshot.spec import AuthFilter, BanFilter, InflightFilter, PlanFilter, PythonFilter, RateLimitFilter

if TYPE_CHECKING:
    from proxyd_ext.auth.verdict import Verdicts
    from proxyd_ext.filter.hooks import Hooks
    from proxyd_ext.limit.ban import Bans
    from proxyd_ext.limit.gate import Gate
    from proxyd_ext.limit.inflight import Inflight
    from proxyd_ext.limit.rate import RateLimit
    from proxyd_ext.snapshot.spec import Filter, SnapshotSpec

PLAN = "plan:"                 # before the names of usage plans, where those of policies stand


def steps(spec: SnapshotSpec) -> Iterator[Filter]:
    """Every filter of every route, again for each route that has it."""
    for table in spec.tables:
        for route in table:
            yield from route.filters


def limit_entries(spec: SnapshotSpec, gate: Gate, now_us: int = 0, shared: ShareEntry | None = None) -> LimitEntries:
    """`gate`: of the lanes, if there are any."""
    rates: dict[str, RateLimit] = {}
    inflight: dict[str, Inflight] = {}
    bans: dict[str, Bans] = {}
    verdicts: dict[str, Verdicts] = {}
    hooks: dict[str, Hooks] = {}
    for step in steps(spec):
        match step:
            case RateLimitFilter():
                rates[step.policy] = step.limit
            case InflightFilter():
                inflight[step.policy] = step.table
            case BanFilter():
                bans[step.policy] = step.bans
            case AuthFilter():
                verdicts[step.policy] = step.verdicts
            case PythonFilter():
                hooks[step.policy] = step.hooks
            case PlanFilter():
                rates.update({f"{PLAN}{plan.name}": plan.limit for plan in step.plans if plan.limit is not None})
    lanes = {route.lane.name: route.lane for table in spec.tables for route in table if route.lane is not None}
    return LimitEntries(rates, inflight, bans, verdicts, hooks, lanes, gate if lanes else None, spec.overload, shared, now_us)
