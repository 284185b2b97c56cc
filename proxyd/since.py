"""Since when each server is in the state that it is in.

The state itself is the engines' and is only looked at, so a change counts from the moment when it is noticed. Whoever changes a state
(health checks, ejections, a new snapshot) has it noticed at once; the one change that nobody announces, the end of an ejection, has a
time that is known before.
"""
from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from proxyd.clock import Clock
from proxyd.snapshot.store import ServerKey
from proxyd.state import ServerState


@dataclass(slots=True)
class _Known:
    state: ServerState
    at: float          # wall time of the change to `state`
    ends: float        # of an ejection: wall time at which it ends by itself


@dataclass(slots=True)
class Since:
    clock: Clock
    on_change: Callable[[ServerKey, ServerState, ServerState], None] = lambda _server, _was, _state: None
    _known: dict[ServerKey, _Known] = field(default_factory=dict)

    def note(self, server: ServerKey, state: ServerState, ejected_for_ms: int = 0) -> float:
        """The server is in this state now; the wall time since when it has been."""
        now = self.clock.wall()
        ends = now + ejected_for_ms / 1000
        known = self._known.get(server)
        if known is None:
            known = self._known[server] = _Known(state, now, ends)
        # An ejection that is met again after its end is another one.
        elif known.state != state or (state == "ejected" and known.ends < now):
            over_before = known.state == "ejected" and known.ends < now and state != "ejected"
            known.at = known.ends if over_before else now
            was, known.state, known.ends = known.state, state, ends
            self.on_change(server, was, state)
        known.ends = ends
        return known.at

    def up(self, upstream: str) -> tuple[int, int]:
        """How many of the upstream's servers are up, and how many it has."""
        states = [known.state for (name, _), known in self._known.items() if name == upstream]
        return states.count("up"), len(states)

    def forget_others(self, servers: Collection[ServerKey]) -> None:
        """Keep only these."""
        for server in self._known.keys() - set(servers):
            del self._known[server]
