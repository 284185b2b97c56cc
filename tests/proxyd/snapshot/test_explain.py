"""Decisions over real native tables; what is known of the present is stated by each test."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from proxyd.snapshot.compiled import Compiled
from proxyd.snapshot.explain import Question, compile_unbound, explain, explain_config
from proxyd.state import BalancerView, RouteDecision, ServerView
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import Condition, FailoverSpec, MemberSpec, ProxyAction, RouteSpec, TargetSpec
from tests.proxyd.admin.fake_daemon import server_view
from tests.support.config import config_of

CONFIG = config_of("""
    listen: :8080
    routes:
      - {name: shop, match: "GET shop.example/*", to: {app: 95, next: 5, off: 0}}
      - {name: static, match: /static/*, respond: 200}
      - {name: rest, to: app}
    upstreams:
      app: {servers: ["10.0.0.1:80", {address: "10.0.0.2:80", weight: 2, backup: true}, "app.internal:80"], balance: {hash: path}}
      next: ["10.0.0.3:80"]
      off: ["10.0.0.4:80"]
""")


def compiled(**changes: RouteSpec) -> Compiled:
    """CONFIG, with some of its native routes replaced."""
    found = compile_unbound(CONFIG)
    table = tuple(changes.get(route.name, route) for route in found.spec.tables[0])
    spec = replace(found.spec, tables=(table,))
    return replace(found, spec=spec, native=Snapshot(spec))


def route_of(found: Compiled, name: str) -> RouteSpec:
    return next(route for route in found.spec.tables[0] if route.name == name)


def decide(found: Compiled, question: Question, live: Live | None = None) -> RouteDecision:
    decision, = explain(found, question, live)
    return decision


class Live:
    def __init__(self, balancer: BalancerView | None = None, weights: Mapping[str, float] | None = None) -> None:
        self._balancer, self._weights = balancer, weights or {}

    def servers(self, upstream: str) -> Sequence[ServerView]:
        return (
            replace(server_view("10.0.0.1:80"), in_flight=3, latency_seconds=0.012),
            server_view("10.0.0.2:80", state="down", reason="check failed"),
            server_view("app.internal:80", state="unresolved", reason="no such name"),
        ) if upstream == "app" else ()

    def balancer(self, upstream: str) -> tuple[BalancerView, Mapping[str, float]] | None:
        return (self._balancer, self._weights) if self._balancer is not None else None


def test_a_split_and_its_shares() -> None:
    decision = decide(compiled(), Question("GET", "shop.example", "/x"))
    assert (decision.route, decision.upstreams, decision.why_not) == ("shop", ("app", "next"), ())
    assert [(target.upstream, target.share, target.balance) for target in decision.targets] == [
        ("app", 0.95, "hash path"), ("next", 0.05, "round_robin")]
    servers = decision.targets[0].servers
    assert [(server.label, server.tier, server.state) for server in servers] == [
        ("10.0.0.1:80", 0, "unknown"), ("10.0.0.2:80", 1, "unknown"), ("app.internal:80", 0, "unknown")]
    assert {server.effective_weight for server in servers} == {None}
    assert [word for word, _ in decision.facts] == ["timeout"]
    assert [word for word, _ in decision.targets[0].facts] == ["retry"]


def test_why_the_earlier_ones_lost() -> None:
    decision = decide(compiled(), Question("POST", "other.example", "/x"))
    assert decision.route == "rest"
    assert dict(decision.why_not) == {"shop": ("method", "host"), "static": ("path",)}


def test_conditions_are_asked_with_the_whole_request() -> None:
    found = compiled()
    shop = replace(route_of(found, "shop"), conditions=(
        Condition("header", "exact", "x-env", "prod"), Condition("query", "present", "debug"), Condition("cookie", "exact", "beta", "1"),
        Condition("source", "network", networks=("10.0.0.0/8",)),
    ))
    found = compiled(shop=shop)
    bare = Question("GET", "shop.example", "/x")
    assert dict(decide(found, bare).why_not)["shop"] == ("header", "query", "cookie", "source")
    whole = replace(bare, headers=(("X-Env", "prod"), ("Cookie", "a=2; beta=1")), query="a=1&debug", client="10.1.1.1")
    assert decide(found, whole).route == "shop"
    assert dict(decide(found, replace(whole, client="192.0.2.1")).why_not)["shop"] == ("source",)


def test_what_the_balancer_weighs_now() -> None:
    live = Live(BalancerView(False, False, 0, "half_open"), {"10.0.0.1:80": 0.5})
    target = decide(compiled(), Question("GET", "", "/x"), live).targets[0]
    assert target.balancer == BalancerView(False, False, 0, "half_open")
    first, second, third = target.servers
    assert (first.effective_weight, first.in_flight, first.latency_seconds, first.state) == (0.5, 3, 0.012, "up")
    assert (second.effective_weight, second.state, second.reason) == (0.0, "down", "check failed")
    assert (third.effective_weight, third.state) == (0.0, "unresolved")


def test_without_a_pool_only_the_states_are_known() -> None:
    target = decide(compiled(), Question("GET", "", "/x"), Live()).targets[0]
    assert target.balancer is None
    assert [(server.state, server.effective_weight) for server in target.servers] == [("up", None), ("down", None), ("unresolved", None)]


def test_zones_bounds_and_a_failover() -> None:
    found = compiled()
    rest = route_of(found, "rest")
    assert isinstance(rest.action, ProxyAction)
    found = compiled(rest=replace(rest, action=replace(rest.action, failover=FailoverSpec(TargetSpec(1)))))
    app = found.spec.upstreams[0]
    members = tuple(replace(member, local=False, max_requests=9) for member in app.members)
    assert all(isinstance(member, MemberSpec) for member in members)
    found = replace(found, spec=replace(found.spec, upstreams=(replace(app, members=members), *found.spec.upstreams[1:])))
    decision = decide(found, Question("GET", "", "/x"))
    assert [(target.upstream, target.role, target.share) for target in decision.targets] == [
        ("app", "target", 1.0), ("next", "failover", 0.0)]
    assert [(server.local, server.max_requests) for server in decision.targets[0].servers] == [(False, 9), (False, 9), (True, 0)]
    assert ("failover", "to next when: no server can take it, connection failed") in decision.facts


def test_what_meets_no_route() -> None:
    assert decide(compiled(), Question("TRACE", "", "/")).action == "405 the method is not allowed"
    assert decide(compiled(), Question("GET", "", "/../x")).action.startswith("400 ")
    assert decide(compiled(), Question("GET", "", "/static/a")).targets == ()
    assert explain_config(CONFIG, Question("GET", "", "/", listener="nope")) == ()


def test_listeners_that_pass_flows_on_decide_nothing() -> None:
    config = config_of("""
        listeners:
          pg: {bind: ":1", mode: tcp, to: app}
          web: {bind: ":2", to: app}
        upstreams: {app: {servers: "10.0.0.1:80", balance: flow_hash}}
    """)
    question = Question("GET", "shop.example", "/")
    assert [decision.listener for decision in explain_config(config, question)] == ["web"]
    assert explain_config(config, replace(question, listener="pg")) == ()
