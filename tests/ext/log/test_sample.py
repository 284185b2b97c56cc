"""Which records a log takes."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxyd_ext.core.fault import faults
from proxyd_ext.log import AccessLog, Rules
from proxyd_ext.log.sample import keeps

REFUSED = int(faults()["connect_refused"]["code"])


def share(rules: Rules, count: int = 20_000, **record: int | bytes | None) -> float:
    return sum(keeps(rules, {**record, "id": number * 0x9E3779B97F4A7C15 % 2**64}) for number in range(count)) / count


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
def test_so_many_of_a_hundred(percent: int) -> None:
    rules = Rules(keep={"2xx": percent})
    # five standard deviations of a fair draw
    assert share(rules, status=204) == pytest.approx(percent / 100, abs=5 * (percent / 100 * (1 - percent / 100) / 20_000) ** 0.5)
    assert share(rules, 500, status=301) == 1.0


@pytest.mark.parametrize("kind", ["1xx", "2xx", "3xx", "4xx", "5xx"])
def test_each_class_has_its_share(kind: str) -> None:
    rules = Rules(keep={kind: 0})
    taken = {f"{status // 100}xx" for status in (101, 200, 304, 499, 503) if keeps(rules, {"status": status})}
    assert taken == {"1xx", "2xx", "3xx", "4xx", "5xx"} - {kind}


def test_flows_have_theirs_and_failed_ones_are_all_taken() -> None:
    rules = Rules(keep={"flows": 0, "2xx": 0})
    assert not any(keeps(rules, {"kind": kind}) for kind in (1, 2, 3))
    assert all(keeps(rules, {"kind": kind, "fault": REFUSED}) for kind in (1, 2, 3))


def test_an_answer_that_broke_off_is_taken_whatever_its_status() -> None:
    rules = Rules(keep={"2xx": 0, "4xx": 0, "5xx": 0})
    assert keeps(rules, {"status": 200, "fault": REFUSED})
    assert not keeps(rules, {"status": 429, "fault": int(faults()["rate_limited"]["code"])})
    assert not keeps(rules, {"status": 502, "fault": REFUSED})


def test_slow_ones_are_taken_and_flows_are_not_slow() -> None:
    rules = Rules(keep={"2xx": 0, "flows": 0}, slow_us=1_000_000)
    assert keeps(rules, {"t_total_us": 1_000_000})
    assert not keeps(rules, {"t_total_us": 999_999})
    assert not keeps(rules, {"kind": 1, "t_total_us": 3_600_000_000})


def test_the_next_proxy_decides_alike() -> None:
    """It finds the id that the first one made in X-Request-ID."""
    rules = Rules(keep={"2xx": 30})
    ids = [number * 0x9E3779B97F4A7C15 % 2**64 for number in range(300)]
    first = [keeps(rules, {"id": number}) for number in ids]
    assert first == [keeps(rules, {"id": 1, "request_id": b"%016x" % number}) for number in ids]
    assert 0 < sum(first) < 300


def test_a_log_counts_what_it_leaves_out_by_itself(target: tuple[Path, int]) -> None:
    path, fd = target
    log = AccessLog(fd, "json", 1, rules=Rules(keep={"2xx": 20}))
    for number in range(1_000):
        log.submit(0, {"id": number * 0x9E3779B97F4A7C15 % 2**64, "status": 500 if number % 10 == 0 else 200})
    log.start()
    log.stop()
    lines = [json.loads(line) for line in path.open()]
    assert (log.written, log.dropped, log.sampled_out) == (len(lines), 0, 1_000 - len(lines))
    assert sum(line["status"] == 500 for line in lines) == 100
    assert 100 < len(lines) - 100 < 260
