"""Runs the stress programs under ThreadSanitizer. Exit code 1 when one of them fails or a race is reported.

The interpreter itself is not instrumented; libtsan is preloaded, and sees the native modules' every access and, through its interceptors,
the interpreter's locks (so the GIL counts as what it is: order). That it really sees is proved first, with a race on purpose.
"""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIB = ROOT / "build" / "tsan" / "lib"
RACE_FOUND = 66
STRESS = {
    "ring": ["-c", "from proxyd_stress.ring import run; print(run(200_000))"],
    "events": ["-c", "from proxyd_stress.events import run; print(run(200_000))"],
    "rate limits": ["-c", "from proxyd_stress.rate import run; print(run(100_000))"],
    "leases": ["-c", "from proxyd_stress.rate import run_leased; print(run_leased(200_000))"],
    "access log": ["tests/tsan/access_log.py"],
    "places": ["tests/tsan/gate.py"],
    "filters": ["-c", "from proxyd_stress.filters import run; print(run(150_000))"],
    "flows": ["tests/tsan/flows.py"],
    "hand-over": ["tests/tsan/handover.py"],
}


def run(arguments: list[str]) -> tuple[int, str]:
    libtsan = subprocess.run(["gcc", "-print-file-name=libtsan.so"], check=True, capture_output=True, text=True).stdout.strip()
    environment = os.environ | {
        "PYTHONPATH": f"{LIB}{os.pathsep}{ROOT}",
        "LD_PRELOAD": libtsan,
        "TSAN_OPTIONS": f"exitcode={RACE_FOUND}:halt_on_error=0:history_size=4",
    }
    # Without randomised addresses: newer kernels spread them wider than ThreadSanitizer's map of memory.
    command = ["setarch", "-R", sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    code, output = run(["-c", "from proxyd_stress.race import run; run(1)"])
    if code != RACE_FOUND or "data race" not in output or "proxyd_stress_4race_add" not in output:
        print(f"the race on purpose was not reported (exit code {code}):\n{output}")
        return 1
    print("the race on purpose is seen")
    failed = 0
    for name, arguments in STRESS.items():
        code, output = run(arguments)
        print(f"{name}: {output.strip() if code == 0 else f'exit code {code}'}", flush=True)
        if code:
            failed += 1
            print(output)
    print(f"{len(STRESS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
