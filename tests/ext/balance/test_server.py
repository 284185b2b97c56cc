"""Servers and upstream state as Python sees them."""

from __future__ import annotations

from typing import Literal

import pytest

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.core.live import counting, live_counts
from proxyd_ext.core.stats import BUCKETS_SECONDS


def test_a_new_server() -> None:
    server = Server("app", "10.0.0.1:80", ("10.0.0.1", 80))
    assert (server.upstream, server.label) == ("app", "10.0.0.1:80")
    assert server.state() == {"usable": True, "down": [], "ejected_for_ms": 0, "ejections": 0, "ejections_in_row": 0,
                              "consecutive_failures": 0}
    assert server.stats() == {
        "in_flight": 0,
        "connections_active": 0,
        "connections_idle": 0,
        "opened": 0,
        "flows": 0,
        "requests": {},
        "errors": {},
        "bytes_in": 0,
        "bytes_out": 0,
        "ejections": 0,
        "latency_count": 0,
        "latency_sum_seconds": 0.0,
        "ewma_seconds": 0.0,
    }


@pytest.mark.parametrize("address", [("10.0.0.1", 80), ("::1", 65535), ("2001:db8::1", 1), "/run/some.sock", "x" * 107])
def test_addresses(address: tuple[str, int] | str) -> None:
    assert Server("app", "label", address).label == "label"


@pytest.mark.parametrize(
    "address",
    [
        ("localhost", 80),
        ("10.0.0.1", 0),
        ("10.0.0.1", 65536),
        ("10.0.0.1", -1),
        ("10.0.0.300", 80),
        ("", 80),
        ("[::1]", 80),
        ("fe80::1%eth0", 80),
        "x" * 108,
    ],
)
def test_what_is_no_address(address: tuple[str, int] | str) -> None:
    before = live_counts()
    with pytest.raises(ValueError, match=r"not an? |at most"):
        Server("app", "label", address)
    assert live_counts() == before


def test_names_are_bounded() -> None:
    Server("u" * 127, "l" * 191, ("10.0.0.1", 80))
    for upstream, label in (("u" * 128, "l"), ("u", "l" * 192), ("ü" * 64, "l")):
        with pytest.raises(ValueError, match="at most 127 bytes"):
            Server(upstream, label, ("10.0.0.1", 80))


def test_reasons_to_be_down() -> None:
    server = Server("app", "label", ("10.0.0.1", 80))
    reasons: tuple[Literal["health", "maint", "drain", "pending"], ...] = ("health", "maint", "drain", "pending")
    for reason in reasons:
        server.set_down(reason, True)
        server.set_down(reason, True)
    assert sorted(server.state()["down"]) == ["drain", "health", "maint", "pending"]
    for reason in reasons[:3]:
        server.set_down(reason, False)
        assert not server.state()["usable"]
    server.set_down("pending", False)
    assert server.state()["usable"]


def test_ejection_by_hand() -> None:
    server = Server("app", "label", ("10.0.0.1", 80))
    server.eject(60_000)
    state = server.state()
    assert not state["usable"]
    assert 59_000 < state["ejected_for_ms"] <= 60_000
    server.readmit()
    assert server.state()["usable"]
    server.eject(0)
    assert server.state()["usable"]


def test_a_new_upstream() -> None:
    state = UpstreamState("app")
    empty = {"buckets": [0] * (len(BUCKETS_SECONDS) + 1), "sum": 0.0, "count": 0}
    assert state.name == "app"
    assert state.pool is None
    mirror = {"sent": 0, "answered": 0, "failed": 0, "skipped": {"in_flight": 0, "body": 0}}
    assert state.stats() == {
        "response_seconds": empty, "connect_seconds": empty, "retries": {}, "refused": {}, "finished": 0, "failed": 0,
        "hedges": {"begun": 0, "won": 0}, "in_flight": 0, "retries_in_flight": 0, "pending": 0, "limit": 0, "hedge_ms": 0,
        "circuit": "closed", "probes": {"ok": 0, "failed": 0}, "mirror": mirror, "copies_in_flight": 0,
    }


def test_births_and_deaths() -> None:
    before = live_counts()["server"]
    servers = [Server("app", str(i), ("10.0.0.1", 80)) for i in range(10)]
    assert live_counts()["server"] == before + (10 if counting() else 0)
    servers.clear()
    assert live_counts()["server"] == before
