"""Server-sent events (WHATWG HTML, "Server-sent events"): a feed of the daemon as a `text/event-stream`.

A stream begins with what the client asked for of the past, says `: ` every KEEPALIVE seconds so that both sides notice when the other has
gone, and ends when the daemon begins to leave. A client that takes too little misses what its queue has no room for and is told how much
(`event: missed`). One that takes nothing at all for PATIENCE seconds is cut off.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from aiohttp import web

from proxyd import codes
from proxyd.admin import problem
from proxyd.admin.control import Control
from proxyd.admin.door import streaming
from proxyd.admin.problem import Problem
from proxyd.feed import ROOM, Feed

KEEPALIVE = 15.0         # seconds
PATIENCE = 30.0          # seconds that a client may take nothing
STREAMS_MAX = 100        # at a time, of one feed
CONTENT_TYPE = "text/event-stream"

T = TypeVar("T")


def frame(value: object, *, event: str = "", id: int = 0) -> bytes:
    """One event. JSON on one line holds no line break, so one `data` field is enough."""
    head = (f"event: {event}\n" if event else "") + (f"id: {id}\n" if id else "")
    return f"{head}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode("utf-8", "backslashreplace")


async def stream(
    request: web.Request,
    control: Control,
    feed: Feed[T],
    render: Callable[[T], bytes],
    past: Callable[[], Iterable[bytes]] = tuple,
    *,
    room: int = ROOM,
) -> web.StreamResponse:
    """Answer with what `feed` tells from now on. `render`: an item as a frame, b"" to leave it out; `past`: frames to begin with."""
    if len(feed) >= STREAMS_MAX:
        raise Problem(problem.CHANGES[codes.TOO_MANY_STREAMS.code], f"{STREAMS_MAX} clients listen here already")
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    leaving = asyncio.ensure_future(control.until_leaving())
    try:
        with streaming(request), feed.listen(room) as listening:
            begin = b"".join((b": \n\n", *past()))      # in the same turn: nothing comes between the past and what is new
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            await _write(response, begin)
            leaving.add_done_callback(lambda _: listening.wake())
            missed = 0
            while not leaving.done():
                came = await listening.wait(KEEPALIVE)
                frames = b"".join(map(render, listening.take()))
                if listening.missed != missed:
                    missed = listening.missed
                    frames += frame({"missed": missed}, event="missed")
                if frames or not came:
                    await _write(response, frames or b": \n\n")
        await response.write_eof()
    except ConnectionResetError:
        return response                                  # the client has gone
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()                    # it is there and takes nothing: others want its place
        return response
    finally:
        leaving.cancel()
    return response


async def _write(response: web.StreamResponse, frames: bytes) -> None:
    async with asyncio.timeout(PATIENCE):
        await response.write(frames)


def wants_stream(request: web.Request) -> bool:
    return CONTENT_TYPE in request.headers.get("Accept", "")
