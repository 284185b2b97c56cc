"""What the kernel tells: CPU time of process groups, steal, foreign load, memory, and the facts of the machine that a figure depends on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def _stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from `state` (the third) on; None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def group_pids(group: int) -> list[int]:
    """Processes of a process group: a master with its workers."""
    pids = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat_fields(int(entry))
            if fields is not None and int(fields[2]) == group:
                pids.append(int(entry))
    return pids


def process_cpu_seconds(pid: int) -> float:
    """utime + stime of all threads, ended ones too, read from the process's CPU clock.

    The same sum as in /proc/PID/stat, but in nanoseconds: ticks of 10 ms would be 1 % of a run of a second.
    The clock id is what clock_getcpuclockid(3) makes of a pid: ~pid << 3 | CPUCLOCK_SCHED.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        fields = _stat_fields(pid)
        return (int(fields[11]) + int(fields[12])) * _TICK_SECONDS if fields else 0.0


def group_cpu_seconds(group: int) -> float:
    return sum(process_cpu_seconds(pid) for pid in group_pids(group))


def group_memory(group: int) -> tuple[int, int]:
    """(RSS, PSS) of a process group in bytes. PSS shares out the pages that a master and its workers have in common."""
    rss = pss = 0
    for pid in group_pids(group):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                rss += int(rest.split()[0]) * 1024
            elif name == "Pss":
                pss += int(rest.split()[0]) * 1024
    return rss, pss


def ksoftirqd_seconds(cpus: Iterable[int]) -> float:
    """CPU time of the kernel threads that take over network work when there is too much; it is charged to no process."""
    total = 0.0
    names = {f"(ksoftirqd/{cpu})" for cpu in cpus}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) < 4096:
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            if text[text.index("(") : text.rindex(")") + 1] in names:
                total += process_cpu_seconds(int(entry))
    return total


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds since boot, over a set of CPUs."""

    busy: float
    steal: float
    at: float


def cpu_times(cpus: Iterable[int]) -> CpuTimes:
    wanted = {f"cpu{cpu}" for cpu in cpus}
    busy = steal = 0.0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name in wanted:
            user, nice, system, _, _, irq, softirq, stolen = (int(v) * _TICK_SECONDS for v in values[:8])
            busy += user + nice + system + irq + softirq
            steal += stolen
    return CpuTimes(busy, steal, time.monotonic())


def congestion_control() -> str:
    return _CONGESTION.read_text().strip()


@contextmanager
def congestion_control_set(name: str | None) -> Iterator[None]:
    """Sets the congestion control of new sockets for the session and puts the old one back. RuntimeError when that is not permitted."""
    if name is None or name == congestion_control():
        yield
        return
    before = congestion_control()
    try:
        _CONGESTION.write_text(name)
    except OSError as error:
        raise RuntimeError(f"cannot set net.ipv4.tcp_congestion_control to {name}: {error.strerror}; it stays {before}") from error
    try:
        yield
    finally:
        _CONGESTION.write_text(before)


def _first_line(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().split("\n")[0]


def version_of(family: str, path: str) -> str:
    if family == "varnish":
        return _first_line([path, "-V"]).removeprefix("varnishd (varnish-").split(" ")[0]
    return _first_line([path, "-v"]).removeprefix("nginx version: ").removeprefix("HAProxy version ").split(" ")[0].removeprefix("nginx/")


def stream_module(nginx: str) -> str | None:
    """What nginx must load for its stream proxy: a path, or an empty one where that is built in. None: it has none."""
    done = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False)
    options = (done.stdout + done.stderr).split()
    if "--with-stream" in options:
        return ""
    folder = next((o.partition("=")[2] for o in options if o.startswith("--modules-path=")), "")
    path = Path(folder) / "ngx_stream_module.so"
    return str(path) if folder and path.exists() else None


def facts() -> dict[str, Any]:
    """What a reader must know to compare with another machine."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "kernel": platform.release(),
        "cpu": model,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "congestion_control": congestion_control(),
        "load_average_at_start": os.getloadavg()[0],
    }
