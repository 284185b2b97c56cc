"""The daemon's facts as plain values (`proxyd.state` says what each field means), put together when somebody asks."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from proxyd.discovery.names import Names
from proxyd.governor.governor import Governors
from proxyd.health.ejections import Ejections
from proxyd.health.monitor import HealthMonitor
from proxyd.overrides import Overrides
from proxyd.since import Since
from proxyd.snapshot.compiled import Compiled
from proxyd.snapshot.describe import action_text, balance_text, flow_action_text, flow_match_text, match_text
from proxyd.snapshot.members import Member
from proxyd.snapshot.store import Store
from proxyd.sockets import socket_kind
from proxyd.state import (
    NO_ROUTE,
    BalancerView,
    CheckView,
    FlowView,
    LeavingView,
    ListenerEntry,
    ListenerView,
    RouteEntry,
    RouteView,
    ServerEntry,
    ServerState,
    ServerView,
    UpstreamEntry,
    UpstreamView,
    server_state,
)
from proxyd.tally import with_past

if TYPE_CHECKING:
    from proxyd_ext.io.listener import Listener
    from proxyd_ext.snapshot.spec import ListenerSpec


@dataclass(frozen=True, slots=True)
class Views:
    """Of one compiled config, with the parts that know the rest."""

    compiled: Compiled
    store: Store
    health: HealthMonitor
    ejections: Ejections
    governors: Governors
    names: Names
    since: Since
    overrides: Overrides

    # ------------------------------------------------------------------ views
    def listeners(self) -> tuple[ListenerView, ...]:
        present = tuple(self._listener(item) for item in self.compiled.spec.listeners)
        return (*present, *(replace(listener_view(held.listener, held.bound.kind), leaving=True) for held in self.store.leaving()))

    def _listener(self, item: ListenerSpec) -> ListenerView:
        mode = self.compiled.config.listeners[item.name].mode
        routes = item.flow.routes if item.flow is not None else ()
        texts = ((route.name, flow_match_text(route), flow_action_text(route, self.compiled.spec.upstreams)) for route in routes)
        return listener_view(item.listener, mode, tuple(texts))

    def routes(self) -> tuple[RouteView, ...]:
        return tuple(self._routes())

    def _routes(self) -> Iterator[RouteView]:
        config = self.compiled.config
        for name, listener in config.listeners.items():
            if socket_kind(listener.mode) != "http":
                continue                              # its routes take flows, and stand with it
            for index, route in enumerate(config.routes_of(listener)):
                yield RouteView(name, route.name, index, match_text(route), action_text(route), self._requests(name, route.name))
            yield RouteView(name, NO_ROUTE, -1, "*", "404 no route", self._requests(name, NO_ROUTE))

    def _requests(self, listener: str, route: str) -> int:
        return sum(self.store.tallies.routes.stats((listener, route), self.store.route(listener, route))["requests"].values())

    def upstreams(self) -> tuple[UpstreamView, ...]:
        leaving = self._leaving()
        return tuple(self._upstream(name, leaving.get(name, ())) for name in self.compiled.config.upstreams)

    def upstream(self, name: str) -> UpstreamView:
        return self._upstream(name, self._leaving().get(name, ()))

    def servers(self, upstream: str) -> tuple[ServerView, ...]:
        return tuple(self._server(upstream, member) for member in self.compiled.members[upstream])

    def server(self, upstream: str, label: str) -> ServerView | None:
        members = self.compiled.members.get(upstream, ())
        return next((self._server(upstream, member) for member in members if member.label == label), None)

    def balancer(self, upstream: str) -> tuple[BalancerView, Mapping[str, float]] | None:
        """What the upstream's balancer draws from, and with which weights."""
        state = self.store.upstream(upstream)
        if state.pool is None:
            return None
        drawn = state.pool.describe()
        panic, ignores_health = drawn["panic"], drawn["ignores_health"]
        view = BalancerView(panic, ignores_health and not panic, drawn["tier"], state.stats()["circuit"])
        return view, dict(drawn["active"])

    def _upstream(self, name: str, leaving: Sequence[LeavingView]) -> UpstreamView:
        servers = self.servers(name)
        usable = sum(server.usable for server in servers)
        governor = self.governors.view(name)
        warnings = [f"{server.source} does not resolve: {server.reason}" for server in servers if server.state == "unresolved"]
        if not usable:
            warnings.insert(0, "no server is usable")
        if governor.circuit is not None and governor.circuit.state != "closed":
            warnings.insert(0, f"circuit {governor.circuit.state.replace('_', ' ')}: {governor.circuit.reason}")
        balance = balance_text(self.compiled.config.upstreams[name].balance)
        return UpstreamView(name, balance, servers, usable, "; ".join(warnings), governor, tuple(leaving), self.overrides.views(name))

    def _leaving(self) -> dict[str, list[LeavingView]]:
        """Upstream -> servers that are no members any more, but have requests under way."""
        present = {(name, member.label) for name, members in self.compiled.members.items() for member in members}
        found: dict[str, list[LeavingView]] = {}
        for (name, label), server in self.store.servers.items():
            if (name, label) not in present and (stats := server.stats())["in_flight"]:
                found.setdefault(name, []).append(LeavingView(label, stats["in_flight"], stats["connections_active"]))
        return found

    def _server(self, upstream: str, member: Member) -> ServerView:
        if member.address is None:
            since = self.since.note((upstream, member.label), "unresolved")
            return _unresolved(member, self.names.error(member.source.rpartition(":")[0]), since)
        server = self.store.server(upstream, member.label, member.address)
        state, stats, checks = server.state(), server.stats(), self.health.checks(upstream, member.label)
        word, counted = server_state(state), with_past(stats, self.store.tallies.servers.past((upstream, member.label)))
        return ServerView(
            label=member.label,
            source=member.source,
            state=word,
            reason=_reason(word, state, checks, self.ejections.reason(upstream, member.label)),
            since=self.since.note((upstream, member.label), word, state["ejected_for_ms"]),
            usable=state["usable"],
            weight=member.weight,
            backup=member.backup,
            down=tuple(state["down"]),
            ejected_for_ms=state["ejected_for_ms"],
            ejections=state["ejections"],
            consecutive_failures=state["consecutive_failures"],
            in_flight=stats["in_flight"],
            connections_active=stats["connections_active"],
            connections_idle=stats["connections_idle"],
            requests=sum(counted["requests"].values()),
            errors=counted["errors"],
            checks=checks,
            latency_seconds=stats["ewma_seconds"] or stats["latency_sum_seconds"] / max(stats["latency_count"], 1),
            flows=counted["flows"],
        )

    def note_states(self, upstream: str) -> None:
        """Remember since when the upstream's servers are in the states that they are in."""
        for member in self.compiled.members[upstream]:
            if member.address is None:
                self.since.note((upstream, member.label), "unresolved")
            else:
                state = self.store.server(upstream, member.label, member.address).state()
                self.since.note((upstream, member.label), server_state(state), state["ejected_for_ms"])

    def not_ready(self, upstreams: Sequence[UpstreamView]) -> Iterator[str]:
        """A sentence for every upstream in use that has no usable server. `upstreams`: as they are now."""
        for view in upstreams:
            if view.name in self.compiled.used and not view.usable:
                yield f"upstream {view.name} has no usable server: {', '.join(map(_plight, view.servers))}"

    # ------------------------------------------------------------------ entries
    def listener_entries(self) -> tuple[ListenerEntry, ...]:
        modes = {name: listener.mode for name, listener in self.compiled.config.listeners.items()}
        found = [(item.listener, modes[item.name]) for item in self.compiled.spec.listeners]
        found += [(held.listener, held.bound.kind) for held in self.store.departing()]
        return tuple(ListenerEntry(listener.name, listener.address, listener, mode) for listener, mode in found)

    def route_entries(self) -> tuple[RouteEntry, ...]:
        seen = {(stats.listener, stats.route): stats for item in self.compiled.spec.listeners for stats in item.stats}
        past = self.store.tallies.routes.past
        return tuple(RouteEntry(*key, stats, past(key)) for key, stats in seen.items())

    def upstream_entries(self) -> tuple[UpstreamEntry, ...]:
        return tuple(self._upstream_entry(name) for name in self.compiled.config.upstreams)

    def _upstream_entry(self, name: str) -> UpstreamEntry:
        members = self.compiled.members[name]
        servers = tuple(
            ServerEntry(
                name, member.label, member.weight, member.backup, self.store.server(name, member.label, member.address),
                _check_results(self.health.checks(name, member.label)), self.ejections.counts(name, member.label),
                self.store.tallies.servers.past((name, member.label)),
            )
            for member in members
            if member.address is not None
        )
        unresolved = tuple((member.label, member.weight) for member in members if member.address is None)
        departed = self.store.departed_opened(name, (entry.server for entry in servers))
        governor, used = self.governors.view(name), name in self.compiled.used
        past = self.store.tallies.upstreams.past(name)
        return UpstreamEntry(name, self.store.upstream(name), servers, departed, unresolved, governor, used, past)


