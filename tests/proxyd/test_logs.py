from __future__ import annotations

import io
import json
import logging
import os
import re
import stat
from pathlib import Path

import pytest

from proxyd.config.model import AccessLog as AccessConfig
from proxyd.logs import AccessSink, PlainFormatter, open_target
from proxyd.state import DaemonError


@pytest.mark.parametrize(("clock", "shape"), [(False, r"^warning it happened$"), (True, r"^\d\d:\d\d:\d\d warning it happened$")])
def test_a_line_of_the_own_log(clock: bool, shape: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainFormatter(clock=clock))
    handler.handle(logging.LogRecord("proxyd.x", logging.WARNING, __file__, 1, "it %s", ("happened",), None))
    assert stream.getvalue().endswith("\n")
    assert re.search(shape, stream.getvalue().rstrip("\n"))


def test_without_an_access_log_records_are_for_the_tap() -> None:
    sink = AccessSink.open(None, 1)
    sink.log.submit(0, {"path": b"/ok"})
    sink.log.submit(0, {"path": b"/bad", "status": 502})
    sink.log.flush()
    assert [json.loads(line)["path"] for line in sink.log.take().splitlines()] == ["/bad"]
    sink.reopen()
    sink.close()
    assert sink.entries() == ()


def test_a_file_is_appended_to_and_not_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    os.chmod(path, 0o600)
    fd = open_target(str(path))
    os.write(fd, b"after\n")
    os.close(fd)
    assert path.read_text() == "before\nafter\n"
    new = tmp_path / "new.log"
    os.close(open_target(str(new)))
    assert stat.S_IMODE(new.stat().st_mode) & 0o007 == 0


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match=r"cannot open the access log .*none/a\.log: no such file or directory"):
        open_target(str(tmp_path / "none" / "a.log"))


def test_a_pipe_that_nobody_reads_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DaemonError, match="pipe"):
        open_target(str(tmp_path / "pipe"))


def test_a_target_that_cannot_be_opened_anew_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = AccessSink.open(AccessConfig(to=str(folder / "a.log"), format="json"), 1)
    folder.rename(tmp_path / "moved")
    with pytest.raises(DaemonError):
        sink.reopen()
    sink.log.submit(0, {"path": b"/x"})
    sink.close()
    assert [(entry.written, entry.dropped) for entry in sink.entries()] == [(1, 0)]
    assert "/x" in (tmp_path / "moved" / "a.log").read_text()
