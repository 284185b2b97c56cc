"""A daemon's counters that a test sets, and the history over them."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from proxyd.stats.figures import NOTHING, Figures
from proxyd.stats.history import History, Point
from proxyd.tally import Tallies, Tally
from proxyd_ext.core.stats import BUCKETS_SECONDS
from tests.support.clock import FakeClock

EMPTY = [0] * (len(BUCKETS_SECONDS) + 1)


class Counters:
    """A `RouteStats`."""

    def __init__(self) -> None:
        self.row = list(NOTHING)
        self.requests: dict[tuple[str, int], int] = {}
        self.errors: dict[str, int] = {}

    def figures(self) -> Figures:
        return tuple(self.row)

    def stats(self) -> dict[str, Any]:
        return {"requests": self.requests, "errors": self.errors, "answers": sum(self.row[:6])}


class Route:
    def __init__(self, listener: str = "web", route: str = "api") -> None:
        self.listener, self.route, self.stats = listener, route, Counters()

    def answer(self, status: int = 200, times: int = 1, *, bucket: int = 3, fault: str = "") -> None:
        """Answers that took as long as the bucket says."""
        row, stats = self.stats.row, self.stats
        row[status // 100 - 1] += times
        row[12 + bucket] += times
        stats.requests["GET", status] = stats.requests.get(("GET", status), 0) + times
        if fault:
            row[6] += times
            stats.errors[fault] = stats.errors.get(fault, 0) + times


class Server:
    def __init__(self, upstream: str, label: str) -> None:
        self.upstream, self.label, self.server = upstream, label, self
        self.requests: dict[int, int] = {}
        self.errors: dict[str, int] = {}

    def figures(self) -> Figures:
        classes = [sum(times for code, times in self.requests.items() if code // 100 == hundreds) for hundreds in range(1, 6)]
        return (*classes, 0, sum(self.errors.values()), 0, 0, 0)

    def stats(self) -> dict[str, Any]:
        return {"requests": self.requests, "errors": self.errors}


class Upstream:
    def __init__(self, name: str, *servers: Server) -> None:
        self.name, self.servers, self.state = name, servers, self
        self.buckets = list(EMPTY)

    def times(self) -> tuple[int, ...]:
        return (0, *self.buckets)

    def stats(self) -> dict[str, Any]:
        return {"buckets": self.buckets}


class World:
    """A `Source`. Its clock stands still until a test moves it."""

    def __init__(self) -> None:
        self.generation = 1
        self.routes: list[Route] = []
        self.upstreams: list[Upstream] = []
        self.listener = {"accepted": 0, "open": 0, "in_flight": 0}
        self.engine = {"cpu_seconds": 0.0, "loop_lag_seconds": 0.0, "heartbeat": 0}
        self.dropped = 0
        self.clock = FakeClock()
        self.tallies = _tallies()
        self.history = History(self._as_source(), self.clock)

    def _as_source(self) -> Any:
        return self

    def route_entries(self) -> tuple[Any, ...]:
        return tuple(self.routes)

    def upstream_entries(self) -> tuple[Any, ...]:
        return tuple(self.upstreams)

    def listener_entries(self) -> tuple[Any, ...]:
        return (SimpleNamespace(listener=SimpleNamespace(stats=lambda: self.listener)),)

    def engine_entries(self) -> tuple[Any, ...]:
        return (SimpleNamespace(engine=SimpleNamespace(stats=lambda: self.engine)),)

    def log_entries(self) -> tuple[Any, ...]:
        return (SimpleNamespace(dropped=self.dropped),)

    def serve(self) -> None:
        """As the store does: what is new has a handle, and what has left is let go."""
        now: tuple[tuple[Tally[Any, Any], dict[Any, Any]], ...] = (
            (self.tallies.routes, {(route.listener, route.route): route.stats for route in self.routes}),
            (self.tallies.servers, {(server.upstream, server.label): server for entry in self.upstreams for server in entry.servers}),
            (self.tallies.upstreams, {entry.name: entry for entry in self.upstreams}),
        )
        for tally, handles in now:
            tally.let_go([key for key, handle in tally.live.items() if handles.get(key) is not handle])
            tally.live.update(handles)

    def look(self) -> Point:
        self.serve()
        return self.history.look()

    def second(self) -> None:
        """A second passes, and is looked at."""
        self.clock.pass_time(1.0)
        self.look()


def _tallies() -> Tallies:
    routes: Any = Tally(("requests", "errors", "answers"), Counters.figures)
    servers: Any = Tally(("requests", "errors"), Server.figures)
    upstreams: Any = Tally(("buckets",), Upstream.times)
    return Tallies(routes, servers, upstreams)
