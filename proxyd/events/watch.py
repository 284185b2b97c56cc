"""What becomes an event: changes that others tell (`Notes`), and what only a look every second shows (`Watch`)."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxyd.caching.purge import Purge, Purged
from proxyd.events.ring import Events
from proxyd.state import CircuitView, ReloadResult, ServerChange, ServerState
from proxyd.stats.history import Point
from proxyd.views import Views

if TYPE_CHECKING:
    from proxyd.limits.views import ResetView

QUIET = 10.0             # seconds without a dropped record after which dropping has ended
STUCK = 2.5              # seconds without a heartbeat, which comes once a second

_STATES: dict[ServerState, str] = {
    "up": "is up", "down": "is down", "pending": "waits for its first check", "ejected": "was ejected", "maint": "is in maintenance",
    "drain": "drains", "unresolved": "has no address",
}
_WAS: dict[ServerState, str] = {"maint": "in maintenance", "drain": "draining", "unresolved": "without an address"}
_REASONED = ("down", "ejected", "unresolved")


@dataclass(frozen=True, slots=True)
class Notes:
    """Turns what the parts of the daemon tell into events."""

    events: Events
    views: Callable[[], Views]

    def on_state(self, server: tuple[str, str], was: ServerState, state: ServerState) -> None:
        """A server has another state now."""
        views, (upstream, label) = self.views(), server
        view = views.server(upstream, label)
        reason = view.reason if view is not None and state in _REASONED else ""
        up, servers = views.since.up(upstream)
        back = f", was {_WAS.get(was, was)}" if state == "up" and was != "pending" else ""
        text = f"{upstream}/{label} {_STATES[state]}{back}{': ' if reason else ''}{reason}; {up} of {servers} up"
        self.events.note("server.state", text, upstream=upstream, server=label, was=was, state=state, reason=reason)

    def on_circuit(self, upstream: str, circuit: CircuitView) -> None:
        reason = f": {circuit.reason}" if circuit.reason else ""
        text = f"{upstream}: circuit {circuit.state.replace('_', ' ')}{reason}"
        self.events.note("circuit", text, upstream=upstream, state=circuit.state, reason=circuit.reason)

    def on_reload(self, result: ReloadResult, summary: str) -> None:
        """Dry runs, and reloads that found nothing to do, are no events."""
        if result.ok and result.changed:
            text = f"config {result.config_hash[:12]} serves: {summary}"
        elif not result.ok:
            text = f"reload refused, the old config serves on: {summary}"
        else:
            return
        self.events.note("config.reload", text, ok=result.ok, hash=result.config_hash, generation=result.generation)

    def on_server_change(self, change: ServerChange, by: str) -> None:
        if change.changed:
            facts = {"upstream": change.upstream.name, "servers": list(change.servers), "by": by}
            self.events.note("server.change", f"{change.text} by {by}", **facts)

    def on_kept(self, text: str) -> None:
        """At the start: what operators changed before it holds on."""
        if text:
            self.events.note("server.kept", text)

    def on_purge(self, orders: Sequence[Purge], purged: Purged) -> None:
        what = str(orders[0]) if len(orders) == 1 else f"{len(orders)} orders"
        self.events.note("cache.purge", f"cache purged of {what}: {purged.objects} objects", objects=purged.objects)

    def on_reset(self, reset: ResetView) -> None:
        what = "one key" if reset.key else "all keys"
        self.events.note("limit.reset", f"limit {reset.policy} reset, {what}: {reset.forgotten} forgotten", policy=reset.policy)


@dataclass(slots=True)
class Watch:
    events: Events
    threads: bool                  # engines turn by themselves; an inline one turns only when something happens
    _dropping: int = 0             # records dropped since it began; 0: none are
    _dropped_at: float = 0.0
    _beats: dict[int, tuple[int, float]] = field(default_factory=dict)     # engine -> (heartbeat, when it was first seen)
    _stuck: set[int] = field(default_factory=set)

    def on_point(self, point: Point) -> None:
        self._on_drops(point.gauges.dropped, point.at)
        for engine, beat in enumerate(point.gauges.heartbeats if self.threads else ()):
            self._on_beat(engine, beat, point.at)

    def _on_drops(self, dropped: int, now: float) -> None:
        if dropped:
            if not self._dropping:
                text = f"access records are being dropped, {dropped} so far: what takes them is full, gone or too slow"
                self.events.note("log.drops", text, dropped=dropped, over=False)
            self._dropping += dropped
            self._dropped_at = now
        elif self._dropping and now - self._dropped_at >= QUIET:
            text = f"no access records are dropped any more; {self._dropping} were"
            self.events.note("log.drops", text, dropped=self._dropping, over=True)
            self._dropping = 0

    def _on_beat(self, engine: int, beat: int, now: float) -> None:
        last, since = self._beats.get(engine, (-1, now))
        if beat != last:
            self._beats[engine] = beat, now
            if engine in self._stuck:
                self._stuck.discard(engine)
                self.events.note("engine.stuck", f"engine {engine} turns again after {now - since:.0f} s", engine=engine, over=True)
        elif now - since > STUCK and engine not in self._stuck:
            self._stuck.add(engine)
            text = f"engine {engine} has not turned for {now - since:.0f} s: its connections wait"
            self.events.note("engine.stuck", text, engine=engine, over=False)
