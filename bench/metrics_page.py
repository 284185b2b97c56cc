"""What a scrape of `/metrics` costs, and whom it disturbs: `python bench/metrics_page.py [--series 5000] [--scrapes 50]`.

A daemon with one engine thread has as many routes as make so many series, each asked once. Then, in one process with it: how long a page
takes by HTTP (the client shares the loop: it is an upper bound), how late a ticker of 1 ms is on the event loop meanwhile (health checks
and the admin API share it, too), and, if there is wrk, which latencies requests have while pages are made all the time, and while none is.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import aiohttp
import uvloop

from proxyd.admin.server import AdminServer
from proxyd.config.address import BindAddress
from proxyd.daemon import Daemon

SERIES_A_ROUTE = 21        # a histogram of 18 lines, one code, bytes in and out
SERIES_ELSE = 110
ACCEPTS = {"text": "", "openmetrics": "application/openmetrics-text; version=1.0.0"}
WRK_SECONDS = 3


@dataclass(slots=True)
class Ticker:
    """How late the event loop comes to a timer of a millisecond."""

    late_ms: list[float] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.late_ms.append((time.perf_counter() - began) * 1000 - 1)

    def take(self) -> str:
        """p50, p99 and the most since the last time, as text."""
        late, self.late_ms = sorted(self.late_ms), []
        return f"{at(late, 0.5):.2f} / {at(late, 0.99):.2f} / {late[-1]:.2f} ms"


def at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@contextlib.asynccontextmanager
async def daemon_with(routes: int) -> AsyncIterator[tuple[str, str]]:
    """A daemon all of whose routes have served a request; the addresses of its admin API and of its listener."""
    listed = ", ".join(f"{{match: /r{number}/*, respond: 200, name: r{number}}}" for number in range(routes))
    text = f"runtime: {{threads: 1}}\nlog: {{access: none, level: warning}}\nlisten: 127.0.0.1:0\nroutes: [{listed}]\n"
    admins: list[AdminServer] = []

    def admin(daemon: Daemon) -> AdminServer:
        admins.append(AdminServer(daemon, [BindAddress.parse("127.0.0.1:0")]))
        return admins[0]

    daemon = Daemon(text=text, services=[admin])
    await daemon.start()
    try:
        address = daemon.listener_entries()[0].address
        async with aiohttp.ClientSession() as client:
            for number in range(routes):
                async with client.get(f"http://{address}/r{number}/") as answer:
                    assert answer.status == 200
        yield admins[0].addresses[0], address
    finally:
        daemon.stop(now=True)
        await daemon.wait()


async def scrape(admin: str, accept: str, times: int, ticker: Ticker) -> None:
    durations, page = [], b""
    ticker.late_ms.clear()
    async with aiohttp.ClientSession(headers={"Accept": accept}) as client:
        for _ in range(times):
            began = time.perf_counter()
            async with client.get(f"http://{admin}/metrics") as answer:
                page = await answer.read()
            durations.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.02)
    lines = sum(not line.startswith(b"#") for line in page.splitlines())
    shown = f"first {durations[0]:.1f}, median {statistics.median(durations):.1f}, most {max(durations[1:]):.1f} ms"
    print(f"{lines} series, {len(page) // 1024} KiB: {shown}; loop late {ticker.take()}")


async def wrk(address: str) -> str:
    command = ["wrk", "-t1", "-c16", f"-d{WRK_SECONDS}s", "--latency", f"http://{address}/r0/"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True)
    found = dict(re.findall(r"(50%|99%|Requests/sec:)\s+(\S+)", done.stdout))
    return f"{found['Requests/sec:']} requests/s, p50 {found['50%']}, p99 {found['99%']}"


async def main(series: int, scrapes: int) -> None:
    async with daemon_with((series - SERIES_ELSE) // SERIES_A_ROUTE + 1) as (admin, address):
        gc.freeze()                # as `proxyd run` does
        ticker = Ticker()
        ticking = asyncio.create_task(ticker.run())
        await asyncio.sleep(1)
        print(f"no scrapes: loop late p50 / p99 / most {ticker.take()}")
        for name, accept in ACCEPTS.items():
            print(f"{name}: ", end="")
            await scrape(admin, accept, scrapes, ticker)
        if shutil.which("wrk"):
            print(f"wrk alone: {await wrk(address)}")
            load = asyncio.create_task(wrk(address))
            pages = 0
            async with aiohttp.ClientSession() as client:
                while not load.done():
                    async with client.get(f"http://{admin}/metrics") as answer:
                        await answer.read()
                    pages += 1
            print(f"wrk and {pages / WRK_SECONDS:.0f} pages a second: {await load}")
        ticking.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=5_000)
    parser.add_argument("--scrapes", type=int, default=50)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.series, arguments.scrapes))
