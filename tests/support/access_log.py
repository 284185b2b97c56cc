"""What the tests of the access log share: conditions, reading back, load."""
from __future__ import annotations

import fcntl
import json
import os
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from proxyd_ext.log import AccessLog

Format = Literal["json", "combined", "pretty", "haproxy", "logfmt"]
FORMATS: tuple[Format, ...] = get_args(Format)
THREAD = "proxyd-log"


def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        os.sched_yield()


def until_written(log: AccessLog, count: int) -> None:
    until(lambda: log.written == count)


def stays(condition: Callable[[], bool], for_s: float = 0.1) -> bool:
    """Whether a condition holds all the while."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        if not condition():
            return False
        os.sched_yield()
    return True


def ids(lines: bytes) -> list[int]:
    """The ids of whole json lines, in order."""
    assert lines == b"" or lines.endswith(b"\n")
    return [int(json.loads(line)["id"], 16) for line in lines.splitlines()]


def drain(fd: int) -> bytes:
    """All that a non-blocking descriptor holds now."""
    pieces = []
    while True:
        try:
            piece = os.read(fd, 1 << 20)
        except BlockingIOError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def waiting_bytes(fd: int) -> int:
    """Bytes that a reader of `fd` would find."""
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))
    return int(count)


def flood(log: AccessLog, first: int, count: int, engine: int = 0) -> None:
    """Submit `count` records of some 800 bytes, with ids from `first` on."""
    for number in range(first, first + count):
        log.submit(engine, {"id": number, "path": b"/" * 500})


def thread_status() -> dict[str, str]:
    """/proc's lines on the log thread."""
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == THREAD:
            return {name: value.strip() for name, _, value in (line.partition(":") for line in (task / "status").read_text().splitlines())}
    raise AssertionError("there is no log thread")


def is_blocked() -> bool:
    """Whether the log thread waits in the kernel."""
    return thread_status()["State"].startswith("S")


def turns() -> int:
    """How often the log thread has gone to wait."""
    return int(thread_status()["voluntary_ctxt_switches"])
