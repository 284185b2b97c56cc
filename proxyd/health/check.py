"""What is checked, and one run of it within its time limit, told as an `Outcome`. The network's side is in `probe.py`."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import aiohttp

from proxyd.clock import Clock
from proxyd.health.expect import Test
from proxyd.health.reason import plain_reason
from proxyd.health.state import Outcome

Address = tuple[str, int] | str
"""(IP literal, port), or the path of a unix socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """When a check is made and what its results mean. Seconds, each from the start of one check to the next."""

    interval: float = 5.0
    interval_failing: float | None = None          # after a failure while the server is up; None = interval
    interval_down: float | None = None             # while it is down
    jitter: float = 0.1                            # share of the interval, either way
    timeout: float = 1.0
    rise: int = 2
    fall: int = 3
    initial: Literal["down", "up"] = "down"        # what a new server is before its first result; down = it waits (state "pending")
    port: int = 0                                  # of the check; 0 = the server's own; plays no part for a unix socket

    def pause(self, verdict: Literal["unknown", "up", "down"], failing: bool) -> float:
        """From the check just made to the next, without jitter."""
        chosen = self.interval_down if verdict == "down" else self.interval_failing if failing else None
        return self.interval if chosen is None else chosen


@dataclass(frozen=True, slots=True)
class HttpCheck(Rhythm):
    """Passes when the status lies in one of `expect` (inclusive ranges), and body and header fields are as told."""

    path: str
    expect: tuple[tuple[int, int], ...] = ((200, 299),)
    host: str = ""                                           # Host field; "" = the server's own address
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()                # more fields of the request; in the order in which they are sent
    body: Test | None = None                                 # of the first BODY_LIMIT bytes
    header: tuple[tuple[str, Test], ...] = ()                # field name -> test; one value of the field must pass

    @property
    def title(self) -> str:
        return _at(f"{self.method} {self.path}", self.port)


@dataclass(frozen=True, slots=True)
class TcpCheck(Rhythm):
    """Passes when a connection is made; with `expect`, when what comes after `send` has it in its first BODY_LIMIT bytes."""

    send: bytes = b""
    expect: bytes = b""

    @property
    def title(self) -> str:
        return _at("tcp", self.port)


Check = HttpCheck | TcpCheck
Probe = Callable[[Check, Address], Awaitable[None]]
"""Returns when the check passes; raises `CheckFailed`, OSError or aiohttp.ClientError when it does not."""


class CheckFailed(Exception):
    """The server answered, and the answer is not the expected one."""


async def run_check(check: Check, address: Address, clock: Clock, probe: Probe) -> Outcome:
    """One result, never an exception (but for cancellation)."""
    began = clock.monotonic()
    reason = ""
    try:
        async with asyncio.timeout(check.timeout):
            await probe(check, address)
    except TimeoutError as error:
        # What the probe had seen when its time was over (it notes that on its own cancellation).
        seen = getattr(error.__cause__, "__notes__", [])
        reason = ": ".join([f"no answer within {check.timeout:g} s", *seen])
    except (CheckFailed, OSError, aiohttp.ClientError) as error:
        reason = plain_reason(error)
    return Outcome(not reason, reason, clock.monotonic() - began)


def _at(text: str, port: int) -> str:
    return f"{text} at port {port}" if port else text
