"""The table in Markdown, and everything in JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from harness.model import Environment, WorkloadResult
from harness.summary import Ratio, Roles, Row, Table, summarise

# A quiet machine gives 1.00 ± 0.01; beyond this, a difference between contestants may be the machine's.
CONTROL_LOW, CONTROL_HIGH = 0.98, 1.02
SATURATED_PERCENT = 95


def markdown(environment: Environment, results: Sequence[WorkloadResult], roles: Roles) -> str:
    facts = environment.facts
    lines = [
        "# proxyd bench",
        "",
        f"{facts['time']} · {facts['cpu']}, {facts['cpus']} CPUs · Linux {facts['kernel']} · "
        f"congestion control **{facts['congestion_control']}**",
        "",
        "Programs: " + " · ".join(f"{label} {version}".strip() for label, version in facts["programs"].items()),
        "",
        f"`{' '.join(environment.command)}`",
        "",
        "CPU is of the proxy's whole process group. Ratios are medians of the rounds' own ratios, with the lowest and highest round.",
    ]
    placement = ""
    for result in results:
        if result.placement.title != placement:
            placement = result.placement.title
            lines += ["", f"## {placement}"]
        lines += ["", f"### {result.workload.title} (`{result.workload.name}`)", ""]
        alone = result.placement.proxy != result.placement.rest
        lines += _idle(result) if result.workload.idle_connections else _load(summarise(result, roles), alone, result.workload.unit)
        lines += ["", *(f"- {name} did not take part: {' '.join(why.split())}" for name, why in result.skipped.items())]
        lines += [f"- {note}" for note in result.notes]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _load(table: Table, alone: bool, unit: str) -> list[str]:
    lines = [
        f"| | CPU µs/{unit} | to floor{_named(table.best_floor)} | to best peer{_named(table.best_peer)} "
        f"| {unit if unit == 'MiB' else unit + 's'}/s | p50 | p99 | proxy's CPU | rounds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [_row(row, alone) for row in table.rows]
    if table.control:
        fine = CONTROL_LOW <= table.control.median <= CONTROL_HIGH
        verdict = "" if fine else f"; **outside {CONTROL_LOW}..{CONTROL_HIGH}: not for publishing**"
        lines += ["", f"- A against A: nginx is {_ratio(table.control)} of a second nginx{verdict}"]
    if table.prices:
        lines += ["", *(f"- {p.contestant} costs {_ratio(p.ratio)} of {p.baseline}" for p in table.prices)]
    lines += [f"- {row.contestant}: INVALID runs left out: {'; '.join(row.faults)}" for row in table.rows if row.faults]
    return lines


def _named(name: str | None) -> str:
    return f" ({name})" if name else ""


def _row(row: Row, alone: bool) -> str:
    if not row.rounds:
        return f"| {row.contestant} | invalid | | | | | | | 0 |"
    # with a CPU of its own, requests/s says what the proxy can do only if that CPU was full
    unsaturated = ", not saturated" if alone and row.proxy_percent < SATURATED_PERCENT else ""
    spread = f"{row.cpu_us_low:.2f}..{row.cpu_us_high:.2f}"
    return (
        f"| {row.contestant} | **{row.cpu_us:.2f}** ({spread}) | {_ratio(row.to_floor)} | {_ratio(row.to_peer)} "
        f"| {row.per_second:,.0f} | {_time(row.p50_us)} | {_time(row.p99_us)} | {row.proxy_percent:.0f} %{unsaturated} | {row.rounds} |"
    )


def _ratio(ratio: Ratio | None) -> str:
    return f"{ratio.median:.3f} ({ratio.low:.3f}..{ratio.high:.3f})" if ratio else ""


def _time(us: float) -> str:
    return f"{us / 1000:.2f} ms" if us >= 1000 else f"{us:.0f} µs"


def _idle(result: WorkloadResult) -> list[str]:
    lines = ["| | connections | bytes each (PSS) | bytes each (RSS) | process before | process with them |", "|---|--:|--:|--:|--:|--:|"]
    for m in result.idle:
        lines.append(
            f"| {m.contestant} | {m.connections:,} | **{m.pss_each:,.0f}** | {m.rss_each:,.0f} "
            f"| {m.pss_before / 2**20:.1f} MiB | {m.pss_after / 2**20:.1f} MiB |"
        )
    return lines + [f"- {m.contestant}: INVALID: {'; '.join(m.faults)}" for m in result.idle if m.faults]


def as_json(environment: Environment, results: Sequence[WorkloadResult], roles: Roles) -> str:
    """Raw runs beside the summary, so that another summary can be made of them."""
    document = {
        "environment": dataclasses.asdict(environment),
        "results": [
            {
                **dataclasses.asdict(result),
                "placement": {"name": result.placement.name, "proxy": [*result.placement.proxy], "rest": [*result.placement.rest]},
                "summary": dataclasses.asdict(summarise(result, roles)) if result.runs else None,
            }
            for result in results
        ],
    }
    return json.dumps(_finite(document), indent=1) + "\n"


def _finite(value: Any) -> Any:
    """NaN and infinity are no JSON; where a figure is missing it is null."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
