"""What a request would meet: asked of the native route table and filters themselves, so that the dry run cannot differ from the traffic."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from proxyd.config.address import BindAddress
from proxyd.snapshot.build import build_spec
from proxyd.snapshot.caching import cache_facts
from proxyd.snapshot.compiled import Compiled
from proxyd.snapshot.conduct import place_facts, route_facts, upstream_facts
from proxyd.snapshot.describe import action_text, balance_text, targets
from proxyd.snapshot.limit_texts import Request
from proxyd.snapshot.members import Member, members_of
from proxyd.snapshot.store import Store
from proxyd.snapshot.verdicts import Meter, null_listener, verdicts
from proxyd.state import BalancerView, CandidateView, RouteDecision, ServerView, TargetView
from proxyd_ext.cache.store import Cache
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import MemberSpec, ProxyAction, TargetSpec

if TYPE_CHECKING:
    from proxyd.config.model import Config

SMALLEST_CACHE = 4 << 20     # bytes; of address space
REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})     # by the engine, before it looks for a route


@dataclass(frozen=True, slots=True)
class Question:
    """A request, as far as routes and policies look at it. `client`: an IP literal, or "" where it is not known."""

    method: str
    host: str                      # without port
    path: str                      # without query
    client: str = ""
    listener: str = ""             # "": every listener
    headers: tuple[tuple[str, str], ...] = ()      # fields, Cookie among them; Host is `host`
    query: str = ""                # without its `?`
    port: str = ""                 # as the request names it; "": it does not


class Live(Protocol):
    """What is known where requests are served; `proxyd.views.Views` is one."""

    def servers(self, upstream: str) -> Sequence[ServerView]: ...

    def balancer(self, upstream: str) -> tuple[BalancerView, Mapping[str, float]] | None:
        """With the weights as they count now, by label; a server that is not among them is not drawn from. None: not known."""


def explain(compiled: Compiled, question: Question, live: Live | None = None, meter: Meter | None = None) -> tuple[RouteDecision, ...]:
    """One decision for every listener address, or for those of the named one (none if it is unknown, or passes flows on). `meter`: what
    limits have left."""
    return tuple(
        _decide(compiled, index, question, live, meter)
        for index, spec in enumerate(compiled.spec.listeners)
        if spec.flow is None and question.listener in ("", spec.name)
    )


def explain_config(config: Config, question: Question) -> tuple[RouteDecision, ...]:
    """The same for a config that serves nowhere: compiled, but bound to nothing and connected to nobody."""
    return explain(compile_unbound(config), question)


def compile_unbound(config: Config) -> Compiled:
    """A snapshot whose listeners have no sockets; for questions, not for engines. ValueError where the native side refuses the config."""
    members = members_of(config, {})

    def listen(name: str, bind: BindAddress) -> Listener:
        return null_listener(name, str(bind))

    cache = Cache(SMALLEST_CACHE) if config.stores else None      # never used: routes that cache want to be told where
    spec = build_spec(config, members, listen, Store(), generation=0, config_hash="", cache=cache)
    return Compiled(config, members, spec, Snapshot(spec))


def _decide(compiled: Compiled, index: int, question: Question, live: Live | None, meter: Meter | None) -> RouteDecision:
    spec, config, native = compiled.spec.listeners[index], compiled.config, compiled.native
    routes = config.routes_of(config.listeners[spec.name])
    method, host, path = question.method, question.host, question.path
    if method in REFUSED_METHODS:
        return RouteDecision(spec.name, spec.listener.address, path, None, "405 the method is not allowed", ())
    headers, query, client = question.headers, question.query, question.client
    try:
        chosen, normal = native.match(index, method, host, path, headers=headers, query=query, client=client)
    except ValueError as error:
        return RouteDecision(spec.name, spec.listener.address, path, None, f"400 {error}", ())
    why_not = tuple(
        (routes[number].name, tuple(native.why_not(index, number, method, host, path, headers=headers, query=query, client=client)))
        for number in range(len(routes) if chosen < 0 else chosen)
    )
    if chosen < 0:
        return RouteDecision(spec.name, spec.listener.address, normal, None, "404 no route", (), why_not)
    route, compiled_route = routes[chosen], compiled.spec.tables[spec.table][chosen]
    action = compiled_route.action
    request = Request(spec.name, route.name, method, host, normal, query, headers, client)
    decision = RouteDecision(
        spec.name, spec.listener.address, normal, route.name, action_text(route), targets(route), why_not,
        verdicts(config.policies_of(route), compiled_route.filters, request, meter),
    )
    if not isinstance(action, ProxyAction):
        return decision
    cached = cache_facts(action.cache, spec.scheme, normal, question) if action.cache is not None else ()
    facts = (*cached, *place_facts(config, route), *route_facts(action, compiled.spec.upstreams))
    return replace(decision, targets=tuple(_targets(compiled, action, live)), facts=facts)


def _targets(compiled: Compiled, action: ProxyAction, live: Live | None) -> Iterator[TargetView]:
    """The branches that may be drawn, and where the requests go when they fail."""
    total = sum(target.weight for target in action.targets)
    for target in action.targets:
        if target.weight:
            yield _target(compiled, target, target.weight / total, "target", live)
    if action.failover is not None:
        yield _target(compiled, action.failover.target, 0.0, "failover", live)


def _target(compiled: Compiled, target: TargetSpec, share: float, role: Literal["target", "failover"], live: Live | None) -> TargetView:
    return target_view(compiled, target, share, role, live, tuple(upstream_facts(compiled.spec.upstreams[target.upstream], target.retry)))


def target_view(
    compiled: Compiled, target: TargetSpec, share: float, role: Literal["target", "failover"], live: Live | None,
    facts: tuple[tuple[str, str], ...],
) -> TargetView:
    """`facts`: how the upstream treats what comes to it, in words."""
    upstream = compiled.spec.upstreams[target.upstream]
    known = live.balancer(upstream.name) if live is not None else None
    views = {view.label: view for view in live.servers(upstream.name)} if live is not None else {}
    specs = {member.server.label: member for member in upstream.members}
    weights = known[1] if known is not None else None
    servers = tuple(
        _candidate(member, specs.get(member.label), views.get(member.label), weights) for member in compiled.members[upstream.name]
    )
    return TargetView(
        upstream.name, target.weight if role == "target" else 0, share, balance_text(compiled.config.upstreams[upstream.name].balance),
        servers, role, known[0] if known is not None else None, facts,
    )


def _candidate(member: Member, spec: MemberSpec | None, view: ServerView | None, weights: Mapping[str, float] | None) -> CandidateView:
    """`spec` is None for a name without an address; `view` and `weights` where nothing is known of the present."""
    found = CandidateView(member.label, member.source, member.weight, member.backup, "unknown", "", 0.0, zone=member.zone)
    if spec is not None:
        found = replace(found, tier=spec.tier, local=spec.local, max_requests=spec.max_requests)
    if view is not None:
        found = replace(
            found, state=view.state, reason=view.reason, since=view.since, in_flight=view.in_flight, latency_seconds=view.latency_seconds
        )
    return found if weights is None else replace(found, effective_weight=weights.get(member.label, 0.0))
