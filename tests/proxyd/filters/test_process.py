"""Real worker processes, and filters that do what no filter should."""
from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from proxyd.clock import SystemClock
from proxyd.filters import generation, process
from proxyd.filters.counters import RESULTS, FilterCounters, Result
from proxyd.filters.pool import FilterSettings, Pool
from proxyd.filters.process import ROOT, LoadFailed, start_worker
from proxyd_ext.filter.hooks import Hooks
from tests.support.filters import ANSWER, REQUEST, FakeEngine, write_filter
from tests.support.wait import until

PATIENT = 20.0     # seconds: for calls that may wait for a restart on a loaded machine


class World:
    """A pool with real workers. `call` asks and waits for the outcome."""

    def __init__(self, file: Path, timeout: float = PATIENT) -> None:
        self.hooks, self.engine, self.counters = Hooks("own"), FakeEngine(), FilterCounters()
        self.settings = FilterSettings("own", file, timeout, disable_after=0)
        self.pool = Pool(self.hooks, self.settings, SystemClock(), self.counters, start_worker)
        self._slots = 0

    async def start(self) -> World:
        self.pool.take(self.settings, await self.pool.prepare(self.settings))
        return self

    async def call(self, path: str = "/good", response: bool = False) -> object:
        self._slots += 1
        slot = self._slots
        payload = (ANSWER if response else REQUEST).replace(b"/a?x=1", path.encode())
        self.pool.ask(self.engine, slot, 1, "response" if response else "request", payload)
        await until(lambda: any(found == slot for found, _ in self.engine.heard), path, PATIENT)
        return dict(self.engine.heard)[slot]

    @property
    def results(self) -> dict[Result, int]:
        calls = self.counters.calls
        sums = {result: calls["request", result] + calls["response", result] for result in RESULTS}
        return {result: count for result, count in sums.items() if count}

    @property
    def restarts(self) -> dict[str, int]:
        return {str(word): count for word, count in self.counters.restarts.items() if count}


async def test_a_worker_does_not_speak_for_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "OWN_SETTING"):
        monkeypatch.setenv(name, "x")
    world = await World(write_filter(tmp_path, """
        import os

        def on_request(request):
            return Changes(set={"X-Env": " ".join(name for name in os.environ if os.environ[name] == "x")})
    """)).start()
    try:
        told = await world.call()
        assert isinstance(told, dict)
        assert told["lines"] == b"X-Env: OWN_SETTING\r\n"
    finally:
        await world.pool.close()


async def test_a_filter_is_asked_and_changes(tmp_path: Path) -> None:
    world = await World(write_filter(tmp_path, """
        async def on_request(request):
            await asyncio.sleep(0)
            if request.path == "/reply":
                return Response(403, "no", {"X-Id": request.id})
            return Changes(set={"X-User": request.user, "X-Host": request.headers["host"]}, remove=["X-A"], path="/b", query="y=2")

        def on_response(request, response):
            return Changes(remove=[name for name in response.headers if name.startswith("x-internal")], status=203)
    """)).start()
    assert (world.hooks.request, world.hooks.response) == (True, True)
    assert await world.call() == {
        "lines": b"X-User: user-1\r\nX-Host: acme.example.com\r\n", "drop": b"x-a\nx-user\nx-host\n", "path": "/b", "query": "y=2",
    }
    assert await world.call("/reply") == (403, b"Content-Type: text/plain; charset=utf-8\r\nX-Id: req-1\r\n", b"no")
    assert await world.call(response=True) == {"drop": b"x-internal-node\n", "status": 203}
    await world.pool.close()
    assert world.results == {"changed": 2, "replied": 1}


async def test_many_calls_are_under_way_in_one_worker(tmp_path: Path) -> None:
    world = await World(write_filter(tmp_path, """
        seen, everyone = [], asyncio.Event()

        async def on_request(request):
            seen.append(request)
            if len(seen) == 100:
                everyone.set()
            await everyone.wait()
    """)).start()
    await asyncio.gather(*(world.call() for _ in range(100)))
    assert world.results == {"passed": 100}
    await world.pool.close()


GARBLE = """
def garble():
    for number in range(3, 64):
        try:
            os.write(number, b"\\xff" * 64)
        except OSError:
            pass

"""


async def bad(folder: Path, fault: str, seconds: float) -> World:
    """A filter that a request for /bad makes do something."""
    text = f"{GARBLE}async def on_request(request):\n    if request.path == '/bad':\n        {fault}\n"
    world = await World(write_filter(folder, text)).start()
    world.pool.take(replace(world.settings, timeout_s=seconds), None)
    await world.call("/bad")
    world.pool.take(world.settings, None)
    return world


HARMLESS: dict[str, tuple[str, Result]] = {
    "raises": ("raise KeyError('tenant')", "error"),
    "exits": ("sys.exit(3)", "error"),
    "interrupts": ("raise KeyboardInterrupt", "error"),
    "cancels": ("raise asyncio.CancelledError", "error"),
    "recurs": ("endless()", "error"),
    "large": ("return Response(200, 'x' * 2_000_000)", "error"),
    "wrong": ("return 7", "error"),
    "prints": ("[print('x' * 1_000) for _ in range(10_000)]", "passed"),
    "prints-one-line": ("sys.stdout.write('x' * 1_000_000)", "passed"),
    "terminates": ("os.kill(os.getpid(), 15)", "passed"),
}


async def test_faults_that_a_worker_survives(tmp_path: Path) -> None:
    text = "def endless(): endless()\nasync def on_request(request):\n    pass\n"
    text += "".join(f"    if request.path == '/{name}': {fault}\n" for name, (fault, _) in HARMLESS.items())
    world = await World(write_filter(tmp_path, text)).start()
    for name, (_, expected) in HARMLESS.items():
        before = world.results.get(expected, 0)
        await world.call(f"/{name}")
        assert world.results[expected] == before + 1, name
    assert await world.call() == {}
    assert world.restarts == {}
    await world.pool.close()


