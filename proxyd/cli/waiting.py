"""Waiting for a server: until nothing is in flight on it, or until requests may go to it."""
from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import click

from proxyd.admin.client import Client
from proxyd.cli.output import count, duration, plural

POLL_S = 0.1
TELL_EVERY_S = 1.0

_DURATION = re.compile(r"[0-9][0-9.]*(ms|s|m|h)([0-9.]+(ms|s|m|h))*")


class WaitCommand(click.Command):
    """A command whose `--wait` takes a duration or none: `--wait api/10.0.0.1:80` must not take the server for one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        found: list[str] = []
        for position, word in enumerate(args):
            follower = args[position + 1] if position + 1 < len(args) else ""
            bare = word == "--wait" and not (_DURATION.fullmatch(follower) or follower.isdigit())
            found.append("--wait=30s" if bare else word)
        return super().parse_args(ctx, found)


@dataclass(frozen=True, slots=True)
class Straggler:
    """A server that has not come to where it should be, and what is known of it."""

    server: str
    state: str
    in_flight: int
    connections_active: int
    seconds: float
    reason: str = ""

    def line(self) -> str:
        why = f", {self.reason}" if self.reason else ""
        return (f"{self.server} ({self.state}{why}): {count(self.in_flight)} in flight on "
                f"{plural(self.connections_active, 'connection')} after {duration(self.seconds)}")

    def as_dict(self) -> dict[str, Any]:
        return {"server": self.server, "state": self.state, "in_flight": self.in_flight, "connections_active": self.connections_active,
                "seconds": round(self.seconds, 3), "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Awaited:
    ok: bool
    goal: str
    seconds: float
    stragglers: tuple[Straggler, ...]

    @property
    def in_flight(self) -> int:
        return sum(straggler.in_flight for straggler in self.stragglers)


def until_idle(client: Client, upstream: str, labels: Collection[str], seconds: float, *, quiet: bool = False) -> Awaited:
    """Until no request is in flight on these servers; says once a second on which there still are."""
    def left(found: dict[str, Any], passed: float) -> list[Straggler]:
        return [straggler for straggler in _of(found, labels, passed) if straggler.in_flight]

    return _wait(client, upstream, seconds, left, "idle", quiet=quiet)


def until_usable(client: Client, upstream: str, labels: Collection[str], seconds: float) -> Awaited:
    """Until requests may go to these servers."""
    def left(found: dict[str, Any], passed: float) -> list[Straggler]:
        return [straggler for straggler in _of(found, labels, passed) if straggler.state != "up"]

    return _wait(client, upstream, seconds, left, "usable", quiet=True)


def _wait(
    client: Client, upstream: str, seconds: float, left: Callable[[dict[str, Any], float], list[Straggler]], goal: str, *, quiet: bool
) -> Awaited:
    began = told = time.monotonic()
    while True:
        now = time.monotonic()
        stragglers = left(client.get(upstream_path(upstream)), now - began)
        if not stragglers or now - began >= seconds:
            return Awaited(not stragglers, goal, now - began, tuple(stragglers))
        if not quiet and now - told >= TELL_EVERY_S:
            told = now
            for straggler in stragglers:
                print(f"  {straggler.line()}", flush=True)
        time.sleep(min(POLL_S, seconds))


def _of(found: dict[str, Any], labels: Collection[str], passed: float) -> list[Straggler]:
    """What the upstream tells of these servers; also of those that leave it."""
    return [
        Straggler(
            entry["label"], entry.get("state", "leaving"), entry["in_flight"], entry["connections_active"], passed, entry.get("reason", "")
        )
        for entry in (*found["servers"], *found["leaving"])
        if entry["label"] in labels
    ]


def upstream_path(upstream: str) -> str:
    return f"/upstreams/{quote(upstream, safe='')}"


def server_path(upstream: str, server: str) -> str:
    return f"{upstream_path(upstream)}/servers/{quote(server, safe='')}"
