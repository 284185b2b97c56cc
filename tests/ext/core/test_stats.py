"""Histograms and count tables, seen through the counters of a route."""

from __future__ import annotations

import pytest

from proxyd_ext.core.stats import BUCKETS_SECONDS
from proxyd_ext.snapshot.spec import ConsultAction, RouteSpec
from tests.support.engine import OK, Rig, get


def test_bounds() -> None:
    """The sixteen of interface.md §5."""
    assert BUCKETS_SECONDS == (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@pytest.mark.parametrize(
    ("ms", "bucket"),
    [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
        (5, 3),
        (6, 4),
        (10, 4),
        (11, 5),
        (100, 7),
        (101, 8),
        (1_000, 10),
        (1_001, 11),
        (60_000, 15),
        (60_001, 16),
    ],
)
def test_a_duration_falls_into_its_bucket(clocked: Rig, ms: int, bucket: int) -> None:
    """A bound belongs to the bucket that it ends (Prometheus's `le`)."""
    origin = clocked.origin()
    clocked.serve(origin, action={"first_byte_ms": 100_000})
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    clocked.advance(ms)
    peer.send(OK)
    client.response()
    expected = [int(i == bucket) for i in range(17)]
    stats = clocked.stats_of("web", "all").stats()
    for histogram in (stats["duration_seconds"], stats["ttfb_seconds"], clocked.states["app"].stats()["response_seconds"]):
        assert histogram["buckets"] == expected
        assert histogram["count"] == 1
        assert histogram["sum"] == pytest.approx(ms / 1000)


def test_first_byte_and_end_are_told_apart(clocked: Rig) -> None:
    origin = clocked.origin()
    clocked.serve(origin)
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    clocked.advance(20)
    peer.send(OK[:-1])
    client.head()
    clocked.advance(400)
    peer.send(OK[-1:])
    assert client.read(2) == b"ok"
    stats = clocked.stats_of("web", "all").stats()
    assert stats["ttfb_seconds"]["sum"] == pytest.approx(0.020)
    assert stats["duration_seconds"]["sum"] == pytest.approx(0.420)


def test_more_kinds_than_slots(clocked: Rig) -> None:
    """Fifty different statuses: those that have no slot are counted together, none is lost."""
    clocked.publish([RouteSpec("all", ConsultAction("live"))])
    client = clocked.connect()
    for status in range(400, 450):
        client.send(get())
        (_, slot, generation, _, _) = clocked.event("consult")
        clocked.engines[0].answer(slot, generation, status, b"", "text/plain")
        assert client.response().status == status
    counts = clocked.requests()
    assert sum(counts.values()) == 50
    assert counts["GET", 400] == counts["GET", 423] == 1
    assert max(counts.values()) == 50 - 24


def test_engines_are_summed(threaded: Rig) -> None:
    """Each engine writes its own block; what is read is their sum."""
    origin = threaded.origin().serve()
    threaded.serve(origin)
    clients = [threaded.connect() for _ in range(12)]
    for client in clients * 5:
        client.send(get())
        client.response()
    threaded.until(lambda: threaded.requests() == {("GET", 200): 60}, "sixty")
    stats = threaded.stats_of("web", "all").stats()
    assert stats["duration_seconds"]["count"] == stats["ttfb_seconds"]["count"] == sum(stats["duration_seconds"]["buckets"]) == 60
