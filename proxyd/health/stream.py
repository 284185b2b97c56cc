"""Connections of checks, and scripts spoken over them."""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from proxyd.health.check import Address, CheckFailed
from proxyd.health.reason import excerpt
from proxyd.health.script import LIMIT, Expect, Send, Step, find_end, in_words

CLOSED = "closed the connection without an answer"


@contextlib.asynccontextmanager
async def connected(address: Address, preface: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A new connection that has said `preface`, closed at the end without waiting for the peer."""
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(preface)
        yield reader, writer
    except asyncio.IncompleteReadError:
        raise CheckFailed(CLOSED) from None
    finally:
        writer.close()


async def run_script(address: Address, script: tuple[Step, ...], preface: bytes) -> None:
    """Raises `CheckFailed` at the first step that is not met."""
    async with connected(address, preface) as (reader, writer):
        heard = bytearray()
        for number, step in enumerate(script, 1):
            # Of a script of two there is no doubt which step it was.
            place = f"step {number}: " if len(script) > 2 else ""
            if isinstance(step, Send):
                writer.write(step.data)
                await writer.drain()
            else:
                await _hear(reader, heard, step, place)


async def _hear(reader: asyncio.StreamReader, heard: bytearray, step: Expect, place: str) -> None:
    """Until the step is met; takes what it matched, and all before it, out of `heard`."""
    searched = 0
    while True:
        window = heard[: step.within]
        end = find_end(step.what, window, searched)
        for other in step.unless:
            if find_end(other, window if end < 0 else window[:end]) >= 0:
                raise CheckFailed(f"{place}got {excerpt(window)}, expected not {in_words(other)}")
        if end >= 0:
            del heard[:end]
            return
        if len(heard) >= step.within:
            raise CheckFailed(place + step.wanted(window))
        searched = len(heard)
        try:
            more = await reader.read(LIMIT - len(heard))
        except asyncio.CancelledError as cancelled:
            if heard or place:
                cancelled.add_note(place + step.wanted(heard))
            raise
        if not more:
            raise CheckFailed(place + (step.wanted(heard) if heard else CLOSED))
        heard += more
