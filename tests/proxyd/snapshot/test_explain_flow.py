"""Decisions about flows, over real native tables."""
from __future__ import annotations

import pytest

from proxyd.snapshot.explain import Question, compile_unbound, explain
from proxyd.snapshot.explain_flow import FlowQuestion, explain_flow, explain_flow_config
from proxyd.state import BalancerView, RouteDecision
from tests.proxyd.snapshot.test_explain import Live
from tests.support.config import config_of

CONFIG = config_of("""
    listeners:
      web: {bind: ":8080", to: app}
      pg: {bind: [":5432", "127.0.0.2:5433"], mode: tcp, to: postgres, allow: [10.0.0.0/8], deny: [10.6.6.6]}
      dns: {bind: ":53", mode: udp, to: resolvers, flow: {responses: 1, idle_timeout: 10s}}
      dns-tcp: {bind: ":53", mode: tcp, to: {resolvers: 3, app: 1}}
      local: {bind: "unix:/run/pg.sock", mode: tcp, to: postgres}
      sni:
        bind: ":8443"
        mode: tls_passthrough
        no_sni: refuse
        client_ip: {proxy_protocol: true, trust: [10.0.0.0/8]}
        routes:
          - {match: "*.internal", to: app}
          - {match: {sni: [a.example, b.example], alpn: [h2]}, to: {app: 90, postgres: 10}, name: split}
          - {match: a.example, to: app, name: old}
    upstreams:
      app: ["10.0.0.1:80"]
      postgres: {servers: ["10.0.0.2:5432"], on_down: close, proxy_protocol: {version: v2, crc32c: true}}
      resolvers: ["10.0.0.3:53"]
""")


def ask(question: FlowQuestion) -> tuple[RouteDecision, ...]:
    return explain_flow_config(CONFIG, question)


def one(question: FlowQuestion) -> RouteDecision:
    decision, = ask(question)
    return decision


@pytest.mark.parametrize(
    ("question", "listeners"),
    [
        (FlowQuestion("tcp", port=5432), ["pg :5432"]),
        (FlowQuestion("tcp", "127.0.0.2", 5433), ["pg 127.0.0.2:5433"]),
        (FlowQuestion("tcp", "127.0.0.1", 5433), []),
        (FlowQuestion("tcp", "127.0.0.1", 5432), ["pg :5432"]),
        (FlowQuestion("tcp", port=53), ["dns-tcp :53"]),
        (FlowQuestion("udp", port=53), ["dns :53"]),
        (FlowQuestion("udp", port=5432), []),
        (FlowQuestion("tcp", port=8080), []),
        (FlowQuestion("tcp", path="/run/pg.sock"), ["local unix:/run/pg.sock"]),
        (FlowQuestion("tcp", path="/run/other.sock"), []),
        (FlowQuestion("tcp", listener="pg"), ["pg :5432", "pg 127.0.0.2:5433"]),
        (FlowQuestion("udp", listener="pg"), []),
        (FlowQuestion("tcp"), ["pg :5432", "pg 127.0.0.2:5433", "dns-tcp :53", "local unix:/run/pg.sock"]),
        (FlowQuestion("tls", "a.internal", 8443), ["sni :8443"]),
        (FlowQuestion("tls", "a.internal", 8444), []),
    ],
)
def test_which_listeners_it_reaches(question: FlowQuestion, listeners: list[str]) -> None:
    assert [f"{decision.listener} {decision.address}" for decision in ask(question)] == listeners


@pytest.mark.parametrize(
    ("client", "text", "refuses"),
    [
        ("10.1.2.3", "the client may connect", False), ("10.6.6.6", "refuses: the connection is closed at once", True),
        ("192.0.2.1", "refuses: the connection is closed at once", True), ("", "depends on the client's address (--client IP)", False),
    ],
)
def test_who_may_connect(client: str, text: str, refuses: bool) -> None:
    verdict, = one(FlowQuestion("tcp", port=5432, client=client)).policies
    assert (verdict.name, verdict.text, verdict.refuses) == ("allow/deny", text, refuses)
    assert one(FlowQuestion("tcp", port=53, client=client)).policies == ()


