"""`proxyd logs`."""
from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from click.testing import Result

from proxyd_ext.log import AccessLog
from tests.proxyd.admin.fake_daemon import FakeDaemon
from tests.proxyd.cli.conftest import Served
from tests.proxyd.records.sample import REQUEST, failed, record

Run = Callable[..., Result]


def test_kept_ones_the_oldest_first(run: Run, daemon: FakeDaemon) -> None:
    daemon.flight.on_records([
        record(id=1, time_us=1_000_000, path=b"/a"), failed("connect_refused", 502, id=2, time_us=2_000_000, path=b"/b"),
        record(id=3, time_us=3_000_000, path=b"/c"),
    ])
    def paths(*arguments: str) -> list[str]:
        return [json.loads(line)["path"] for line in run("logs", "--json", *arguments).stdout.splitlines()]

    assert paths() == ["/a", "/b", "/c"]
    assert paths("-n", "2") == ["/b", "/c"]
    assert paths("--error") == paths("--error", "connection_refused") == paths("--status", "5xx") == ["/b"]
    assert paths("--slower-than", "1h") == []
    assert run("logs").stdout.splitlines()[1].endswith("connection refused   id 0000000000000002")
    assert run("logs", "--status", "6xx").exit_code == 2


def test_nothing_to_show_is_said_where_it_is_in_nobodys_way(run: Run, daemon: FakeDaemon) -> None:
    assert run("logs").stderr == "no request is kept yet; -f shows those that come\n"
    none = run("logs", "--route", "nope")
    assert (none.exit_code, none.stdout) == (0, "")
    assert none.stderr == "none of the requests that are kept fits; -f shows those that come\n"
    assert run("logs", "--route", "nope", "-q").output == run("logs", "-n", "0").output == ""


@pytest.fixture
def submit(served: Served) -> Iterator[Callable[..., None]]:
    """Submits a record as an engine would, once somebody follows."""
    log = AccessLog(-1, "json", 1)
    log.start()

    async def follow() -> None:
        served.daemon.records.follow(log)

    asyncio.run_coroutine_threadsafe(follow(), served._loop).result(10)

    def send(*paths: str) -> None:
        for path in paths:
            log.submit(0, REQUEST | {"path": path.encode()})

    yield send
    log.stop()

    async def finish() -> None:
        served.daemon.records.finish(log)

    asyncio.run_coroutine_threadsafe(finish(), served._loop).result(10)


def test_follow_until_the_daemon_leaves(run: Run, served: Served, submit: Callable[..., None]) -> None:
    daemon = served.daemon
    daemon.flight.on_records([record(id=9, path=b"/kept")])

    def go_on() -> None:
        while not daemon.records._greedy:          # nobody follows yet
            threading.Event().wait(0.005)
        seen = threading.Event()
        daemon.records.subscribe(lambda records: seen.set() if any(entry["path"] == "/last" for entry in records) else None)
        submit("/new", "/other", "/last")
        seen.wait(10)
        served._loop.call_soon_threadsafe(daemon.left.set)

    thread = threading.Thread(target=go_on)
    thread.start()
    result = run("logs", "-f", "--json")
    thread.join(10)
    assert result.exit_code == 0
    paths = [json.loads(line)["path"] for line in result.stdout.splitlines()]
    assert paths[:3] == ["/kept", "/new", "/other"]
    assert result.stderr == "proxyd leaves\n"
