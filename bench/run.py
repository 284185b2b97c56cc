"""proxyd beside nginx, HAProxy, Varnish and the floor: `python bench/run.py --help`. README.md tells how it measures."""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from harness import preflight, system
from harness.build import BENCH, build
from harness.contestants import Program, contestants_of
from harness.idle import run_idle
from harness.load import Tools
from harness.model import BINARIES, FAMILIES, PEERS, Environment, Placement, WorkloadResult
from harness.report import as_json, markdown
from harness.rounds import Settings, run_workload
from harness.summary import Roles
from harness.workloads import WORKLOADS, select

IDLE_FLOW_DESCRIPTORS = 24_000  # 10,000 flows and room for what else is open


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="bench/run.py", description=__doc__.split(":")[0] if __doc__ else None)
    p.add_argument("--only", metavar="NAMES", help="workloads, comma-separated: l4 (all of L4), " + ", ".join(w.name for w in WORKLOADS))
    p.add_argument("--quick", action="store_true", help="3 rounds of 1 s, placement S, three workloads: a look, not a result")
    p.add_argument("--rounds", type=int, help="rounds that count (default 5)")
    p.add_argument("--seconds", type=int, help="length of one run (default 3)")
    p.add_argument("--extra-rounds", type=int, help="how many may replace noisy ones (default: half of --rounds)")
    p.add_argument("--placement", choices=("S", "D", "both"), help="S all on one CPU, D proxy on its own (default both)")
    p.add_argument("--cpus", metavar="A,B,…", help="CPUs to use; the last one is the proxy's (default: all that are allowed)")
    p.add_argument("--contestants", metavar="NAMES", default=",".join(FAMILIES), help="of " + ", ".join(FAMILIES))
    p.add_argument("--nginx", action="append", metavar="PATH", help="another nginx; may be repeated to compare versions")
    p.add_argument("--haproxy", action="append", metavar="PATH", help="another HAProxy; may be repeated")
    p.add_argument("--varnish", action="append", metavar="PATH", help="another varnishd; may be repeated")
    p.add_argument("--proxyd", metavar="CMD", help="command of proxyd (default: this Python -m proxyd)")
    p.add_argument("--threads", default="1,0", help="proxyd's runtime.threads, one contestant each (default 1,0)")
    p.add_argument("--cc", metavar="NAME", help="congestion control for the session, e.g. reno (root; put back afterwards)")
    p.add_argument("--control", choices=("first", "all", "none"), default="first", help="in which workloads a second nginx runs as control")
    p.add_argument("--max-steal", type=float, default=1.0, metavar="PERCENT", help="a round with more steal is noisy (default 1)")
    p.add_argument("--max-foreign", type=float, default=5.0, metavar="PERCENT", help="… with more foreign CPU (default 5)")
    p.add_argument("--out", type=Path, default=BENCH / "results", help="directory of the results (default bench/results)")
    p.add_argument("--install", action="store_true", help="install what is missing with apt-get (root)")
    options = p.parse_args(arguments)
    for name, full, quick in (("rounds", 5, 3), ("seconds", 3, 1), ("placement", "both", "S")):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    if options.extra_rounds is None:
        options.extra_rounds = (options.rounds + 1) // 2
    if options.rounds < 1 or options.seconds < 1:
        p.error("--rounds and --seconds start at 1")
    try:
        options.workloads = select(options.only, options.quick)
    except ValueError as error:
        p.error(str(error))
    options.families = [f.strip() for f in options.contestants.split(",") if f.strip()]
    if unknown := [f for f in options.families if f not in FAMILIES]:
        p.error(f"no contestant {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
    return options


def ensure_programs(options: argparse.Namespace) -> None:
    """Exits with the one command that installs what is missing, or installs it."""
    wanted = [f for f in PEERS if f in options.families and any(w.variants_of(f) for w in options.workloads)]
    peers = {BINARIES.get(f, f): f for f in wanted if not getattr(options, f)}
    needed = ["gcc", "make", *(["wrk"] if any(not w.l4 for w in options.workloads) else []), *peers]
    streams = "nginx" in peers and any(w.l4 for w in options.workloads)

    def missing() -> list[str]:
        return preflight.missing(needed) + (preflight.without_stream(preflight.which("nginx")) if streams else [])

    absent = missing()
    if absent and options.install:
        preflight.install(absent)
        absent = missing()
    if absent:
        others = [f for f in FAMILIES if BINARIES.get(f, f) not in absent]
        raise SystemExit(
            f"bench: {', '.join(absent)} not found. Install with:\n    sudo {' '.join(preflight.command_for(absent))}\n"
            f"or call again with --install as root"
            + (f", or leave it out: --contestants {','.join(others)}" if set(absent) <= peers.keys() else "")
        )


def programs(options: argparse.Namespace, floor: Path) -> list[Program]:
    found: list[Program] = []
    if "floor" in options.families:
        found.append(Program("floor", "floor", (str(floor),), ""))
    for family in PEERS:
        if family not in options.families or not any(w.variants_of(family) for w in options.workloads):
            continue
        binary = BINARIES.get(family, family)
        paths: list[str] = getattr(options, family) or [preflight.which(binary) or binary]
        if unusable := [path for path in paths if not os.access(path, os.X_OK)]:
            raise SystemExit(f"bench: {', '.join(unusable)} is not a program (given with --{family})")
        for path in paths:
            version = system.version_of(family, path)
            found.append(Program(family, family if len(paths) == 1 else f"{family}-{version}", (path,), version))
    if "proxyd" in options.families:
        command = tuple(shlex.split(options.proxyd)) if options.proxyd else (sys.executable, "-m", "proxyd")
        for threads in options.threads.split(","):
            found.append(Program("proxyd", f"proxyd-{threads.strip()}", command, "", threads=threads.strip()))
    labels = [p.label for p in found]
    if len(set(labels)) < len(labels):
        raise SystemExit(f"bench: two contestants would have the same name ({', '.join(labels)}): same program twice?")
    return found


def placements(options: argparse.Namespace) -> list[Placement]:
    allowed = sorted(os.sched_getaffinity(0)) if not options.cpus else [int(c) for c in options.cpus.split(",")]
    proxy, rest = frozenset(allowed[-1:]), frozenset(allowed[:-1])
    found = []
    if options.placement in ("S", "both"):
        found.append(Placement("S", proxy, proxy))
    if options.placement in ("D", "both"):
        if rest:
            found.append(Placement("D", proxy, rest))
        else:
            print("bench: placement D needs two CPUs, one is allowed: left out")
    return found


def raise_descriptor_limit(wanted: int) -> int:
    """To `wanted`, which more than the hard limit only root may have, and not everywhere; else to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def on_terminate(_signal: int, _frame: FrameType | None) -> None:
    # as an exception, so that every `finally` runs: contestants stopped, the sysctl put back
    raise SystemExit(143)


def run_all(options: argparse.Namespace, work: Path) -> tuple[Environment, list[WorkloadResult], Roles]:
    built = build(work / "bin")
    entrants = programs(options, built["floor"])
    nofile = raise_descriptor_limit(IDLE_FLOW_DESCRIPTORS if any(w.l4 and w.idle_connections for w in options.workloads) else 0)
    tools = Tools(preflight.which("wrk") or "wrk", built["origin"], built["l4load"], built["l4origin"])
    settings = Settings(
        rounds=options.rounds, extra_rounds=options.extra_rounds, seconds=options.seconds, max_steal_percent=options.max_steal,
        max_foreign_percent=options.max_foreign, tools=tools, work=work / "runs", nofile=nofile, say=say,
    )  # fmt: skip
    facts = system.facts()
    facts["programs"] = {p.label: p.version for p in entrants}
    say(f"about {minutes(options, entrants):.0f} minutes")
    environment = Environment(facts, ("bench/run.py", *sys.argv[1:]))
    results: list[WorkloadResult] = []
    roles: Roles = {}
    for place in placements(options):
        if spare := frozenset(os.sched_getaffinity(0)) - place.proxy:
            os.sched_setaffinity(0, spare)  # the runner keeps off the CPU that is measured
        control = options.control != "none"
        for workload in options.workloads:
            say(f"{place.name} {workload.name}: {workload.title}")
            if workload.idle_connections:
                if place.name == "S" or options.placement == "D":  # memory does not depend on the placement: once is enough
                    results.append(run_idle(workload, place, contestants_of(workload, entrants, False), settings))
                continue
            entered = contestants_of(workload, entrants, control)
            control = options.control == "all"
            roles |= {c.name: c.role for c in entered}
            results.append(run_workload(workload, place, entered, settings))
    return environment, results, roles


def minutes(options: argparse.Namespace, entrants: Sequence[Program]) -> float:
    """A guess: runs, one warm-up each, a second to start each."""
    contestants = sum(len(w.variants_of(p.family)) for w in options.workloads for p in entrants if not w.idle_connections)
    places = 2 if options.placement == "both" else 1
    seconds: float = places * contestants * (options.rounds * (options.seconds + 0.1) + 2)
    return seconds / 60 + 0.5


def say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    ensure_programs(options)
    signal.signal(signal.SIGTERM, on_terminate)
    shared = Path("/dev/shm")
    work = Path(tempfile.mkdtemp(prefix="proxyd-bench-", dir=shared if os.access(shared, os.W_OK) else None))
    work.chmod(0o755)
    try:
        with system.congestion_control_set(options.cc):
            environment, results, roles = run_all(options, work)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / time.strftime("bench-%Y%m%d-%H%M%S")
    table = markdown(environment, results, roles)
    stem.with_suffix(".json").write_text(as_json(environment, results, roles))
    stem.with_suffix(".md").write_text(table)
    print(f"\n{table}\nwritten: {stem}.json, {stem}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
