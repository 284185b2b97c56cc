from __future__ import annotations

import os
import textwrap

import pytest

from proxyd.config.address import BindAddress
from proxyd.snapshot.build import build_spec, used_upstreams
from proxyd.snapshot.build_flows import NO_SNI
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot.spec import AccessFilter, FlowRoute, FlowSpec, ListenerSpec, RetrySpec, SnapshotSpec, TargetSpec
from tests.support.config import config_of

RETRY = RetrySpec(backoff_ms=25, retry_after_max_ms=2_000)
UPSTREAMS = "\nupstreams: {a: '10.0.0.1:1', b: {servers: '10.0.0.2:1', retry: none, timeout: {connect: 1s}}, c: '10.0.0.3:1'}\n"
A, B = TargetSpec(0, 100, 3_000, RETRY), TargetSpec(1, 100, 1_000, RetrySpec(attempts=0, backoff_ms=25, retry_after_max_ms=2_000))


def build(text: str) -> SnapshotSpec:
    config = config_of(textwrap.dedent(text) + UPSTREAMS)

    def listen(name: str, bind: BindAddress) -> Listener:
        return Listener(name, str(bind), [os.open(os.devnull, os.O_RDONLY)], True)

    return build_spec(config, members_of(config, {}), listen, Store(), generation=1, config_hash="")


def listener(text: str) -> ListenerSpec:
    [spec] = build(f"listeners: {{l: {{bind: ':1', {text}}}}}").listeners
    return spec


def flow(text: str) -> FlowSpec:
    found = listener(text).flow
    assert found is not None
    return found


def test_tcp() -> None:
    spec = listener("mode: tcp, to: {a: 90, b: 10, c: 0}")
    targets = (TargetSpec(0, 90, 3_000, RETRY), TargetSpec(1, 10, 1_000, B.retry), TargetSpec(2, 0, 3_000, RETRY))
    assert spec.flow == FlowSpec("tcp", (FlowRoute("l", targets),), amplification=0)
    assert (spec.table, spec.stats, spec.client_ip_header, spec.trust) == (-1, (), "", ())
    assert (spec.buffer, spec.header_ms, spec.per_client, spec.connections) == (1_048_576, 10_000, 10_000, 0)


def test_times_of_tcp() -> None:
    found = flow("mode: tcp, to: a, flow: {idle_timeout: 5s, max_age: 1h, drain_timeout: 7s, keepalive: true}")
    assert (found.idle_ms, found.max_age_ms, found.drain_ms, found.keepalive) == (5_000, 3_600_000, 7_000, True)
    none = flow("mode: tcp, to: a, flow: {idle_timeout: none, max_age: none, drain_timeout: none}")
    assert (none.idle_ms, none.max_age_ms, none.drain_ms, none.keepalive) == (0, 0, 0, False)


def test_udp() -> None:
    assert flow("mode: udp, to: b") == FlowSpec("udp", (FlowRoute("l", (B,)),), idle_ms=30_000)
    found = flow("mode: udp, to: b, flow: {responses: 1, amplification: none}")
    assert (found.responses, found.amplification) == (1, 0)
    assert listener("mode: udp, to: b").connections == 65_536
    assert listener("mode: udp, to: b, limits: {connections: none, per_client: 7}").connections == 0


def test_tls() -> None:
    text = "mode: tls_passthrough, routes: [{match: '*.X', to: a}, {match: {sni: [a.b, none], alpn: [h2, h3]}, to: b, name: n}], to: a"
    routes = (FlowRoute("any.x", (A,), ("*.x",)), FlowRoute("n", (B,), ("a.b", ""), ("h2", "h3")), FlowRoute("default", (A,)))
    assert flow(text) == FlowSpec("tls", routes, amplification=0)
    refused = flow("mode: tls_passthrough, no_sni: refuse, to: a")
    assert refused.routes == (FlowRoute(NO_SNI, (), ("",)), FlowRoute("default", (A,)))


@pytest.mark.parametrize("mode", ["http", "tcp", "udp", "tls_passthrough"])
def test_who_may_connect(mode: str) -> None:
    def access(text: str) -> AccessFilter | None:
        return listener(f"mode: {mode}, to: a, {text}").access

    assert access("") is None
    assert access("allow: 10.0.0.0/8") == AccessFilter(("10.0.0.0/8",), (), False, "listener")
    assert access("deny: [10.0.0.0/8]") == AccessFilter((), ("10.0.0.0/8",), True, "listener")
    assert access("allow: [10.0.0.0/8, unix], deny: 10.6.6.6") == AccessFilter(("10.0.0.0/8", "unix"), ("10.6.6.6/32",), False, "listener")


@pytest.mark.parametrize("mode", ["http", "tcp", "udp", "tls_passthrough"])
def test_proxies(mode: str) -> None:
    assert listener(f"mode: {mode}, to: a").proxy is None
    spec = listener(f"mode: {mode}, to: a, client_ip: {{proxy_protocol: true, trust: [10.0.0.0/8]}}, limits: {{connections: 9}}")
    assert (spec.proxy, spec.trust, spec.client_ip_header, spec.connections) == (("10.0.0.0/8",), (), "", 9)


def test_requests_beside_flows() -> None:
    spec = build("""
        listeners:
          pg: {bind: [":1", "unix:/pg"], mode: tcp, to: a}
          web: {bind: ":2", client_ip: {trust: 10.0.0.0/8}}
          store: {bind: "127.0.0.1:3", mode: cache, allow: 127.0.0.1}
        routes: [{to: b}]""")
    assert [(one.name, one.table, one.flow is None, len(one.stats)) for one in spec.listeners] == [
        ("pg", -1, False, 0),
        ("pg", -1, False, 0),
        ("web", 0, True, 2),
        ("store", 1, True, 2),
    ]
    assert spec.listeners[2].client_ip_header == "X-Forwarded-For"
    assert len(spec.tables) == 2


def test_flows_alone_need_no_table() -> None:
    assert build("listeners: {pg: {bind: ':1', mode: tcp, to: a}}").tables == ()


def test_upstreams_of_flows_are_used() -> None:
    text = "listeners: {l: {bind: ':1', mode: tls_passthrough, routes: [{match: a.b, to: b}], to: {c: 1, a: 0}}}"
    assert used_upstreams(config_of(text + UPSTREAMS)) == ("b", "c")
