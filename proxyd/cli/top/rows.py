"""From a sample of `/stats` to the rows of the two tables: names, figures, and by what they are sorted. Knows nothing of a terminal."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxyd.cli.glance import clipped, rate, short
from proxyd.cli.output import count
from proxyd.state import NO_ROUTE

Sample = Mapping[str, Any]
NAME_WIDTH = 22

ROUTE_COLUMNS = ("ROUTE", "REQ/S", "5XX/S", "FAIL/S", "P50", "P95", "P99", "TOTAL")
SERVER_COLUMNS = ("UPSTREAM/SERVER", "STATE", "REQ/S", "ERR/S", "P50", "P95", "P99", "BUSY")


@dataclass(frozen=True, slots=True)
class Row:
    """`key`: "web/api" of a route, "app" of an upstream, "app 10.0.0.1:80" of a server."""

    key: str
    cells: tuple[str, ...]
    order: tuple[Any, ...]         # one for each column: what it is sorted by
    upstream: str = ""
    server: str = ""               # "": it is no server

    @property
    def text(self) -> str:
        """What a filter looks at."""
        return " ".join((self.key, *self.cells)).lower()


def headline(sample: Sample) -> str:
    """`1.2k req/s   0.3 % 5xx   p50 1.2ms  p95 4.0ms  p99 12ms   34 in flight   120 connections`."""
    recent, seconds = sample["total"]["recent"], max(sample["recent_seconds"], 1e-3)
    errors = recent["errors"] / recent["requests"] * 100 if recent["requests"] else 0.0
    times = "  ".join(f"{name} {short(recent[name])}" for name in ("p50", "p95", "p99"))
    flying = sum(listener["in_flight"] for listener in sample["listeners"])
    opened = sum(listener["open"] for listener in sample["listeners"])
    return f"{rate(recent['requests'] / seconds)} req/s   {errors:.1f} % 5xx   {times}   {count(flying)} in flight   {count(opened)} open"


def route_rows(sample: Sample) -> Iterator[Row]:
    seconds = max(sample["recent_seconds"], 1e-3)
    for route in sample["routes"]:
        if route["route"] == NO_ROUTE and not route["requests"]:
            continue
        name, recent = f"{route['listener']}/{route['route']}", route["recent"]
        figures = tuple(recent[word] / seconds for word in ("requests", "errors", "proxy_errors"))
        times = tuple(recent[word] for word in ("p50", "p95", "p99"))
        cells = (clipped(name, NAME_WIDTH), *map(rate, figures), *map(short, times), count(route["requests"]))
        yield Row(name, cells, (name, *figures, *map(_known, times), route["requests"]))


def server_groups(sample: Sample) -> Iterator[list[Row]]:
    """Each upstream with its servers."""
    seconds = max(sample["recent_seconds"], 1e-3)
    for upstream in sample["upstreams"]:
        recent, name = upstream["recent"], upstream["name"]
        figures = (recent["requests"] / seconds, recent["errors"] / seconds)
        times = tuple(recent[word] for word in ("p50", "p95", "p99"))
        usable = f"{upstream['usable']}/{len(upstream['servers'])} up"
        state = upstream["circuit"] if upstream["circuit"] in ("open", "half_open") else usable
        cells = (clipped(name, NAME_WIDTH), state, *map(rate, figures), *map(short, times), count(upstream["in_flight"]))
        head = Row(name, cells, (name, state, *figures, *map(_known, times), upstream["in_flight"]), name)
        yield [head, *(_server_row(name, server, seconds) for server in upstream["servers"])]


def _server_row(upstream: str, server: Sample, seconds: float) -> Row:
    """A server has no histogram: its mean stands where others have a median."""
    recent, label = server["recent"], server["server"]
    figures = (recent["requests"] / seconds, recent["errors"] / seconds)
    mean = "-" if recent["mean"] is None else f"~{short(recent['mean'])}"
    cells = (f"  {clipped(label, NAME_WIDTH - 2)}", server["state"], *map(rate, figures), mean, "", "", count(server["in_flight"]))
    order = (label, server["state"], *figures, _known(recent["mean"]), 0.0, 0.0, server["in_flight"])
    return Row(f"{upstream} {label}", cells, order, upstream, label)


def arranged_routes(rows: Iterable[Row], column: int, *, down: bool, wanted: str) -> list[Row]:
    return sorted((row for row in rows if wanted in row.text), key=lambda row: row.order[column], reverse=down)


def arranged_servers(groups: Iterable[Sequence[Row]], column: int, *, down: bool, wanted: str) -> list[Row]:
    """Upstreams in their order, each followed by its servers in theirs. One that is wanted brings all of its servers along."""
    found: list[Row] = []
    for head, *servers in sorted(groups, key=lambda group: group[0].order[column], reverse=down):
        shown = servers if wanted in head.text else [row for row in servers if wanted in row.text]
        if shown or wanted in head.text:
            found += [head, *sorted(shown, key=lambda row: row.order[column], reverse=down)]
    return found


def _known(value: float | None) -> float:
    return -1.0 if value is None else value
