"""Where `top` has its samples from, and to whom it gives orders: the daemon behind the admin API."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from proxyd.admin.client import Client
from proxyd.cli.top.rows import Sample
from proxyd.cli.waiting import server_path

State = Literal["drain", "ready"]


class Source(Protocol):
    """Called on threads that may block. AdminError where it cannot be done."""

    def samples(self) -> Iterator[Sample]:
        """One a second; ends when the daemon leaves."""

    def set_state(self, upstream: str, server: str, state: State) -> str:
        """What was done, as a sentence."""


@dataclass(frozen=True, slots=True)
class Daemon:
    client: Client

    def samples(self) -> Iterator[Sample]:
        yield self.client.get("/stats")
        for name, value in self.client.stream("/stats/stream"):
            if name == "stats":
                yield value

    def set_state(self, upstream: str, server: str, state: State) -> str:
        return str(self.client.send_json("PATCH", server_path(upstream, server), {"state": state}).json()["text"])
