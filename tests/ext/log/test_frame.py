"""Heads of syslog messages, as RFC 5424 and syslog(3) have them."""
from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from proxyd_ext.core.fault import faults
from proxyd_ext.log import AccessLog, Rules
from proxyd_ext.log.frame import framed

NEW_YEAR = 1_704_067_199_000_123    # 2023-12-31T23:59:59.000123Z
PID = os.getpid()


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST+5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


HEADS: list[tuple[Literal["none", "file", "local", "rfc5424"], str]] = [
    ("none", ""),
    ("file", f"Dec 31 18:59:59 edge-1 proxyd[{PID}]: "),
    ("local", f"<134>Dec 31 18:59:59 proxyd[{PID}]: "),
    ("rfc5424", f"<134>1 2023-12-31T23:59:59.000123Z edge-1 proxyd {PID} access - "),
]


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize(("frame", "head"), HEADS, ids=[frame for frame, _ in HEADS])
def test_to_the_letter(frame: Literal["none", "file", "local", "rfc5424"], head: str) -> None:
    assert framed(Rules(frame=frame, machine="edge-1"), {"time_us": NEW_YEAR}).decode() == head


@pytest.mark.usefixtures("new_york")
def test_a_day_of_one_digit_takes_two_places() -> None:
    assert framed(Rules(frame="file", machine="m"), {"time_us": NEW_YEAR + 5 * 3_600_000_000 + 1_000_000}).startswith(b"Jan  1 00:00:00 ")


@pytest.mark.parametrize(
    ("record", "severity"),
    [
        ({"status": 101}, 6), ({"status": 204}, 6), ({"status": 399}, 6), ({"status": 400}, 4), ({"status": 499}, 4), ({"status": 500}, 3),
        ({"status": 599}, 3), ({"kind": 1, "status": 0}, 6), ({"kind": 1, "fault": int(faults()["no_server"]["code"])}, 3),
        ({"kind": 2, "fault": int(faults()["hello_malformed"]["code"])}, 4),
    ],
)
def test_how_urgent(record: dict[str, int | bytes | None], severity: int) -> None:
    for rules in (Rules(frame="local"), Rules(frame="rfc5424")):
        head = framed(rules, record).decode()
        found = re.match(r"<(\d+)>", head)
        assert found is not None
        assert int(found[1]) == 16 * 8 + severity


def test_the_name_of_a_machine_is_one_word_of_ascii() -> None:
    assert b" a-b- proxyd " in framed(Rules(frame="rfc5424", machine="a b\n"), {})
    assert b" - proxyd " in framed(Rules(frame="rfc5424"), {})
    assert b" " + b"m" * 255 + b" proxyd " in framed(Rules(frame="rfc5424", machine="m" * 300), {})


def test_it_stands_before_every_line(target: tuple[Path, int]) -> None:
    path, fd = target
    log = AccessLog(fd, "json", 1, rules=Rules(frame="file", machine="m"))
    for _ in range(3):
        log.submit(0, {"time_us": NEW_YEAR})
    log.start()
    log.stop()
    assert [line.partition("{")[0].endswith(f" m proxyd[{PID}]: ") for line in path.read_text().splitlines()] == [True] * 3
