"""What is wrong now, in sentences, the worst first: for `status`, the dashboard and `top`."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from proxyd.events.ring import Event
from proxyd.state import ServerState, StatusView, UpstreamView
from proxyd.stats.figures import Figures, Totals, total, totals_of
from proxyd.stats.history import Point, Route

SHOWN = 5                # servers, or routes, that are told one by one
SHARE = 0.01             # of errors among answers, above which it is worth a word
LEAST = 5                # errors, below which it is not
OUT: tuple[ServerState, ...] = ("down", "ejected", "unresolved")       # not by an operator's wish


def wrong_now(status: StatusView, recent: Sequence[Point], events: Sequence[Event]) -> list[str]:
    """`recent`: the points of the last seconds."""
    return [
        *(f"engine {engine.index} is dead" for engine in status.engines if not engine.alive),
        *lasting(events, "engine.stuck"),
        *status.not_ready,
        *failing(recent),
        *servers_out(status),
        *circuits(status.upstreams),
        *reload_refused(status),
        *lasting(events, "log.drops"),
        *status.warnings,
    ]


def lasting(events: Sequence[Event], kind: str) -> Iterator[str]:
    """The last event of each subject, if it is not over."""
    last = {event.facts.get("engine"): event for event in events if event.kind == kind}
    return (event.text for event in last.values() if not event.facts.get("over"))


def failing(points: Sequence[Point]) -> Iterator[str]:
    """Answers with a 5xx of the last seconds, and the routes that they are of."""
    seconds = sum(point.seconds for point in points)
    found = totals_of(total(point.all for point in points), seconds)
    if not is_bad(found):
        return
    yield f"{share_of(found)} of the answers of the last {seconds:.0f} s are 5xx{_of_routes(points, seconds)}"


def _of_routes(points: Sequence[Point], seconds: float) -> str:
    gained: dict[Route, list[Figures]] = {}
    for point in points:
        for route, figures in (point.parts.routes if point.parts is not None else {}).items():
            gained.setdefault(route, []).append(figures)
    bad = [(route, totals_of(total(rows), seconds)) for route, rows in gained.items()]
    bad = sorted(((route, found) for route, found in bad if is_bad(found)), key=lambda entry: -entry[1].errors)
    shown = ", ".join(f"{listener}/{name} {share_of(found)}" for (listener, name), found in bad[:SHOWN])
    return f": {shown}" if shown else ""


def is_bad(found: Totals) -> bool:
    return found.errors >= LEAST and found.errors > SHARE * found.requests


def share_of(found: Totals) -> str:
    """`2.3 %`"""
    return f"{found.errors / found.requests * 100:.2g} %" if found.errors < found.requests else "100 %"


def servers_out(status: StatusView) -> Iterator[str]:
    """But for those of an upstream that has none left: that was told."""
    now, told = status.started_at + status.uptime_seconds, " ".join(status.not_ready)
    some = [view for view in status.upstreams if f"upstream {view.name} has no usable server" not in told]
    out = [(upstream.name, server) for upstream in some for server in upstream.servers if server.state in OUT]
    for name, server in out[:SHOWN]:
        state = "does not resolve" if server.state == "unresolved" else f"is {server.state}"
        yield f"{name}/{server.label} {state} for {span(now - server.since)}{f': {server.reason}' if server.reason else ''}"
    if len(out) > SHOWN:
        yield f"{len(out) - SHOWN} more servers are out"


def circuits(upstreams: Iterable[UpstreamView]) -> Iterator[str]:
    for view in upstreams:
        circuit = view.governor.circuit
        if circuit is not None and circuit.state != "closed":
            yield f"the circuit of {view.name} is {circuit.state.replace('_', ' ')}: {circuit.reason}"


def reload_refused(status: StatusView) -> Iterator[str]:
    last = status.last_reload
    if last is not None and not last.ok:
        yield f"the last reload was refused, the config of before serves on: {last.summary}"


def span(seconds: float) -> str:
    """`12 s`, `4 min`, `3 h`, `2 d`."""
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {word}"
    return f"{max(seconds, 0):.0f} s"
