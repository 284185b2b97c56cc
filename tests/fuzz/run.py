"""Runs the fuzz targets, as many at a time as there are cores, each for a bounded time. Exit code 1 when one found something.

    python -m tests.fuzz.run [--seconds 60] [TARGET…]        all targets by default
    python -m tests.fuzz.run --repeat FILE TARGET            one input once more, with the sanitizer's report

Corpora are kept in fuzz-corpus/ and grow from run to run; what broke a target is written to fuzz-corpus/found/.
"""
from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.seeds import SEEDS, dictionary

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "fuzz"
CORPUS = ROOT / "fuzz-corpus"
PROGRAM = WORK / "fuzz"
# `config` runs Python under a trace function: shorter inputs, a longer limit for one of them.
MAX_LEN = {
    "config": 2048, "authority": 256, "path": 1024, "regex": 256, "range": 512, "http_date": 40, "limits": 512, "country": 2048,
    "redact": 256,
}
SLOW = {"config"}


@dataclass(frozen=True, slots=True)
class Outcome:
    target: str
    executions: int
    edges: tuple[int, int]       # native edges reached by the starting corpus, and at the end
    features: tuple[int, int]    # the same with hit counts, and with the lines of Python code
    edges_known: int             # instrumented edges that the fuzzer sees
    found: str                   # what broke, or ""

    def row(self) -> str:
        edges, features = (f"{pair[0]} → {pair[1]}" for pair in (self.edges, self.features))
        counts = f"{self.executions:>11,} {edges:>15} of {self.edges_known:<6} {features:>17}"
        return f"{self.target:14} {counts}   {self.found or 'clean'}"


def build_program() -> None:
    """Link libFuzzer's main with an embedded interpreter; the modules that it loads find the sanitizer's symbols in it."""
    variables = sysconfig.get_config_vars()
    lib = variables["LIBDIR"]
    command = ["clang", "-g", "-O1", "-fsanitize=fuzzer,address", "-rdynamic", "-o", str(PROGRAM), str(ROOT / "tests/fuzz/main.c")]
    command += [f"-I{sysconfig.get_path('include')}", f"-L{lib}", f"-L{variables['LIBPL']}", f"-Wl,-rpath,{lib}"]
    command += [f"-lpython{variables['LDVERSION']}", *shlex.split(f"{variables['LIBS']} {variables['SYSLIBS']}")]
    subprocess.run(command, check=True)


def environment(target: str) -> dict[str, str]:
    return os.environ | {
        "FUZZ_PYTHON": sys.executable,
        "FUZZ_TARGET": f"proxyd_fuzz.{target}",
        "PYTHONPATH": f"{WORK / 'lib'}{os.pathsep}{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:handle_abort=2",
    }


def plant_seeds(target: str) -> Path:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[target]:
        (folder / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    (WORK / f"{target}.dict").write_text(dictionary(target))
    return folder


def fuzz(target: str, seconds: int) -> Outcome:
    corpus = plant_seeds(target)
    found = CORPUS / "found"
    found.mkdir(exist_ok=True)
    command = [
        str(PROGRAM), str(corpus), f"-max_total_time={seconds}", f"-dict={WORK / target}.dict", f"-max_len={MAX_LEN.get(target, 4096)}",
        f"-timeout={20 if target in SLOW else 5}", "-rss_limit_mb=2048", f"-artifact_prefix={found}/{target}-", "-print_final_stats=1",
    ]
    log = WORK / f"{target}.log"
    with log.open("wb") as sink:
        # libFuzzer keeps its own time; the limit here is for the day when it does not.
        code = subprocess.run(command, env=environment(target), stdout=sink, stderr=sink, check=False, timeout=seconds * 2 + 120).returncode
    return read_log(target, log, code)


def read_log(target: str, log: Path, code: int) -> Outcome:
    text = log.read_text(errors="replace")
    counters = sum(int(number) for number in re.findall(r"\((\d+) inline 8-bit counters\)", text)[:1])
    progress = re.findall(r"^#(\d+)\s+\w+.*?cov: (\d+) ft: (\d+)", text, re.MULTILINE)
    if not progress or not counters:
        return Outcome(target, 0, (0, 0), (0, 0), counters, f"did not run, see {log}")
    first = next((line for line in re.findall(r"^#(\d+)\s+INITED cov: (\d+) ft: (\d+)", text, re.MULTILINE)), progress[0])
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    artifact = re.search(r"Test unit written to (\S+)", text)
    found = "" if code == 0 else (artifact[1] if artifact else f"exit code {code}, see {log}")
    pairs = [(int(first[i]), int(progress[-1][i])) for i in (1, 2)]
    return Outcome(target, int(executions[1] if executions else progress[-1][0]), pairs[0], pairs[1], counters, found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(SEEDS)}")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--repeat", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    targets = options.targets or list(SEEDS)
    if unknown := [target for target in targets if target not in SEEDS]:
        parser.error(f"no such target: {', '.join(unknown)}")
    build_program()
    if options.repeat:
        return subprocess.run([str(PROGRAM), str(options.repeat)], env=environment(targets[0]), check=False).returncode
    print(f"{'target':14} {'executions':>11} {'edges':>15}    {'':6} {'features':>17}   outcome", flush=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        outcomes = []
        for outcome in pool.map(lambda target: fuzz(target, options.seconds), targets):
            print(outcome.row(), flush=True)
            outcomes.append(outcome)
    broken = [outcome for outcome in outcomes if outcome.found]
    for outcome in broken:
        again = f"; again with: python -m tests.fuzz.run --repeat {outcome.found} {outcome.target}" if Path(outcome.found).exists() else ""
        print(f"see {WORK / outcome.target}.log{again}")
    print(f"{len(outcomes) - len(broken)} passed, {len(broken)} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
