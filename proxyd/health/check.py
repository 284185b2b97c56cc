"""What is checked, and one run of it within its time limit, told as an `Outcome`. The network's side is in `probe.py` and
the files that it names."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from proxyd.clock import Clock
from proxyd.health.expect import Test
from proxyd.health.reason import plain_reason
from proxyd.health.script import Step, What
from proxyd.health.state import Outcome

Address = tuple[str, int] | str
"""(IP literal, port), or the path of a unix socket."""

Kind = Literal["http", "tcp", "udp", "dns", "redis", "postgres"]
Role = Literal["primary", "replica", "any"]


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
    preface: bytes = b""                           # comes first on its connection, or in each datagram, at the server's own address

    def pause(self, verdict: Literal["unknown", "up", "down"], failing: bool) -> float:
        """From the check just made to the next, without jitter."""
        chosen = self.interval_down if verdict == "down" else self.interval_failing if failing else None
        return self.interval if chosen is None else chosen


@dataclass(frozen=True, slots=True)
class HttpCheck(Rhythm):
    """Passes when the status lies in one of `expect` (inclusive ranges), and body and header fields are as told."""

    kind: ClassVar[Kind] = "http"
    path: str
    expect: tuple[tuple[int, int], ...] = ((200, 299),)
    host: str = ""                                           # Host field; "" = the server's own address
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()                # more fields of the request; in the order in which they are sent
    body: Test | None = None                                 # of the first LIMIT bytes
    header: tuple[tuple[str, Test], ...] = ()                # field name -> test; one value of the field must pass

    @property
    def title(self) -> str:
        return _at(f"{self.method} {self.path}", self.port)


@dataclass(frozen=True, slots=True)
class TcpCheck(Rhythm):
    """Passes when a connection is made, and every step of the script is met on it."""

    kind: ClassVar[Kind] = "tcp"
    script: tuple[Step, ...] = ()

    @property
    def title(self) -> str:
        return _at("tcp script" if len(self.script) > 2 else "tcp", self.port)


@dataclass(frozen=True, slots=True)
class UdpCheck(Rhythm):
    """Passes when a datagram is answered by one that holds `expect`."""

    kind: ClassVar[Kind] = "udp"
    send: bytes
    expect: What | None = None                               # None: any answer

    @property
    def title(self) -> str:
        return _at("udp", self.port)


@dataclass(frozen=True, slots=True)
class DnsCheck(Rhythm):
    """Passes when a resolver answers, by UDP, a query for the name's address, also by saying that there is no such name."""

    kind: ClassVar[Kind] = "dns"
    name: str                                                # without the last dot; "" = the root

    @property
    def title(self) -> str:
        return _at(f"dns {self.name or '.'}", self.port)


@dataclass(frozen=True, slots=True)
class RedisCheck(Rhythm):
    """Passes when the server answers PING and has the role; a replica must have its link to the primary, where one is wanted."""

    kind: ClassVar[Kind] = "redis"
    role: Role
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def title(self) -> str:
        return _at(f"redis {self.role}", self.port)


@dataclass(frozen=True, slots=True)
class PostgresCheck(Rhythm):
    """Passes when the user can log in and the server has the role."""

    kind: ClassVar[Kind] = "postgres"
    role: Role
    user: str
    database: str = "postgres"
    password: str = field(default="", repr=False)

    @property
    def title(self) -> str:
        return _at(f"postgres {self.role}", self.port)


Check = HttpCheck | TcpCheck | UdpCheck | DnsCheck | RedisCheck | PostgresCheck
Probe = Callable[[Check, Address], Awaitable[None]]
"""Returns when the check passes; raises `CheckFailed` or OSError when it does not."""


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
    except (CheckFailed, OSError) as error:
        reason = plain_reason(error)
    return Outcome(not reason, reason, clock.monotonic() - began)


def _at(text: str, port: int) -> str:
    return f"{text} at port {port}" if port else text