DEADLY: dict[str, tuple[str, float, Result, str]] = {
    "endless": ("while True: pass", 0.05, "timeout", "stuck"),
    "crash": ("os._exit(3)", PATIENT, "crash", "crash"),
    "closes": ("os.closerange(3, 1000)", PATIENT, "crash", "crash"),
    "garbage": ("garble()", PATIENT, "crash", "garbage"),
}


async def test_faults_that_cost_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "SILENCE", 0.1)

    async def meet(name: str) -> tuple[dict[Result, int], dict[str, int]]:
        (folder := tmp_path / name).mkdir()
        world = await bad(folder, *DEADLY[name][:2])
        assert await world.call() == {}
        await world.pool.close()
        return world.results, world.restarts

    found = await asyncio.gather(*map(meet, DEADLY))
    expected = [({result: 1, "passed": 1}, {restart: 1}) for _, _, result, restart in DEADLY.values()]
    assert dict(zip(DEADLY, found, strict=True)) == dict(zip(DEADLY, expected, strict=True))


async def test_coroutines_that_are_over_their_time_are_cancelled(tmp_path: Path) -> None:
    world = await World(write_filter(tmp_path, """
        cancelled = []

        async def on_request(request):
            if request.path == "/good":
                return Changes(set={"X-Cancelled": ",".join(sorted(cancelled))})
            while True:
                try:
                    await asyncio.sleep(1_000)
                except asyncio.CancelledError:
                    cancelled.append(request.path)
                    if request.path == "/slow":
                        raise
    """)).start()
    world.pool.take(replace(world.settings, timeout_s=0.03), None)
    await asyncio.gather(world.call("/slow"), world.call("/stubborn"))
    world.pool.take(world.settings, None)
    lines, asked, deadline = b"", 0, time.monotonic() + PATIENT
    while lines != b"X-Cancelled: /slow,/stubborn\r\n" and time.monotonic() < deadline:
        said, asked = await world.call(), asked + 1          # the worker's own clock may run a little behind ours
        assert isinstance(said, dict)
        lines = said["lines"]
    assert lines == b"X-Cancelled: /slow,/stubborn\r\n"
    assert world.results == {"timeout": 2, "changed": asked}
    assert world.restarts == {}
    await world.pool.close()


async def test_what_it_prints_and_logs_is_told_line_by_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxyd.filters")
    world = await World(write_filter(tmp_path, """
        import logging
        def on_request(request):
            print("printed\\x07")
            logging.getLogger("mine").warning("two\\nlines")
            [print("many") for _ in range(1_000)]
    """)).start()
    await world.call()
    await world.pool.close()
    told = [(record.levelno, record.getMessage()) for record in caplog.records if record.getMessage().startswith("filter own: ")]
    assert told[:3] == [
        (logging.INFO, "filter own: printed\N{REPLACEMENT CHARACTER}"),
        (logging.WARNING, "filter own: two"),
        (logging.WARNING, "filter own: lines"),
    ]
    assert len(told) == process.OUTPUT_LINES


UNLOADABLE = {
    "wrong": ("def on_request(request): pass\n\nundefined\n", "own.py:5: NameError"),
    "crash": ("os._exit(3)\n", "its process ended"),
    "endless": ("while True: pass\n", "did not load within"),
}


async def test_a_filter_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(name: str) -> None:
        (folder := tmp_path / name).mkdir()
        text, message = UNLOADABLE[name]
        world = World(write_filter(folder, text))
        with pytest.raises(LoadFailed, match=message):
            await world.pool.prepare(world.settings)
        await world.pool.close()

    await asyncio.gather(load("wrong"), load("crash"))
    monkeypatch.setattr(process, "LOAD_S", 0.2)
    await load("endless")


def gone(pid: int) -> bool:
    """It is no more, or waits for whoever has adopted it to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_an_endless_filter_does_not_keep_the_pool_from_closing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "EXIT_S", 0.05)
    world = await World(write_filter(tmp_path, """
        import subprocess
        def on_request(request):
            child = subprocess.Popen(["sleep", "1000"])
            with open("pids", "w") as file:
                print(os.getpid(), child.pid, file=file, flush=True)
                os.rename("pids", "told")
            while True: pass
    """)).start()
    world.pool.ask(world.engine, 0, 1, "request", REQUEST)
    await until((tmp_path / "told").exists, "the filter runs")
    began = time.monotonic()
    await world.pool.close()
    assert time.monotonic() - began < process.REAP_S
    assert world.engine.heard == [(0, "failed")]
    pids = [int(text) for text in (tmp_path / "told").read_text().split()]
    await until(lambda: all(map(gone, pids)), "all processes are gone")


async def test_workers_end_with_the_daemon(tmp_path: Path) -> None:
    write_filter(tmp_path, "def on_request(request):\n    while True: pass\n")
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, str(tmp_path / "own.py"), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )
    assert daemon.stdout is not None
    pid = int(await daemon.stdout.readline())
    assert not gone(pid)
    daemon.kill()
    await daemon.wait()
    await until(lambda: gone(pid), "the worker is gone")


DAEMON = """
import asyncio, sys, time
from pathlib import Path
from proxyd.clock import SystemClock
from proxyd.filters.process import start_worker

async def main():
    worker = await start_worker("own", Path(sys.argv[1]), SystemClock(), None)
    worker.ask(1, "request", time.monotonic() + 1000, b"GET / http ::1 r\\n\\n\\n")
    await asyncio.sleep(0)
    print(worker.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""
