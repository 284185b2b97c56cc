"""Interleaved rounds A, B, C, A, B, C … of one workload in one placement, and the reasons for which a run or a round does not count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import l4, probe, system
from harness.contestants import Contestant, Origin, Running, StartError, origin_start, start
from harness.load import NO_LOAD, Tools, run_load
from harness.model import REFUSED_BYTES, Load, Placement, Run, Workload, WorkloadResult

# nginx's slowest limit lets one request a minute pass.
STRAY_ANSWERS = 2
LOG_WAIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Settings:
    rounds: int
    extra_rounds: int  # how many more may be run in the place of noisy ones
    seconds: float
    max_steal_percent: float
    max_foreign_percent: float
    tools: Tools
    work: Path  # configurations, logs; best on a tmpfs
    nofile: int
    say: Callable[[str], None]


def run_workload(workload: Workload, placement: Placement, contestants: list[Contestant], settings: Settings) -> WorkloadResult:
    result = WorkloadResult(workload, placement)
    origin = origin_start(settings.tools.origin_of(workload), workload.servers, placement.rest)
    running: list[Running] = []
    try:
        for contestant in contestants:
            one = enter(contestant, workload, origin, placement, settings, result)
            if one:
                running.append(one)
        warm = [one for one in running if _warm_up(one, workload, placement, settings, result)]
        if warm:
            _rounds(result, warm, origin, settings)
    finally:
        for one in running:
            one.stop()
        origin.stop()
    return result


def enter(
    contestant: Contestant, workload: Workload, origin: Origin, placement: Placement, settings: Settings, result: WorkloadResult
) -> Running | None:
    """Starts a contestant and probes it; None, with the reason noted, when it cannot take part."""
    directory = settings.work / f"{workload.name}-{placement.name}-{contestant.name.replace(' ', '')}"
    try:
        one = start(contestant, workload, origin, placement, directory, settings.nofile)
    except StartError as error:
        result.skipped[contestant.name] = str(error)
        settings.say(f"  SKIPPED {contestant.name}: {error}")
        return None
    if workload.l4:
        faults = l4.faults_of(one.port, workload, origin.ports)
    else:
        faults = probe.faults_of(one.port, workload, origin.ports[0], contestant.program.family, contestant.variant)
    if faults:
        why = "; ".join(faults)
        result.skipped[contestant.name] = why
        settings.say(f"  SKIPPED {contestant.name}: {why}\n{one.said()}")
        one.stop()
        return None
    return one


def _warm_up(one: Running, workload: Workload, placement: Placement, settings: Settings, result: WorkloadResult) -> bool:
    try:
        run_load(settings.tools, one.port, workload, _warm_up_seconds(one, workload), placement.rest)
    except RuntimeError as error:
        result.skipped[one.contestant.name] = f"warm-up: {error}"
        settings.say(f"  SKIPPED {one.contestant.name}: warm-up: {error}\n{one.said()}")
        return False
    return True


def _warm_up_seconds(one: Running, workload: Workload) -> float:
    return workload.warm_up_seconds if one.contestant.variant != workload.baseline else min(1.0, workload.warm_up_seconds)


def _rounds(result: WorkloadResult, running: list[Running], origin: Origin, settings: Settings) -> None:
    number = clean = 0
    while clean < settings.rounds and number < settings.rounds + settings.extra_rounds:
        runs = [_measure(one, number, result.workload, result.placement, origin, settings) for one in running]
        result.runs += runs
        noise = _noise(runs, settings)
        if noise:
            result.discarded[number] = noise
        else:
            clean += 1
        figures = "  ".join(f"{r.contestant} {r.cpu_us:.2f}{'!' if r.faults else ''}" for r in runs)
        settings.say(f"  round {number + 1}: {figures}" + (f"   NOISY: {noise}" if noise else ""))
        number += 1
    if clean < min(3, settings.rounds):
        # too little is left to be strict: everything counts, and the table says so
        result.discarded.clear()
        result.notes.append(f"only {clean} of {number} rounds were quiet, so all were kept: indicative only")
    elif result.discarded:
        result.notes.append(f"{len(result.discarded)} of {number} rounds were discarded as noisy")


def _noise(runs: list[Run], settings: Settings) -> str:
    reasons = []
    for run in runs:
        if run.steal_percent > settings.max_steal_percent:
            reasons.append(f"{run.contestant}: {run.steal_percent:.1f} % steal")
        if run.foreign_percent > settings.max_foreign_percent:
            reasons.append(f"{run.contestant}: others used {run.foreign_percent:.0f} % of a CPU")
    return ", ".join(reasons)


def _measure(one: Running, number: int, workload: Workload, placement: Placement, origin: Origin, settings: Settings) -> Run:
    used = placement.proxy | placement.rest
    log = one.directory / "access.log" if workload.access_log and one.contestant.program.family != "floor" else None
    if log:
        log.open("r+b").truncate(0)
    asked_before, opened_before = _origin_seen(workload, origin)
    times_before, soft_before = system.cpu_times(used), system.ksoftirqd_seconds(used)
    origin_before, proxy_before = system.process_cpu_seconds(origin.process.pid), system.group_cpu_seconds(one.group)
    try:
        load = run_load(settings.tools, one.port, workload, settings.seconds, placement.rest)
        faults = load_faults(workload, load)
    except RuntimeError as error:
        load, faults = NO_LOAD, [str(error)]
    proxy = system.group_cpu_seconds(one.group) - proxy_before
    origin_cpu = system.process_cpu_seconds(origin.process.pid) - origin_before
    times, soft = system.cpu_times(used), system.ksoftirqd_seconds(used) - soft_before
    foreign = times.busy - times_before.busy - proxy - origin_cpu - load.cpu_seconds - soft
    if log:  # what is still buffered belongs to these requests; the CPUs are idle meanwhile, so noise is not looked for in this time
        faults += _log_faults(log, load.requests)
        proxy = system.group_cpu_seconds(one.group) - proxy_before
    asked, opened = _origin_seen(workload, origin)
    if one.process.poll() is not None:
        faults.append(f"it died: {one.said()}")
    if workload.l4:
        faults += l4.origin_faults(workload, load, asked - asked_before, opened - opened_before)
    else:
        faults += origin_faults(workload, load.requests, asked - asked_before, opened - opened_before)
    elapsed = times.at - times_before.at
    return Run(
        contestant=one.contestant.name,
        round=number,
        cpu_seconds=proxy,
        load=load,
        steal_percent=(times.steal - times_before.steal) / elapsed / len(used) * 100,
        foreign_percent=foreign / elapsed * 100,
        ksoftirqd_percent=soft / elapsed * 100,
        faults=tuple(faults),
    )


def _origin_seen(workload: Workload, origin: Origin) -> tuple[int, int]:
    return l4.origin_seen(origin.ports[0], workload.l4) if workload.l4 else probe.origin_stats(origin.ports[0])


def load_faults(workload: Workload, load: Load) -> list[str]:
    """What the load says that should not have been."""
    if workload.l4:
        return l4.load_faults(load)
    stray = STRAY_ANSWERS if workload.status >= 400 else 0
    faults = [f"{count} {kind} errors" for kind, count in load.errors.items() if count > (stray if kind == "status" else 0)]
    if workload.policy == "refused" and load.requests:
        each = load.bytes / load.requests
        if abs(each - REFUSED_BYTES) > 1:
            faults.append(f"answers had {each:.1f} bytes on average, not {REFUSED_BYTES}")
    return faults


def origin_faults(workload: Workload, completed: int, asked: int, opened: int) -> list[str]:
    """Holds what wrk says against what the origin saw."""
    if workload.policy == "refused":
        return [f"the origin was asked {asked} times, nothing should pass"] if asked > STRAY_ANSWERS else []
    if workload.from_memory or workload.cached:
        return [f"the origin was asked {asked} times, the answer should come from memory"] if asked else []
    faults = []
    # what wrk left unanswered when its time was up was asked, too; a retried request is asked twice
    if not completed <= asked <= completed + 2 * workload.connections + completed // 1000:
        faults.append(f"wrk counted {completed} answers, the origin {asked} requests")
    if opened > 2 * workload.connections + 2 * workload.servers + completed // 100:
        faults.append(f"{opened} connections to the origin for {completed} requests: not kept alive")
    return faults


def _log_faults(log: Path, completed: int) -> list[str]:
    """Waits until the log holds a line for each request: buffered writers are part of the price, so their CPU is sampled after this."""
    deadline = time.monotonic() + LOG_WAIT_SECONDS
    lines = 0
    while time.monotonic() < deadline:
        with log.open("rb") as stream:
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))
        if lines >= completed:
            return []
        time.sleep(0.1)
    return [f"{lines} log lines for {completed} requests"]
