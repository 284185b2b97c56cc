"""How many may be connected to an address of the admin API, and how long they may take: what stands between its socket and aiohttp.

- An address has `admin.max_connections` places, each address its own, so that nobody at one keeps those at another waiting.
- Where all are taken, the connection that has rested longest gives way: whoever asks something comes before who might ask something.
- Where nobody rests, the next ones get a spare place, in which only vital questions are answered (`View.vital`: `/status`, `/live`,
  `/ready`); for all others it is 503. Beyond the spare places a connection is closed without a word.
- The head of a request arrives within HEAD_S, and the client takes something of the answer within STALL_S, or it is cut off. Between two
  requests a connection may rest for IDLE_S (aiohttp's `keepalive_timeout`).
- Streams may have half of the places.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, cast

from aiohttp import web

from proxyd import codes
from proxyd.admin import problem
from proxyd.admin.access import VIEWS
from proxyd.admin.guard import Handler, problem_answer
from proxyd.admin.problem import Problem
from proxyd.metrics.admin import AdminCounts, Kind, Reason

HEAD_S = 5.0
STALL_S = 30.0
IDLE_S = 75.0
SPARE = 16


class Door:
    """The places of one address. It is the protocol factory of its server."""

    def __init__(self, make: Callable[[], asyncio.Protocol], known: Visitors, counts: AdminCounts, kind: Kind) -> None:
        """`make`: aiohttp's protocols. `known`: where those that are here are found by them."""
        self.limit = 0                               # that the config says
        self.streams = 0
        self._make, self._known, self._counts, self._kind = make, known, counts, kind
        self._here: set[Visitor] = set()
        self._resting: dict[Visitor, None] = {}      # the one that has rested longest first

    def __call__(self) -> Visitor:
        return Visitor(self, self._make())

    def enter(self, visitor: Visitor) -> bool:
        """Give the visitor a place; False: there is none."""
        self._counts.accepted[self._kind] += 1
        if len(self._here) >= self.limit:
            self._make_room()
        visitor.spare = len(self._here) >= self.limit
        if len(self._here) >= self.limit + SPARE:
            self.count("limit")
            return False
        self._here.add(visitor)
        self._known[visitor.handler] = visitor
        self._counts.open[self._kind] += 1
        return True

    def leave(self, visitor: Visitor) -> None:
        self._resting.pop(visitor, None)
        if visitor in self._here:
            self._here.remove(visitor)
            del self._known[visitor.handler]
            self._counts.open[self._kind] -= 1

    def rest(self, visitor: Visitor) -> None:
        """It waits for a request, as the last of those that do."""
        self._resting.pop(visitor, None)
        if visitor in self._here:
            self._resting[visitor] = None

    def rise(self, visitor: Visitor) -> None:
        self._resting.pop(visitor, None)

    @property
    def has_room(self) -> bool:
        """Whether there is a place that is no spare one."""
        return sum(not visitor.spare for visitor in self._here) < self.limit

    def count(self, reason: Reason) -> None:
        self._counts.rejected[self._kind, reason] += 1

    def _make_room(self) -> None:
        for visitor in self._resting:
            if not visitor.is_sending:
                self.count("room")
                self.leave(visitor)
                visitor.close()
                return


class Visitor(asyncio.Protocol):
    """One connection. What happens to it goes on to aiohttp's protocol."""

    def __init__(self, door: Door, handler: asyncio.Protocol) -> None:
        self.door, self.handler = door, handler
        self.spare = False                           # its place is one beyond the bound
        self._transport: asyncio.Transport | None = None
        self._entered = False
        self._asking = False                         # a request is being answered
        self._head: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ what aiohttp's protocol is told, too
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._entered = self.door.enter(self)
        if not self._entered:
            self._transport.abort()
            return
        self.door.rest(self)
        self._expect_head()
        self.handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._entered:
            if not self._asking and self._head is None:
                self.door.rest(self)                 # it begins to ask: others rest longer
                self._expect_head()
            self.handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self.handler.eof_received() if self._entered else None

    def pause_writing(self) -> None:
        self._stall = self._later(STALL_S, "stalled")
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
        self.handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        for timer in (self._head, self._stall):
            if timer is not None:
                timer.cancel()
        self.door.leave(self)
        if self._entered:
            self.handler.connection_lost(error)

    # ------------------------------------------------------------------ what the middleware tells
    def begin(self) -> None:
        """The head of a request is here."""
        if self._head is not None:
            self._head.cancel()
        self._head, self._asking = None, True
        self.spare = self.spare and not self.door.has_room
        self.door.rise(self)

    def end(self) -> None:
        """Its answer is made, if not sent."""
        self._asking = False
        self.door.rest(self)

    @property
    def is_sending(self) -> bool:
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _expect_head(self) -> None:
        self._head = self._later(HEAD_S, "head")

    def _later(self, seconds: float, reason: Reason) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._cut_off, reason)

    def _cut_off(self, reason: Reason) -> None:
        self.door.count(reason)
        if self._transport is not None:
            self._transport.abort()


Visitors = MutableMapping[Any, Visitor]
"""Those that are connected, by aiohttp's protocol."""

VISITORS: web.AppKey[Visitors] = web.AppKey("visitors", dict)


@web.middleware
async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware in front of all others."""
    visitor = request.app[VISITORS].get(request.protocol)
    if visitor is None:                              # the connection has gone already
        return await handler(request)
    visitor.begin()
    try:
        if not visitor.spare:
            return await handler(request)
        view = request.app[VIEWS].get(request.match_info.route)
        if view is not None and view.vital:
            answer = await handler(request)
        else:
            visitor.door.count("limit")
            refused = Problem(problem.TOO_MANY_CONNECTIONS, f"{visitor.door.limit} clients are connected here already, and all are busy")
            refused.fields["Retry-After"] = "1"
            answer = problem_answer(refused, request.path)
        answer.force_close()
        return answer
    finally:
        visitor.end()


@contextmanager
def streaming(request: web.Request) -> Iterator[None]:
    """While it lasts, the request is answered by a stream. Raises Problem: there are too many."""
    visitor = request.app[VISITORS].get(request.protocol)
    if visitor is None:
        yield
        return
    door = visitor.door
    if door.streams >= door.limit // 2:
        raise Problem(problem.CHANGES[codes.TOO_MANY_STREAMS.code], f"{door.streams} clients listen here already")
    door.streams += 1
    try:
        yield
    finally:
        door.streams -= 1
