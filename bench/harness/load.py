"""Runs wrk, or l4load below HTTP, and reads what it counted."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.build import BENCH
from harness.contestants import pinned
from harness.model import Load, Workload

MARK = "BENCH "
NO_LOAD = Load(requests=0, duration_us=1, bytes=0, p50_us=0, p99_us=0, max_us=0, errors={}, cpu_seconds=0.0)


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs around a contestant."""

    wrk: str
    origin: Path
    l4load: Path
    l4origin: Path

    def origin_of(self, workload: Workload) -> Path:
        return self.l4origin if workload.l4 else self.origin


def l4load_argv(l4load: Path, port: int, workload: Workload, seconds: float) -> list[str]:
    flows = workload.l4
    assert flows
    argv = [str(l4load), flows.protocol, "-p", str(port), "-c", str(workload.connections), "-m", str(flows.message), "-d", str(seconds)]
    argv += ["-A", str(flows.answer)] if flows.answer else []
    argv += ["-w", str(flows.window)] if flows.window else []
    return argv + (["-f"] if flows.fresh else [])


def wrk_argv(wrk: str, port: int, workload: Workload, seconds: float) -> list[str]:
    argv = [wrk, "-t1", f"-c{workload.connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "5s"]
    argv += ["-s", str(BENCH / "lua" / workload.script)]
    for line in (*workload.fields, *(("Connection: close",) if workload.close else ())):
        argv += ["-H", line]
    argv.append(f"http://127.0.0.1:{port}{workload.path}")
    return argv + (["--", *workload.script_args] if workload.script_args else [])


def run_load(tools: Tools, port: int, workload: Workload, seconds: float, cpus: frozenset[int]) -> Load:
    """One run. RuntimeError with the load's words when it did not finish."""
    argv = l4load_argv(tools.l4load, port, workload, seconds) if workload.l4 else wrk_argv(tools.wrk, port, workload, seconds)
    before = os.times()
    try:
        done = subprocess.run(argv, capture_output=True, text=True, preexec_fn=pinned(cpus), timeout=seconds + 30)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{' '.join(argv)} did not end") from error
    after = os.times()
    if done.returncode != 0 or MARK not in done.stdout:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return parse_report(done.stdout, cpu, workload.status)


def parse_report(output: str, cpu_seconds: float, expected_status: int = 200) -> Load:
    """Reads the line that lua/report.lua prints, or l4load.

    wrk counts the answers with 400 and more. Where all should be such, those are wrong that are not: looking at every status would need a
    callback in Lua, which costs the load more than the proxy. Which refusal it was the probe has seen, and sizes tell (rounds.py).
    """
    line = next(line for line in output.splitlines() if line.startswith(MARK))
    facts: dict[str, Any] = json.loads(line.removeprefix(MARK))
    if expected_status >= 400:
        facts["errors"]["status"] = facts["requests"] - facts["errors"]["status"]
    return Load(
        requests=facts["requests"],
        duration_us=max(1, facts["duration_us"]),
        bytes=facts["bytes"],
        p50_us=facts["p50_us"],
        p99_us=facts["p99_us"],
        max_us=facts["max_us"],
        errors=facts["errors"],
        cpu_seconds=cpu_seconds,
    )
