"""What to watch: statistics with their history, and events."""
from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.control import Control
from proxyd.admin.guard import json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import DIGITS_MAX, EVENTS, View, number
from proxyd.admin.sse import frame, stream, wants_stream
from proxyd.events.ring import LIMIT, Event
from proxyd.stats.history import POINTS, Point, named
from proxyd.stats.report import columns, report, whole_report

ROUTES_SHOWN = 200       # rows of routes in a frame of the stream, unless asked for more
ROUTES_STEPS = (0, ROUTES_SHOWN, 2_000, 1_000_000)
"""What is asked for is rounded up to one of these, so that a few reports a second do for all who listen."""


class WatchViews:
    def __init__(self, control: Control) -> None:
        self._control = control
        self._frames: dict[int, bytes] = {}          # of the newest point, by the number of routes that were asked for
        self._framed = 0.0                           # when that point ended
        self.table: tuple[View, ...] = (
            View("GET", "/stats", self.stats, "sums since the start and of the last seconds: all, by route, upstream and server",
                 heavy=True),
            View("GET", "/stats/history", self.history, "the last quarter of an hour, a point a second, as columns", heavy=True, query={
                "seconds": "how many points: 1 to 900",
                "route": "of this route alone: NAME or LISTENER/NAME",
                "upstream": "of this upstream alone"}),
            View("GET", "/stats/stream", self.stats_stream, "every second what /stats tells (SSE)", answers=EVENTS, query={
                "routes": f"how many routes have a row at least, the busiest ones; {ROUTES_SHOWN} unless asked for more"}),
            View("GET", "/events", self.events, "what happened lately (SSE, or JSON if Accept asks for no stream)", answers=EVENTS, query={
                "after": "the id of the last event that is known (a stream: Last-Event-ID)",
                "limit": f"the newest so many: 0 to {LIMIT}"}),
        )

    async def stats(self, request: web.Request) -> web.Response:
        return json_answer(whole_report(self._control))

    async def history(self, request: web.Request) -> web.Response:
        route, upstream = request.query.get("route", ""), request.query.get("upstream", "")
        if route and upstream:
            raise Problem(problem.PARAMETER_INVALID, "ask for a route or for an upstream, not for both")
        points = self._control.history.points(number(request, "seconds", POINTS, 1, POINTS))
        return json_answer(columns(points, named(points, route, upstream), tries=bool(upstream)))

    async def stats_stream(self, request: web.Request) -> web.StreamResponse:
        asked = number(request, "routes", ROUTES_SHOWN, 0, ROUTES_STEPS[-1])
        routes = next(step for step in ROUTES_STEPS if step >= asked)
        return await stream(request, self._control, self._control.history.feed, lambda point: self._frame(point, routes))

    def _frame(self, point: Point, routes: int) -> bytes:
        """One report does for all who listen."""
        if point.at != self._framed:
            self._frames, self._framed = {}, point.at
        if routes not in self._frames:
            self._frames[routes] = frame(report(self._control, routes=routes), event="stats")
        return self._frames[routes]

    async def events(self, request: web.Request) -> web.StreamResponse:
        events, limit = self._control.events, number(request, "limit", LIMIT, 0, LIMIT)
        if not wants_stream(request):
            return json_answer([asdict(event) for event in events.after(number(request, "after", 0, 0), limit)])
        last = request.headers.get("Last-Event-ID", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) <= DIGITS_MAX else number(request, "after", 0, 0)
        return await stream(request, self._control, events.feed, event_frame, lambda: map(event_frame, events.after(after, limit)))


def event_frame(event: Event) -> bytes:
    return frame(asdict(event), event=event.kind, id=event.id)