def test_where_a_connection_goes() -> None:
    decision = one(FlowQuestion("tcp", port=5432))
    assert (decision.mode, decision.route, decision.action, decision.upstreams) == ("tcp", "pg", "to postgres", ("postgres",))
    assert dict(decision.facts)["timeout"] == "idle 600 s, drain 300 s"
    target, = decision.targets
    assert [server.label for server in target.servers] == ["10.0.0.2:5432"]
    facts = dict(target.facts)
    assert facts["PROXY header"] == "sent, version 2 with CRC32c"
    assert facts["on_down"] == "its flows are closed when a server is taken out"
    assert facts["connect"] == "within 3 s; up to 2 more tries on another server"


def test_a_split() -> None:
    decision = one(FlowQuestion("tcp", port=53))
    assert decision.action == "to resolvers 3, app 1"
    assert [(target.upstream, target.share) for target in decision.targets] == [("resolvers", 0.75), ("app", 0.25)]


def test_what_holds_for_datagrams() -> None:
    decision = one(FlowQuestion("udp", port=53))
    assert decision.targets[0].facts == ()
    facts = dict(decision.facts)
    assert facts["timeout"] == "idle 10 s, drain 300 s"
    assert facts["responses"] == "1 of the server ends it"
    assert "10 bytes back" in facts["amplification"]
    assert facts["bound"] == "65536 on the listener, 10000 of one client at a time"


@pytest.mark.parametrize(
    ("name", "alpn", "route", "why_not"),
    [
        ("x.internal", (), "any.internal", {"no-sni": ("server name",)}),
        ("X.Y.Internal.", (), "any.internal", {"no-sni": ("server name",)}),
        ("a.example", ("h2", "http/1.1"), "split", {"no-sni": ("server name",), "any.internal": ("server name",)}),
        ("a.example", ("http/1.1",), "old", {
            "no-sni": ("server name",), "any.internal": ("server name",), "split": ("protocol",)}),
        ("", (), "no-sni", {}),
    ],
)
def test_routes_by_hello(name: str, alpn: tuple[str, ...], route: str, why_not: dict[str, tuple[str, ...]]) -> None:
    decision = one(FlowQuestion("tls", name, 8443, alpn=alpn))
    assert (decision.route, dict(decision.why_not)) == (route, why_not)


def test_a_hello_without_a_name_is_refused() -> None:
    decision = one(FlowQuestion("tls", "", 8443))
    assert (decision.action, decision.targets, decision.facts) == ("refused", (), ())


@pytest.mark.parametrize(
    ("name", "action"),
    [("b.example", "refused: no route is for these protocols"), ("c.example", "refused: no route takes this server name")],
)
def test_why_no_route_takes_it(name: str, action: str) -> None:
    decision = one(FlowQuestion("tls", name, 8443))
    assert (decision.route, decision.action) == (None, action)


def test_who_must_send_a_proxy_header() -> None:
    assert dict(one(FlowQuestion("tls", "x.internal", 8443)).facts)["PROXY header"] == "needed, from 10.0.0.0/8"


def test_what_the_balancer_weighs_now() -> None:
    live = Live(BalancerView(False, False, 0, "closed"), {"10.0.0.1:80": 0.5})
    decision, = explain_flow(compile_unbound(CONFIG), FlowQuestion("tls", "x.internal", 8443), live)
    server = decision.targets[0].servers[0]
    assert (server.state, server.in_flight, server.effective_weight) == ("up", 3, 0.5)


def test_requests_do_not_meet_listeners_of_flows() -> None:
    assert [decision.listener for decision in explain(compile_unbound(CONFIG), Question("GET", "", "/"))] == ["web"]
