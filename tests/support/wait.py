"""Waiting for a condition instead of sleeping."""
from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], what: str = "", seconds: float = 10.0) -> None:
    """Return as soon as `condition()` is true; fail with `what` after `seconds`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, f"did not happen within {seconds:g} s: {what or condition}"
        await asyncio.sleep(0.005)
