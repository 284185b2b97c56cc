"""What the flight recorder keeps, and what it asks the tap for."""
from __future__ import annotations

import pytest

from proxyd.records.filters import parse_filter
from proxyd.records.flight import KEPT, RATE, SLOW_EACH, SLOW_MINUTES, Flight, slow_us
from proxyd.records.tap import Record
from proxyd.stats.figures import NOTHING, Figures, totals_of
from tests.proxyd.records.sample import failed, fault, flow, record
from tests.support.clock import FakeClock


class Tap:
    def __init__(self) -> None:
        self.wanted: list[tuple[int, int]] = []

    def want(self, *, slow_us: int, one_in: int) -> None:
        self.wanted.append((slow_us, one_in))


def recorder() -> tuple[Flight, FakeClock]:
    clock = FakeClock()
    return Flight(Tap(), clock), clock


def traffic(**buckets: int) -> Figures:
    counts = tuple(buckets.get(f"b{index}", 0) for index in range(17))
    return (0, sum(counts), *NOTHING[2:12], *counts)


def paths(records: list[Record]) -> list[str]:
    return [entry["path"] for entry in records]


# ---------------------------------------------------------------------- what is kept
def test_a_flood_of_refusals_pushes_out_no_failure() -> None:
    flight, _ = recorder()
    flight.on_records([failed("connect_refused", 502, path=b"/lost"), record(status=500, path=b"/broken")])
    flight.on_records([failed("rate_limited", 429, path=b"/flood", id=number) for number in range(KEPT + 50)])
    assert set(paths(flight.latest(parse_filter({"status": "5xx"}), 10))) == {"/lost", "/broken"}
    assert len(flight.refusals) == KEPT


def test_failed_flows_are_failures() -> None:
    flight, _ = recorder()
    flight.on_records([flow(end=11, fault=fault("connect_refused")), flow()])
    assert [len(flight.errors), len(flight.sample)] == [1, 1]
    assert flight.slowest(parse_filter({}), 5) == [], "a flow is as long as its client likes"


def test_the_slowest_of_each_minute() -> None:
    flight, clock = recorder()
    for minute in range(SLOW_MINUTES + 2):
        flight.on_records([record(t_total_us=1_000 * number, path=f"/{minute}".encode()) for number in range(SLOW_EACH + 30)])
        clock.pass_time(60.0)
    slowest = flight.slowest(parse_filter({}), 10_000)
    assert len(slowest) == SLOW_MINUTES * SLOW_EACH
    assert {entry["path"] for entry in slowest} == {f"/{minute}" for minute in range(2, SLOW_MINUTES + 2)}
    assert min(entry["t_total"] for entry in slowest) == pytest.approx(0.030)
    assert slowest[0]["t_total"] == pytest.approx(0.049)


def test_minutes_without_requests_pass_too() -> None:
    flight, clock = recorder()
    flight.on_records([record(path=b"/old")])
    clock.pass_time(60.0 * (SLOW_MINUTES + 3))
    flight.on_records([record(path=b"/new")])
    assert paths(flight.slowest(parse_filter({}), 5)) == ["/new"]
    assert len(flight._slow) == SLOW_MINUTES


def test_what_is_in_two_sets_is_told_once_and_the_newest_first() -> None:
    flight, _ = recorder()
    flight.on_records([record(time_us=1_000_000 * number, path=f"/{number}".encode()) for number in (2, 3, 1)])
    assert paths(flight.all()) == ["/3", "/2", "/1"]
    assert paths(flight.latest(parse_filter({}), 2)) == ["/3", "/2"]


# ---------------------------------------------------------------------- finding
def test_by_id_of_either_kind() -> None:
    flight, _ = recorder()
    flight.on_records([
        record(id=0x1234567890ABCDEF, path=b"/own"),
        record(id=0x22, request_id=b"Order-77", path=b"/kept"),
        record(id=0x33, request_id=b"Order-77", path=b"/again", time_us=1_800_000_000_000_000),
        record(id=0xFEDCBA0987654321, request_id=b"traced", traced=2, trace_id=b"0af7651916cd43dd8448eb211c80319c", path=b"/traced"),
    ])
    assert paths(flight.find("1234567890abcdef")) == ["/own"]
    assert paths(flight.find("order-77")) == ["/again", "/kept"]
    assert paths(flight.find("fedcba0987654321")) == ["/traced"]
    assert paths(flight.find("123456")) == ["/own"], "the beginning will do"
    assert flight.find("12345") == flight.find("nothing") == []


# ---------------------------------------------------------------------- what is asked for
def test_little_traffic_is_kept_whole() -> None:
    assert slow_us(totals_of(traffic(b3=50), 5.0), 10.0) == 0
    tap = Tap()
    Flight(tap, FakeClock()).tune(totals_of(traffic(b3=50), 5.0))
    assert tap.wanted == [(0, 1)]


def test_thresholds_follow_the_traffic() -> None:
    tap = Tap()
    flight = Flight(tap, FakeClock())
    busy = totals_of(traffic(b1=50_000 - 100, b9=100), 5.0)         # 10,000 requests a second, of them 20 beyond 250 ms
    flight.tune(busy)
    flight.tune(busy)
    (slow, one_in), = tap.wanted
    assert one_in == 10_000 // RATE
    assert 990 <= slow <= 1_001, "the bound of the bucket above which RATE requests a second lie"
    flight.tune(totals_of(NOTHING, 0.0))
    assert tap.wanted[-1] == (0, 1)
