"""Each kind of descriptor behind the log: none may hold the thread, change for its other users, or end the process."""
from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxyd_ext.log import AccessLog
from tests.support.access_log import drain, flood, ids, until, until_written, waiting_bytes

Open = Callable[..., AccessLog]


@pytest.fixture
def deadly_sigpipe() -> object:
    """SIGPIPE as a C program has it: it kills."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGPIPE, before)


def guarded_log(fd: int) -> AccessLog:
    """A log that cannot open its pipe anew, because after its eventfds and its duplicate there are no descriptors left."""
    spare = [os.dup(fd), os.dup(fd), os.dup(fd)]
    for one in spare:
        os.close(one)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
    try:
        return AccessLog(fd, "json", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def read_all(log: AccessLog, fd: int, count: int) -> list[int]:
    """Read until `count` records are accounted for and here; their ids."""
    got = bytearray()

    def all_there() -> bool:
        got.extend(drain(fd))
        return log.written + log.dropped == count and got.count(b"\n") == log.written

    until(all_there)
    return ids(bytes(got))


def test_a_pipe_keeps_its_mode_for_its_other_users(open_log: Open, pipe: tuple[int, int]) -> None:
    log = open_log(pipe[1])
    log.submit(0, {"id": 1})
    log.flush()
    assert os.get_blocking(pipe[1])
    assert ids(drain(pipe[0])) == [1]


def test_a_pipe_that_cannot_be_opened_anew_is_guarded(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = guarded_log(writer)
    log.start()
    flood(log, 0, 300)
    until(lambda: waiting_bytes(reader) > 60_000)
    assert read_all(log, reader, 300) == list(range(300))
    flood(log, 0, 300)
    until(lambda: waiting_bytes(reader) > 60_000)
    began = time.monotonic()
    log.stop()
    assert time.monotonic() - began < 3.5


def test_a_terminal(open_log: Open) -> None:
    reader, writer = os.openpty()
    os.set_blocking(reader, False)
    try:
        flags = fcntl.fcntl(writer, fcntl.F_GETFL)
        log = open_log(writer, "pretty")
        flood(log, 0, 100)
        got = bytearray()

        def all_there() -> bool:
            got.extend(drain(reader))
            return got.count(b"\n") == 100

        until(all_there)
        assert fcntl.fcntl(writer, fcntl.F_GETFL) == flags
        log.stop()
    finally:
        os.close(reader)
        os.close(writer)


def test_a_socket_that_is_not_read(open_log: Open) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        log = open_log(ours.fileno())
        flood(log, 0, 4_000)
        assert ours.getblocking()
        numbers = read_all(log, theirs.fileno(), 4_000)
        assert numbers == sorted(set(numbers))


@pytest.mark.usefixtures("deadly_sigpipe")
def test_a_pipe_without_reader_costs_records_only(open_log: Open) -> None:
    reader, writer = os.pipe()
    log = open_log(writer)
    os.close(reader)
    flood(log, 0, 50)
    until(lambda: log.dropped == 50)
    assert log.written == 0
    os.close(writer)


@pytest.mark.usefixtures("deadly_sigpipe")
def test_a_socket_without_reader_costs_records_only(open_log: Open) -> None:
    ours, theirs = socket.socketpair()
    log = open_log(ours.fileno())
    theirs.close()
    flood(log, 0, 50)
    until(lambda: log.dropped == 50)
    ours.close()


def test_a_full_disk_costs_records_until_there_is_room(open_log: Open, target: tuple[Path, int]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = open_log(full)
    os.close(full)
    flood(log, 0, 50)
    log.flush()
    assert (log.written, log.dropped) == (0, 50)
    log.reopen(target[1])
    flood(log, 50, 50)
    log.flush()
    assert ids(target[0].read_bytes()) == list(range(50, 100))
    assert (log.written, log.dropped) == (50, 50)


def test_a_disk_that_fills_inside_a_line_tears_one_record(open_log: Open, target: tuple[Path, int]) -> None:
    """The limit on file size cuts a write short, as a full disk does; when there is room again, the next line stands by itself."""
    path, fd = target
    log = open_log(fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        flood(log, 0, 50)
        log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.stat().st_size == 10_000
    kept = log.written
    assert 0 < kept < 50
    assert log.dropped == 50 - kept
    log.submit(0, {"id": 99})
    log.flush()
    *whole, torn, last = path.read_bytes().splitlines()
    assert ids(b"\n".join(whole) + b"\n") == list(range(kept))
    assert b'"id":"%016x"' % kept in torn
    assert ids(last + b"\n") == [99]


@pytest.mark.usefixtures("deadly_sigpipe")
def test_a_reader_that_comes_back_finds_whole_lines(open_log: Open, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    log = open_log(writer, backlog=500)
    until(lambda: waiting_bytes(first) == 65_536)
    os.close(first)
    until(lambda: log.written + log.dropped == 500)
    second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    drain(second)
    before = log.written
    log.submit(0, {"id": 999})
    until_written(log, before + 1)
    assert drain(second).splitlines()[0] == b""    # ends the line that the first reader saw a piece of
    os.close(second)
    os.close(writer)
