"""How long people wait: for `proxyd --help`, for `proxyd check` of many routes, from `proxyd run` to the first byte
of an answer. The lowest and the median of some runs, each in a process of its own.

`check` must grow with the file and not with its square: the last column is the time for each thousand routes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

PROGRAM = [sys.executable, "-m", "proxyd"]
SIZES = (500, 5_000, 20_000)


def many_routes(count: int) -> str:
    """A config with hosts, paths, policies and upstreams of two servers, as a generator would write it."""
    upstreams = max(count // 5, 1)
    lines = ["listen: 127.0.0.1:8080", "upstreams:"]
    for number in range(upstreams):
        address = f"10.{number // 250 % 250}.{number % 250}"
        lines.append(f"  up{number}: {{servers: [{address}.1:8000, {{address: {address}.2:8000, weight: 2}}], balance: least_conn}}")
    lines.append("policies:")
    lines += [f"  limit{number}: {{rate_limit: {{rate: {number + 1}0/s, burst: 40, key: client.ip}}}}" for number in range(20)]
    lines.append("routes:")
    for number in range(count):
        match = f"h{number % 1000}.example.com/api/v{number // 1000}/s{number}/*"
        lines.append(f'  - {{name: r{number}, match: "{match}", use: [limit{number % 20}], to: up{number % upstreams}}}')
    return "\n".join(lines) + "\n"


def timed_ms(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1000


def first_byte_ms(folder: Path) -> float:
    """From the start of the process to the first byte of an answer that an engine makes."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    config = folder / "first.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\nadmin: {{bind: 'unix:{folder}/admin.sock'}}\nroutes: [{{respond: 204}}]\n")
    begin = time.perf_counter()
    with subprocess.Popen([*PROGRAM, "run", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
        try:
            while daemon.poll() is None:
                with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
                    if client.recv(1):
                        return (time.perf_counter() - begin) * 1000
                time.sleep(0.001)
            raise RuntimeError("the daemon did not start")
        finally:
            daemon.terminate()


def report(title: str, measure: Callable[[], float], runs: int, *, thousands: float = 0) -> None:
    found = [measure() for _ in range(runs)]
    each = f"{min(found) / thousands:8.0f} ms per 1000 routes" if thousands else ""
    print(f"{title:28} lowest {min(found):6.0f} ms   median {statistics.median(found):6.0f} ms {each}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_RUNTIME_DIR"] = name
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)      # an installed proxyd has its modules compiled
        folder = Path(name)
        report("proxyd --help", partial(timed_ms, [*PROGRAM, "--help"]), runs)
        for count in SIZES:
            config = folder / f"{count}.yaml"
            config.write_text(many_routes(count))
            report(f"proxyd check, {count} routes", partial(timed_ms, [*PROGRAM, "check", "-c", str(config)]), runs, thousands=count / 1000)
        report("proxyd run to first byte", lambda: first_byte_ms(folder), runs)


if __name__ == "__main__":
    main()
