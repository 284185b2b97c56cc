from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from proxyd.records.tap import TURN_BYTES, Record, Tap
from proxyd_ext.log import AccessLog
from tests.support.wait import until


@pytest.fixture
def opened() -> Iterator[Callable[[], AccessLog]]:
    logs: list[AccessLog] = []

    def open_log() -> AccessLog:
        logs.append(AccessLog(-1, "json", 1))
        logs[-1].start()
        return logs[-1]

    yield open_log
    for log in logs:
        log.stop()


async def heard(records: list[Record], count: int) -> list[str]:
    await until(lambda: len(records) >= count)
    return [record["path"] for record in records]


async def test_records_come_to_all_who_listen(opened: Callable[[], AccessLog]) -> None:
    tap, one, other = Tap(), list[Record](), list[Record]()
    tap.subscribe(one.extend)
    end = tap.subscribe(other.extend)
    log = opened()
    tap.follow(log)
    log.submit(0, {"path": b"/a", "status": 502})
    assert await heard(one, 1) == ["/a"]
    assert await heard(other, 1) == ["/a"]
    end()
    log.submit(0, {"path": b"/b", "status": 502})
    assert await heard(one, 2) == ["/a", "/b"]
    assert len(other) == 1
    tap.finish(log)


async def test_everything_only_while_somebody_wants_it(opened: Callable[[], AccessLog]) -> None:
    tap, records = Tap(), list[Record]()
    tap.want(slow_us=5_000, one_in=0)
    log = opened()
    tap.follow(log)
    end = tap.subscribe(records.extend, everything=True)
    log.submit(0, {"path": b"/fast", "id": 1})
    assert await heard(records, 1) == ["/fast"]
    end()
    tap.subscribe(records.extend)
    log.submit(0, {"path": b"/unseen", "id": 1})
    log.submit(0, {"path": b"/slow", "id": 1, "t_total_us": 5_000})
    assert await heard(records, 2) == ["/fast", "/slow"]
    tap.finish(log)


async def test_another_log_takes_over_and_nothing_is_lost(opened: Callable[[], AccessLog]) -> None:
    tap, records = Tap(), list[Record]()
    tap.subscribe(records.extend, everything=True)
    old, new = opened(), opened()
    tap.follow(old)
    tap.follow(new)
    old.submit(0, {"path": b"/last"})
    old.stop()
    tap.finish(old)
    new.submit(0, {"path": b"/first"})
    assert await heard(records, 2) == ["/last", "/first"]
    tap.finish(new)


async def test_counts_of_logs_that_close_neither_miss_nor_come_twice(opened: Callable[[], AccessLog]) -> None:
    tap = Tap()
    old, new = opened(), opened()
    tap.follow(old)
    assert tap.held == {"5xx": 0, "fault": 0, "other": 0}
    for _ in range(507):
        old.submit(0, {"status": 502})
    old.flush()
    tap.follow(new)
    assert tap.held["5xx"] == 7, "the old one still closes"
    old.stop()
    tap.finish(old)
    assert tap.held["5xx"] == 7
    for _ in range(501):
        new.submit(0, {"status": 502})
    new.flush()
    assert tap.held["5xx"] == 8
    tap.finish(new)


async def test_what_was_dropped_stays_counted_while_a_log_closes(opened: Callable[[], AccessLog]) -> None:
    tap, old, new = Tap(), opened(), opened()
    tap.subscribe(lambda records: None, everything=True)
    tap.follow(old)
    for _ in range(4):                 # more than the tap has room for, and nobody takes it
        for _ in range(1_000):
            old.submit(0, {"path": b"/" + b"x" * 300})
        old.flush()
    dropped = tap.dropped
    assert dropped > 0
    tap.follow(new)
    assert tap.dropped == dropped
    old.stop()
    for _ in range(2):
        tap.finish(old)
        assert tap.dropped == dropped
    tap.finish(new)


async def test_a_flood_comes_in_turns_and_whole(opened: Callable[[], AccessLog]) -> None:
    tap, records, turns = Tap(), list[Record](), list[int]()

    def listen(new: list[Record]) -> None:
        turns.append(len(new))
        records.extend(new)

    tap.subscribe(listen, everything=True)
    log = opened()
    count = 1_200
    tap.prepare(log)
    for _ in range(count):
        log.submit(0, {"path": b"/" + b"x" * 300})
    log.flush()
    tap.follow(log)
    await heard(records, count)
    assert max(turns) * 400 <= TURN_BYTES
    assert len(records) == count
    assert tap.dropped == 0
    tap.finish(log)


async def test_a_listener_that_fails_disturbs_no_other(opened: Callable[[], AccessLog], caplog: pytest.LogCaptureFixture) -> None:
    tap, records = Tap(), list[Record]()

    def fail(new: list[Record]) -> None:
        raise ValueError("broken")

    tap.subscribe(fail)
    tap.subscribe(records.extend)
    log = opened()
    tap.follow(log)
    log.submit(0, {"path": b"/a", "status": 502})
    assert await heard(records, 1) == ["/a"]
    tap.finish(log)
