"""AccessLog: its thread, its bounds and its promises, on real descriptors."""
from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from proxyd_ext.log import AccessLog
from tests.support.access_log import Format, drain, flood, ids, is_blocked, stays, thread_status, turns, until, until_written, waiting_bytes
from tests.support.heap import heap_in_use

Open = Callable[..., AccessLog]
Target = tuple[Path, int]


# ---------------------------------------------------------------- the plain way

def test_records_come_out_in_order(open_log: Open, target: Target) -> None:
    path, fd = target
    log = open_log(fd)
    flood(log, 0, 1_000)
    log.flush()
    assert ids(path.read_bytes()) == list(range(1_000))
    assert (log.written, log.dropped) == (1_000, 0)


@pytest.mark.parametrize(("form", "part"), [("json", b'"path":"/x"'), ("combined", b'"GET /x HTTP/1.1"'), ("pretty", b"GET  200  ")])
def test_every_format_is_written(open_log: Open, target: Target, form: str, part: bytes) -> None:
    path, fd = target
    log = open_log(fd, form)
    log.submit(0, {"path": b"/x", "method": b"GET"})
    log.flush()
    line = path.read_bytes()
    assert line.endswith(b"\n")
    assert part in line


def test_what_was_submitted_before_start_is_written(target: Target) -> None:
    path, fd = target
    log = AccessLog(fd, "json", 1)
    log.submit(0, {"id": 5})
    log.flush()
    assert path.read_bytes() == b""
    log.start()
    log.stop()
    assert ids(path.read_bytes()) == [5]


def test_stop_writes_what_is_left_and_may_be_repeated(open_log: Open, target: Target) -> None:
    path, fd = target
    log = open_log(fd)
    flood(log, 0, 2_000)
    log.stop()
    log.stop()
    log.flush()
    assert ids(path.read_bytes()) == list(range(2_000))
    with pytest.raises(RuntimeError):
        log.start()
    log.submit(0, {"id": 1})    # an engine may still be there: it must not matter
    assert (log.written, log.dropped) == (2_000, 0)


def test_the_descriptor_is_a_duplicate(open_log: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    log = open_log(fd)
    os.close(fd)
    log.submit(0, {"id": 3})
    log.flush()
    assert ids(path.read_bytes()) == [3]


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="json, combined, pretty"):
        AccessLog(1, cast(Format, "xml"), 1)
    with pytest.raises(ValueError, match="engine"):
        AccessLog(1, "json", 0)
    with pytest.raises(OSError, match="Bad file"):
        AccessLog(1_000_000, "json", 1)
    log = AccessLog(1, "json", 2)
    with pytest.raises(OSError, match="Bad file"):
        log.reopen(-1)
    for engine in (-1, 2):
        with pytest.raises(ValueError, match="no engine"):
            log.submit(engine, {})


