"""What a request would meet: asked of the native route table and filters themselves, so that the dry run cannot differ from the traffic."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxyd.config.address import BindAddress
from proxyd.snapshot.build import build_filters, build_spec
from proxyd.snapshot.compiled import Compiled
from proxyd.snapshot.describe import action_text, balance_text, targets
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd.snapshot.verdicts import null_listener, verdicts
from proxyd.state import CandidateView, RouteDecision, ServerView, TargetView
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot import Snapshot

if TYPE_CHECKING:
    from proxyd.config.model import Config, Route

REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})     # by the engine, before it looks for a route


@dataclass(frozen=True, slots=True)
class Question:
    """A request, as far as routes and policies look at it. `client`: an IP literal, or "" where it is not known."""

    method: str
    host: str                      # without port
    path: str                      # without query
    client: str = ""
    listener: str = ""             # "": every listener


ServersOf = Callable[[str], Sequence[ServerView]]
"""Upstream -> its servers as they are now."""


def explain(compiled: Compiled, question: Question, servers_of: ServersOf | None = None) -> tuple[RouteDecision, ...]:
    """One decision for every listener address, or for those of the named one (none if it is unknown)."""
    return tuple(
        _decide(compiled, index, question, servers_of)
        for index, spec in enumerate(compiled.spec.listeners)
        if not question.listener or spec.name == question.listener
    )


def explain_config(config: Config, question: Question) -> tuple[RouteDecision, ...]:
    """The same for a config that serves nowhere: compiled, but bound to nothing and connected to nobody."""
    return explain(compile_unbound(config), question)


def compile_unbound(config: Config) -> Compiled:
    """A snapshot whose listeners have no sockets; for questions, not for engines. ValueError where the native side refuses the config."""
    members = members_of(config, {})

    def listen(name: str, bind: BindAddress) -> Listener:
        return null_listener(name, str(bind))

    spec = build_spec(config, members, listen, Store(), generation=0, config_hash="")
    return Compiled(config, members, spec, Snapshot(spec))


def _decide(compiled: Compiled, index: int, question: Question, servers_of: ServersOf | None) -> RouteDecision:
    spec, config = compiled.spec.listeners[index], compiled.config
    routes = config.routes_of(config.listeners[spec.name])
    asked = (question.method, question.host, question.path)
    if question.method in REFUSED_METHODS:
        return RouteDecision(spec.name, spec.listener.address, question.path, None, "405 the method is not allowed", ())
    try:
        chosen, normal = compiled.native.match(index, *asked)
    except ValueError as error:
        return RouteDecision(spec.name, spec.listener.address, question.path, None, f"400 {error}", ())
    before = range(len(routes) if chosen < 0 else chosen)
    why_not = tuple((routes[number].name, tuple(compiled.native.why_not(index, number, *asked))) for number in before)
    if chosen < 0:
        return RouteDecision(spec.name, spec.listener.address, normal, None, "404 no route", (), why_not)
    route = routes[chosen]
    return RouteDecision(
        spec.name, spec.listener.address, normal, route.name, action_text(route), targets(route), why_not,
        verdicts(config.policies_of(route), question.client, build_filters),
        tuple(_targets(compiled, route, servers_of)),
    )


def _targets(compiled: Compiled, route: Route, servers_of: ServersOf | None) -> Iterator[TargetView]:
    weights = route.to or {}
    for name in targets(route):
        if servers_of is not None:
            servers = tuple(
                CandidateView(view.label, view.source, view.weight, view.backup, view.state, view.reason, view.since)
                for view in servers_of(name)
            )
        else:
            servers = tuple(
                CandidateView(member.label, member.source, member.weight, member.backup, "unknown", "", 0.0)
                for member in compiled.members[name]
            )
        share = weights[name] / sum(weights.values())
        yield TargetView(name, weights[name], share, balance_text(compiled.config.upstreams[name].balance), servers)
