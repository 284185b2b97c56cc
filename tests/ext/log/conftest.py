from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxyd_ext.log import AccessLog
from tests.support.access_log import Format, flood

Open = Callable[..., AccessLog]


@pytest.fixture
def open_log() -> Iterator[Open]:
    """AccessLog, started; stopped at the end whatever happens."""
    logs: list[AccessLog] = []

    def open_one(fd: int, form: Format = "json", engines: int = 1, backlog: int = 0) -> AccessLog:
        log = AccessLog(fd, form, engines)
        logs.append(log)
        flood(log, 0, backlog)    # before the start, so that it comes as one batch
        log.start()
        return log

    yield open_one
    for log in logs:
        log.stop()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe (reader, writer) whose reading end does not block."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A regular file and a descriptor that appends to it."""
    path = tmp_path / "access.log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield path, fd
    os.close(fd)