def listener_view(listener: Listener, mode: str, routes: Sequence[tuple[str, str, str]] = ()) -> ListenerView:
    """`routes`: texts of those that take flows."""
    stats, flow = listener.stats(), None
    if socket_kind(mode) != "http":
        figures = (stats["open"], stats["bytes_in"], stats["bytes_out"], stats["packets_in"], stats["packets_out"])
        flow = FlowView(*figures, stats["ended"], tuple(routes))
    return ListenerView(
        listener.name, listener.address, stats["accepted"], stats["open"], stats["in_flight"], stats["rejected"], mode, flow,
    )


def _reason(word: ServerState, state: Mapping[str, Any], checks: Sequence[CheckView], ejection: str) -> str:
    match word:
        case "down":
            return failure(checks)
        case "ejected":
            return f"{ejection or 'failures in a row'}; back in {max(round(state['ejected_for_ms'] / 1000), 1)} s"
        case "pending":
            return "has not passed its first check yet"
        case "maint":
            return "in maintenance"
        case "drain":
            return "draining"
        case _:
            return ""


def failure(checks: Sequence[CheckView]) -> str:
    """Of the first check that holds the server down: "check failed: connection refused"; its title where there are several."""
    for check in checks:
        if check.verdict == "down":
            return f"check {check.title + ' ' if len(checks) > 1 else ''}failed" + (f": {check.reason}" if check.reason else "")
    return "check failed"


def _check_results(checks: Sequence[CheckView]) -> dict[str, int]:
    return {"passed": sum(check.passed for check in checks), "failed": sum(check.failed for check in checks)} if checks else {}


def _plight(server: ServerView) -> str:
    return f"{server.label} is {server.state}" + (f" ({server.reason})" if server.reason else "")


def _unresolved(member: Member, error: str, since: float) -> ServerView:
    return ServerView(
        label=member.label, source=member.source, state="unresolved", reason=error, since=since, usable=False,
        weight=member.weight, backup=member.backup, down=(), ejected_for_ms=0, ejections=0, consecutive_failures=0, in_flight=0,
        connections_active=0, connections_idle=0, requests=0, errors={}, checks=(),
    )
