"""Requests that the flight recorder keeps, why each became what it did, and all of them as they come."""
from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from proxyd import codes
from proxyd.admin import problem
from proxyd.admin.control import Control
from proxyd.admin.guard import json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import EVENTS, View, number
from proxyd.admin.sse import frame, stream
from proxyd.clock import SystemClock
from proxyd.records.filters import WORDS, Filter, FilterError, parse_filter, words_of
from proxyd.records.live import Live, is_telling
from proxyd.records.tap import Record
from proxyd.records.why import story

LIMIT = 100              # records, unless asked for more
LIMIT_MAX = 5_000
ROOM = 4_096             # records that wait for a client of the stream

_NOT_FILTERS = {"limit", "order"}


class RequestViews:
    def __init__(self, control: Control) -> None:
        self._control = control
        self._all, self._telling = Live(control.records, everything=True), Live(control.records, everything=False)
        self.table: tuple[View, ...] = (
            View("GET", "/requests", self.every, "requests that are kept: failures, the slowest, a sample", query={
                "limit": f"how many: 0 to {LIMIT_MAX}, {LIMIT} unless asked for more", "order": "new (the newest first) or slow", **WORDS}),
            View("GET", "/requests/stream", self.stream, "requests as they come (SSE)", answers=EVENTS, query=WORDS),
            View("GET", "/requests/{id:.+}", self.one, "a kept request, and step by step why it became what it did"),
        )

    async def every(self, request: web.Request) -> web.Response:
        limit, order = number(request, "limit", LIMIT, 0, LIMIT_MAX), request.query.get("order", "new")
        if order not in {"new", "slow"}:
            raise Problem(problem.PARAMETER_INVALID, f"order is `{order}`; it may be new or slow")
        flight, wanted = self._control.flight, _filter(request)
        return json_answer(flight.slowest(wanted, limit) if order == "slow" else flight.latest(wanted, limit))

    async def one(self, request: web.Request) -> web.Response:
        id, clock = request.match_info["id"], SystemClock()
        found = self._control.flight.find(id)
        if not found:
            raise Problem(problem.CHANGES[codes.REQUEST_UNKNOWN.code], f"no request with the id `{id}` is kept")
        return json_answer([
            {"record": record, "steps": [asdict(step) for step in story(record, self._control, clock)]} for record in found
        ])

    async def stream(self, request: web.Request) -> web.StreamResponse:
        wanted = _filter(request)
        live = self._telling if is_telling(words_of(request.query)) else self._all

        def render(record: Record) -> bytes:
            return frame(record, event="request") if wanted(record) else b""

        return await stream(request, self._control, live, render, room=ROOM)


def _filter(request: web.Request) -> Filter:
    try:
        return parse_filter({name: text for name, text in request.query.items() if name not in _NOT_FILTERS})
    except FilterError as error:
        raise Problem(problem.PARAMETER_INVALID, str(error)) from error
