"""The tap: what readers within proxyd get of the records, whatever becomes of the sink."""
from __future__ import annotations

import json
import os
import select
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxyd_ext.core.fault import faults
from proxyd_ext.log import AccessLog
from tests.support.access_log import flood, until

Open = Callable[..., AccessLog]
REFUSED, LIMITED = (int(faults()[word]["code"]) for word in ("connect_refused", "rate_limited"))


@pytest.fixture
def silent() -> Iterator[AccessLog]:
    """A log without a sink."""
    log = AccessLog(-1, "json", 1)
    log.start()
    yield log
    log.stop()


def taken(log: AccessLog) -> list[dict[str, Any]]:
    log.flush()
    return [json.loads(line) for line in log.take().splitlines()]


def note(label: bytes, *, us: int, fault: int = 0, status: int = 0) -> bytes:
    return struct.pack("<IHHB48s3x", us, fault, status, len(label), label)


def test_what_is_telling_of_itself(silent: AccessLog) -> None:
    for record in ({"status": 200}, {"status": 404}, {"status": 503}, {"status": 200, "fault": REFUSED}, {"traced": 1}, {"traced": 2}):
        silent.submit(0, record | {"id": 2**64 - 1, "t_total_us": 2**31})
    assert [(record["status"], record.get("error"), record.get("sampled")) for record in taken(silent)] == [
        (503, None, None), (200, "connection_refused", None), (200, None, True)]


def test_what_was_slow(silent: AccessLog) -> None:
    silent.want(1_000, 0)
    for us in (999, 1_000, 2**40):
        silent.submit(0, {"t_total_us": us, "id": us})
    silent.submit(0, {"kind": 1, "t_total_us": 2**40, "path": b"/flow", "id": 7})     # a flow may well last for days
    assert [record["t_total"] for record in taken(silent)] == [0.001, 2**40 / 1e6]


def test_a_sample_by_id(silent: AccessLog) -> None:
    silent.want(2**32 - 1, 4)
    for id_ in (0, 2**62 - 2, 2**62, 2**64 - 1):
        silent.submit(0, {"id": id_})
    assert [int(record["id"], 16) for record in taken(silent)] == [0, 2**62 - 2]


def test_everything_while_somebody_follows(silent: AccessLog) -> None:
    silent.follow(True)
    flood(silent, 0, 10)
    assert len(taken(silent)) == 10
    silent.follow(False)
    flood(silent, 0, 10)
    assert taken(silent) == []


@pytest.mark.parametrize("form", ["json", "combined", "pretty"])
def test_beside_a_sink_of_any_format(open_log: Open, target: tuple[Path, int], form: str) -> None:
    path, fd = target
    log = open_log(fd, form)
    log.submit(0, {"path": b"/a", "method": b"GET", "id": 2**64 - 1})
    log.submit(0, {"path": b"/b", "method": b"GET", "status": 500})
    assert [record["path"] for record in taken(log)] == ["/b"]
    assert path.read_bytes().count(b"\n") == 2


def test_its_descriptor_is_readable_while_lines_wait(silent: AccessLog) -> None:
    def readable() -> bool:
        return bool(select.select([silent.tap_fileno()], [], [], 0)[0])

    assert not readable()
    silent.submit(0, {"status": 500})
    silent.flush()
    assert readable()
    assert silent.take().count(b"\n") == 1
    assert not readable()
    assert silent.take() == b""


def test_no_room_is_counted_and_costs_the_sink_nothing(open_log: Open, target: tuple[Path, int]) -> None:
    path, fd = target
    log = open_log(fd)
    log.follow(True)
    count = 6_000
    for first in range(0, count, 500):
        flood(log, first, 500)
        log.flush()
    until(lambda: log.written == count)
    lines = log.take().splitlines()
    assert len(lines) + log.tap_dropped == count
    assert log.tap_dropped > 0
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert (path.read_bytes().count(b"\n"), log.dropped) == (count, 0)


def test_failed_tries(silent: AccessLog) -> None:
    notes = note(b"10.0.0.1:80", us=1_200, fault=REFUSED) + note(b'x"' * 24, us=7, status=503)
    silent.submit(0, {"status": 502, "tries": notes, "attempts": 2})
    assert taken(silent)[0]["tries"] == [
        {"server": "10.0.0.1:80", "error": "connection_refused", "t": 0.0012}, {"server": 'x"' * 24, "status": 503, "t": 0.000007}]


def test_a_trace(silent: AccessLog) -> None:
    silent.submit(0, {"id": 0xAB, "request_id": b"theirs", "trace_id": b"1" * 32, "parent_id": b"2" * 16, "traced": 2})
    record = taken(silent)[0]
    assert (record["id"], record["span_id"], record["parent_id"], record["sampled"]) == ("theirs", "00000000000000ab", "2" * 16, True)


def test_it_ends_with_its_log() -> None:
    log = AccessLog(-1, "json", 1)
    fd = log.tap_fileno()
    del log
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_a_flood_of_one_class_is_bounded_and_leaves_the_others_their_share(silent: AccessLog) -> None:
    silent.want(0, 0)
    kinds: tuple[dict[str, int], ...] = ({"status": 200}, {"status": 429, "fault": LIMITED}, {"status": 502, "fault": REFUSED})
    for kind in kinds:
        for _ in range(700):
            silent.submit(0, kind | {"time_us": 10**15})
    assert [record["status"] for record in taken(silent)] == [200] * 500 + [429] * 500 + [502] * 500
    assert silent.tap_held == {"5xx": 200, "fault": 200, "other": 200}
    for _ in range(700):
        silent.submit(0, kinds[2] | {"time_us": 10**15 + 1_000_000})
    assert len(taken(silent)) == 100, "one each ten milliseconds"
    assert silent.tap_held == {"5xx": 800, "fault": 200, "other": 200}
    silent.submit(0, kinds[2] | {"time_us": 10**15 - 60_000_000})
    assert len(taken(silent)) == 1, "a clock that goes back holds nothing up"
    for _ in range(700):
        silent.submit(0, {"traced": 2, "time_us": 10**15})
    assert len(taken(silent)) == 700, "what is traced is always wanted"
    assert sum(silent.tap_held.values()) == 1_200