def test_each_engine_keeps_its_order_and_every_record_is_accounted_for(open_log: Open, target: Target) -> None:
    path, fd = target
    engines, count = 3, 10_000
    log = open_log(fd, engines=engines)

    def submit(engine: int) -> None:
        for number in range(count):
            log.submit(engine, {"id": number, "engine": engine, "path": b"/" * (number % 97)})

    threads = [threading.Thread(target=submit, args=(engine,)) for engine in range(engines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    seen: dict[int, list[int]] = {engine: [] for engine in range(engines)}
    for line in path.read_bytes().splitlines():
        record = json.loads(line)
        number = int(record["id"], 16)
        assert record.get("path", "") == "/" * (number % 97)
        seen[record["engine"]].append(number)
    assert all(numbers == sorted(set(numbers)) for numbers in seen.values())
    assert sum(map(len, seen.values())) == log.written
    assert log.written + log.dropped == engines * count


# ---------------------------------------------------------------- the thread

def test_it_needs_no_gil(open_log: Open, target: Target) -> None:
    log = open_log(target[1])
    before = sys.getswitchinterval()
    sys.setswitchinterval(100.0)
    try:
        log.submit(0, {"id": 1})
        deadline = time.monotonic() + 10
        while log.written < 1:
            assert time.monotonic() < deadline
    finally:
        sys.setswitchinterval(before)


def test_it_takes_no_signal(open_log: Open, target: Target) -> None:
    open_log(target[1])
    blocked = int(thread_status()["SigBlk"], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGCHLD):
        assert blocked >> (number - 1) & 1


def test_it_sleeps_when_idle_and_wakes_for_a_record(open_log: Open, target: Target) -> None:
    """Over and over, so that records come just as it falls asleep: each must come out without the help of another."""
    path, fd = target
    log = open_log(fd)
    for number in range(1, 6):
        until(lambda: log.sleeping)
        log.submit(0, {"id": number})
        until_written(log, number)
    assert ids(path.read_bytes()) == [1, 2, 3, 4, 5]


def test_it_does_not_wake_by_itself(open_log: Open, target: Target) -> None:
    log = open_log(target[1])
    until(lambda: log.sleeping and is_blocked())
    before = turns()
    assert stays(lambda: turns() == before)


def test_orders_are_obeyed_in_its_sleep(open_log: Open, target: Target, tmp_path: Path) -> None:
    log = open_log(target[1])
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    until(lambda: log.sleeping and is_blocked())
    log.reopen(other)
    os.close(other)
    until(lambda: log.sleeping and is_blocked())
    began = time.monotonic()
    log.flush()
    log.stop()
    assert time.monotonic() - began < 1.0


# ---------------------------------------------------------------- another sink

def test_reopen_swaps_between_batches(open_log: Open, target: Target, tmp_path: Path) -> None:
    path, fd = target
    log = open_log(fd)
    flood(log, 0, 100)
    log.flush()
    rotated = path.rename(tmp_path / "access.log.1")
    new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log.reopen(new)
    os.close(new)
    flood(log, 100, 100)
    log.flush()
    assert ids(rotated.read_bytes()) == list(range(100))
    assert ids(path.read_bytes()) == list(range(100, 200))


def test_the_last_of_several_reopens_counts(open_log: Open, target: Target, tmp_path: Path) -> None:
    log = AccessLog(target[1], "json", 1)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        fd = os.open(tmp_path / str(number), os.O_WRONLY | os.O_CREAT)
        log.reopen(fd)
        os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    log.submit(0, {"id": 1})
    log.start()
    log.stop()
    assert [ids((tmp_path / str(number)).read_bytes()) for number in range(5)] == [[], [], [], [], [1]]
    assert target[0].read_bytes() == b""


def test_reopen_frees_it_from_a_blocked_pipe_and_no_record_is_lost(open_log: Open, pipe: tuple[int, int], target: Target) -> None:
    reader, writer = pipe
    path, fd = target
    log = open_log(writer, backlog=500)
    until(lambda: waiting_bytes(reader) == 65_536 and is_blocked())
    log.reopen(fd)
    log.flush()
    whole, _, torn = drain(reader).rpartition(b"\n")
    assert torn
    assert ids(whole + b"\n") + ids(path.read_bytes()) == list(range(500))
    assert (log.written, log.dropped) == (500, 0)


# ---------------------------------------------------------------- a sink that takes nothing

def test_a_blocked_pipe_delays_nobody(open_log: Open, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = open_log(writer)
    count = 6_000    # more than pipe, buffer and ring hold together
    began = time.monotonic()
    flood(log, 0, count)
    assert time.monotonic() - began < 5.0
    assert log.dropped > 0
    got = bytearray()

    def all_there() -> bool:
        got.extend(drain(reader))
        return log.written + log.dropped == count and got.count(b"\n") == log.written

    until(all_there)
    numbers = ids(bytes(got))
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    log.submit(0, {"id": count})
    log.flush()
    assert ids(drain(reader)) == [count]


def test_flush_and_stop_do_not_wait_for_a_blocked_pipe(open_log: Open, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = open_log(writer)
    flood(log, 0, 500)
    began = time.monotonic()
    log.flush()
    flushed = time.monotonic()
    log.stop()
    stopped = time.monotonic()
    assert 1.5 < flushed - began < 3.0
    assert 1.5 < stopped - flushed < 3.5
    assert drain(reader).count(b"\n") == log.written
    assert log.written + log.dropped == 500


def test_it_waits_for_a_blocked_pipe_without_turning(open_log: Open, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    open_log(writer, backlog=500)
    until(lambda: waiting_bytes(reader) == 65_536 and is_blocked())
    before = turns()
    assert stays(lambda: turns() == before)
    drain(reader)


# ---------------------------------------------------------------- birth and death

def test_nothing_stays_behind(target: Target) -> None:
    """Memory, descriptors and threads go with the object, stopped or not."""
    def live_and_die() -> None:
        for started in (False, True):
            log = AccessLog(target[1], "json", 2)
            log.submit(1, {})
            if started:
                log.start()
            log.reopen(target[1])
        gc.collect()

    live_and_die()
    before = heap_in_use(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    for _ in range(5):
        live_and_die()
    after = heap_in_use(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    assert after[0] - before[0] < 1_000_000    # one object takes more than four
    assert after[1:] == before[1:]
