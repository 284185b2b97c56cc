"""Compiling snapshots: what is refused, what is asked of the result, what is left behind."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxyd_ext.core.live import live_counts
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    HeadersFilter,
    MemberSpec,
    ProxyAction,
    RedirectAction,
    RespondAction,
    RouteSpec,
    SnapshotSpec,
    TargetSpec,
)
from tests.support.engine import Rig

ROUTES = [
    RouteSpec("exact", RespondAction(200), host="Example.com", path="/exact", path_exact=True),
    RouteSpec("api", RespondAction(200), host="*.example.com", path="/api/", methods=frozenset(["GET", "POST"])),
    RouteSpec("proxy", ProxyAction([TargetSpec(0)]), path="/p"),
    RouteSpec("rest", RedirectAction(302, "/")),
]


def spec(rig: Rig, **changes: Any) -> SnapshotSpec:
    base = SnapshotSpec(1, "hash", [rig.listener_spec(ROUTES)], [ROUTES], [rig.upstream(rig.origin())])
    return replace(base, **changes)


def test_identity(clocked: Rig) -> None:
    snapshot = Snapshot(spec(clocked, generation=7, config_hash="abc"))
    assert (snapshot.generation, snapshot.config_hash) == (7, "abc")


@pytest.mark.parametrize(
    ("method", "host", "path", "route", "normal"),
    [
        ("GET", "example.com", "/exact", 0, "/exact"),
        ("GET", "EXAMPLE.COM", "/./exact", 0, "/exact"),
        ("GET", "example.com", "/exact/", 3, "/exact/"),
        ("POST", "a.example.com", "/api/x", 1, "/api/x"),
        ("HEAD", "a.b.example.com", "/api/", 1, "/api/"),
        ("PUT", "a.example.com", "/api/x", 3, "/api/x"),
        ("GET", "example.com", "/api/x", 3, "/api/x"),
        ("GET", "", "/p%71", 2, "/pq"),
        ("GET", "x", "/", 3, "/"),
        ("OPTIONS", "x", "*", 3, "*"),
    ],
)
def test_match(clocked: Rig, method: str, host: str, path: str, route: int, normal: str) -> None:
    assert Snapshot(spec(clocked)).match(0, method, host, path) == (route, normal)


def test_no_match(clocked: Rig) -> None:
    snapshot = Snapshot(spec(clocked, tables=[ROUTES[:2]], listeners=[clocked.listener_spec(ROUTES[:2])]))
    assert snapshot.match(0, "GET", "other", "/x") == (-1, "/x")


@pytest.mark.parametrize("path", ["", "x", "/%", "/%zz", "/..", "/a/../..", "/%00", "/a b", "/ä"])
def test_paths_that_are_refused(clocked: Rig, path: str) -> None:
    with pytest.raises(ValueError, match=r"bad escape or points above the root"):
        Snapshot(spec(clocked)).match(0, "GET", "x", path)


def test_why_not(clocked: Rig) -> None:
    snapshot = Snapshot(spec(clocked))
    assert snapshot.why_not(0, 0, "GET", "example.com", "/exact") == []
    assert snapshot.why_not(0, 0, "GET", "other", "/other") == ["host", "path"]
    assert snapshot.why_not(0, 1, "PUT", "x", "/y") == ["method", "host", "path"]
    assert snapshot.why_not(0, 3, "PUT", "x", "/y") == []
    for listener, route in ((1, 0), (-1, 0), (0, 4), (0, -1)):
        with pytest.raises(ValueError, match=r"no (listener|route) number"):
            snapshot.why_not(listener, route, "GET", "x", "/")
    with pytest.raises(ValueError, match="no listener number"):
        snapshot.match(1, "GET", "x", "/")


def _member(rig: Rig, weight: int) -> SnapshotSpec:
    upstream = rig.upstream(rig.origin())
    return spec(rig, upstreams=[replace(upstream, members=[MemberSpec(upstream.members[0].server, weight=weight)])])


def _route(rig: Rig, route: RouteSpec) -> SnapshotSpec:
    return spec(rig, tables=[[route]], listeners=[rig.listener_spec([route])])


def _listener(rig: Rig, **changes: Any) -> SnapshotSpec:
    return spec(rig, listeners=[replace(rig.listener_spec(ROUTES), **changes)])


NONSENSE: dict[str, Callable[[Rig], SnapshotSpec]] = {
    "weight 0": lambda rig: _member(rig, 0),
    "weight too large": lambda rig: _member(rig, 65536),
    "weight negative": lambda rig: _member(rig, -1),
    "no such upstream": lambda rig: _route(rig, RouteSpec("r", ProxyAction([TargetSpec(5)]))),
    "upstream below 0": lambda rig: _route(rig, RouteSpec("r", ProxyAction([TargetSpec(-1)]))),
    "no target": lambda rig: _route(rig, RouteSpec("r", ProxyAction([]))),
    "targets of no weight": lambda rig: _route(rig, RouteSpec("r", ProxyAction([TargetSpec(0, 0)]))),
    "network": lambda rig: _route(rig, RouteSpec("r", RespondAction(200), filters=[AccessFilter(allow=["10.0.0.0/33"])])),
    "network of words": lambda rig: _route(
        rig, RouteSpec("r", RespondAction(200), filters=[HeadersFilter(), AccessFilter(deny=["here", "10.0.0.1"])])
    ),
    "prefix of words": lambda rig: _route(rig, RouteSpec("r", RespondAction(200), filters=[AccessFilter(deny=["10.0.0.0/x"])])),
    "no such table": lambda rig: _listener(rig, table=1),
    "table below 0": lambda rig: _listener(rig, table=-1),
    "stats": lambda rig: _listener(rig, stats=[]),
    "trust": lambda rig: _listener(rig, trust=["nonsense"]),
    "header_size": lambda rig: _listener(rig, header_size=1 << 20),
}


WORDS = {
    "weight 0": "not in 1..65535",
    "weight too large": "not in 1..65535",
    "weight negative": "not in 1..65535",
    "no such upstream": "no upstream number 5",
    "upstream below 0": "no upstream number -1",
    "no target": "sum to 0",
    "targets of no weight": "sum to 0",
    "network": "not a network",
    "network of words": "not a network: here",
    "prefix of words": "10.0.0.0/x|invalid literal",
    "no such table": "no route table number 1",
    "table below 0": "no route table number -1",
    "stats": "stats are needed",
    "trust": "not a network",
    "header_size": "header_size",
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_refused(clocked: Rig, what: str) -> None:
    """ValueError, and nothing is left of what had been compiled before."""
    wrong = NONSENSE[what](clocked)
    gc.collect()
    before = live_counts()
    for _ in range(3):
        with pytest.raises(ValueError, match=WORDS[what]):
            Snapshot(wrong)
    gc.collect()
    assert live_counts() == before


def test_wrong_types_are_refused(clocked: Rig) -> None:
    wrong_thing: Any = object()
    before = live_counts()
    for wrong in (
        spec(clocked, listeners=[replace(clocked.listener_spec(ROUTES), listener=wrong_thing)]),
        spec(clocked, listeners=[replace(clocked.listener_spec(ROUTES), stats=[wrong_thing] * 5)]),
        spec(clocked, upstreams=[replace(clocked.upstream(), state=wrong_thing)]),
    ):
        with pytest.raises(TypeError):
            Snapshot(wrong)
    assert live_counts()["snapshot"] == before["snapshot"]


def test_many_routes_and_servers(clocked: Rig) -> None:
    """A thousand routes, a thousand servers with large weights: compiled in a moment, and gone without a trace."""
    routes = [RouteSpec(f"r{i}", RespondAction(200), host=f"h{i % 100}.test", path=f"/p{i}") for i in range(1000)]
    origin = clocked.origin()
    server = clocked.server("app", origin)
    upstream = replace(clocked.upstream(origin), balance="hash", members=[MemberSpec(server, weight=1 + i % 20) for i in range(1000)])
    listener = clocked.listener_spec(routes)
    before = live_counts()
    snapshot = Snapshot(SnapshotSpec(1, "", [listener], [routes], [upstream]))
    assert snapshot.match(0, "GET", "h42.test", "/p142") == (142, "/p142")
    del snapshot
    assert live_counts() == before


def test_weights_whose_sequence_would_be_huge(clocked: Rig) -> None:
    """Scaled down rather than refused: shares stay right, memory bounded."""
    upstream = clocked.upstream(*(clocked.origin() for _ in range(40)), weights=[65535 - i for i in range(40)])
    Snapshot(spec(clocked, upstreams=[upstream]))
