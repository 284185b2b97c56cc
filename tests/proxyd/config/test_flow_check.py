from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.flow_check import flow_only
from tests.support.config import config_of

SERVER = "servers: ['10.0.0.1:1']"


def findings(text: str) -> list[tuple[str, str]]:
    return [(item.code, item.path) for item in load_text(text, env={}).diagnostics]


def of_upstream(text: str, mode: str, more: str = "") -> list[tuple[str, str]]:
    return findings(f"listeners: {{a: {{bind: ':1', mode: {mode}, to: app}}{more}}}\nupstreams: {{app: {{{text}}}}}\n")


@pytest.mark.parametrize("mode", ["tcp", "udp", "tls_passthrough"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{SERVER}, balance: {{hash: path}}", ["upstreams.app.balance.hash"]),
        (f"{SERVER}, balance: {{maglev: 'header:x'}}", ["upstreams.app.balance.hash"]),
        (f"{SERVER}, balance: {{kind: maglev, hash: uri}}", ["upstreams.app.balance.hash"]),
        (f"{SERVER}, sticky: cookie", ["upstreams.app.sticky"]),
        (f"{SERVER}, sticky: {{app_cookie: S}}", ["upstreams.app.sticky"]),
        (f"{SERVER}, sticky: {{header: x}}, balance: {{hash: host}}", ["upstreams.app.balance.hash", "upstreams.app.sticky"]),
        (f"{SERVER}, sticky: source", []),
        (f"{SERVER}, balance: ip_hash", []),
        (f"{SERVER}, balance: flow_hash, proxy_protocol: v2", []),
        (f"{SERVER}, balance: {{hash: client.ip, bounded_load: 1.25}}", []),
    ],
)
def test_what_needs_a_request(mode: str, text: str, expected: list[str]) -> None:
    assert sorted(of_upstream(text, mode)) == [("PXD-024", path) for path in expected]
    assert of_upstream(text, "http") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("servers: ['10.0.0.1:1', 'unix:/x']", ["upstreams.app.servers[1].address"]),
        (f"{SERVER}, proxy_protocol: v1", ["upstreams.app.proxy_protocol.version"]),
        (f"{SERVER}, proxy_protocol: {{version: v1}}", ["upstreams.app.proxy_protocol.version"]),
    ],
)
def test_what_needs_a_stream(text: str, expected: list[str]) -> None:
    assert of_upstream(text, "udp", ", b: {bind: ':1', mode: tcp, to: app}") == [("PXD-024", path) for path in expected]
    assert of_upstream(text, "tcp") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listeners: {a: {bind: ':1', mode: tcp, to: nope}}\n", [("PXD-050", "listeners.a.to.nope")]),
        ("listeners: {a: {bind: ':1', mode: tls_passthrough, to: nope}}\n", [("PXD-050", "listeners.a.routes[0].to.nope")]),
        ("listeners: {a: {bind: ':1', mode: tcp, to: '10.0.0.1:1'}, b: {bind: ':1', mode: udp, to: '10.0.0.1:1'}}\n", []),
        ("listeners: {a: {bind: ':1', mode: tcp, to: 'a:1'}, b: {bind: ':1', respond: 200}}\n", [("PXD-072", "listeners.b.bind[0]")]),
        ("listeners: {a: {bind: [':1', ':1'], mode: udp, to: '10.0.0.1:1'}}\n", [("PXD-072", "listeners.a.bind[1]")]),
        ("listeners: {a: {bind: '127.0.0.1:1', mode: tcp, to: 'a:1'}}\nadmin: {bind: '127.0.0.1:1'}\n", [("PXD-072", "admin.bind[0]")]),
        ("listeners: {a: {bind: '127.0.0.1:1', mode: udp, to: '10.0.0.1:1'}}\nadmin: {bind: '127.0.0.1:1'}\n", []),
        ("listeners: {a: {bind: 'unix:/x', mode: tcp, to: '10.0.0.1:1'}}\n", []),
        ("listeners: {a: {bind: ':1', mode: tcp, to: '10.0.0.1:1'}}\nupstreams: {b: 10.0.0.1:2}\n", [("PXD-101", "upstreams.b")]),
        (
            "listeners: {a: {bind: ':1', mode: tls_passthrough, routes: [{name: x, match: a.b, to: app}, {name: x, to: app}]}}\n"
            "upstreams: {app: 10.0.0.1:2}\n",
            [("PXD-026", "listeners.a.routes[1].name")],
        ),
    ],
)
def test_names_and_addresses(text: str, expected: list[tuple[str, str]]) -> None:
    assert findings(text) == expected


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("{match: '*.b', to: app}, {match: a.b, to: app}", [("PXD-103", "listeners.a.routes[1].match")]),
        ("{match: '*.b', to: app}, {match: [c, a.b], to: app}", [("PXD-103", "listeners.a.routes[1].match.sni[1]")]),
        ("{match: {alpn: [h2, x]}, to: app}, {match: {sni: a, alpn: h2}, to: app}", [("PXD-103", "listeners.a.routes[1].match")]),
        ("{match: {alpn: [h2]}, to: app}, {match: a, to: app}, {to: app}", []),
        ("{to: app}, {match: none, to: app}", [("PXD-103", "listeners.a.routes[1].match")]),
    ],
)
def test_routes_that_never_match(routes: str, expected: list[tuple[str, str]]) -> None:
    text = f"listeners: {{a: {{bind: ':1', mode: tls_passthrough, routes: [{routes}]}}}}\nupstreams: {{app: 10.0.0.1:1}}\n"
    assert findings(text) == expected


@pytest.mark.parametrize(
    ("listener", "upstream", "expected"),
    [
        ("mode: tcp", "circuit: {max_pending: 3}", [("PXD-106", "upstreams.app.circuit.max_pending")]),
        ("mode: udp", "circuit: {max_pending: 3, max_requests: 1}", [("PXD-106", "upstreams.app.circuit.max_pending")]),
        ("mode: http", "circuit: {max_pending: 3, max_requests: 1}", []),
        ("mode: tcp, limits: {header_timeout: 5s}", "", [("PXD-106", "listeners.a.limits.header_timeout")]),
        ("mode: tcp, limits: {header_timeout: 5s}, client_ip: {proxy_protocol: true, trust: 10.0.0.0/8}", "", []),
        ("mode: tls_passthrough, limits: {header_timeout: 5s}", "", []),
        ("mode: tcp, client_ip: {proxy_protocol: true, trust: 0.0.0.0/0}", "", [("PXD-112", "listeners.a.client_ip.trust[0]")]),
        ("mode: http, client_ip: {proxy_protocol: true, trust: [unix, '::/0']}", "", [("PXD-112", "listeners.a.client_ip.trust[1]")]),
        ("mode: http, client_ip: {trust: 0.0.0.0/0}", "", [("PXD-112", "listeners.a.client_ip.trust[0]")]),
        ("mode: tcp, allow: 10.0.0.0/8", "", [("PXD-106", "listeners.a.bind[1]")]),
        ("mode: tcp, allow: [10.0.0.0/8, unix]", "", []),
        ("mode: tcp, deny: 10.0.0.0/8", "", []),
    ],
)
def test_doubts(listener: str, upstream: str, expected: list[tuple[str, str]]) -> None:
    bind = "':1'" if "udp" in listener else "[':1', 'unix:/x']"
    text = f"listeners: {{a: {{bind: {bind}, to: app, {listener}}}}}\nupstreams: {{app: {{{SERVER}, {upstream}}}}}\n"
    assert findings(text) == expected


def test_who_is_sent_flows_only() -> None:
    config = config_of("""
        listeners:
          a: {bind: ":1", mode: tls_passthrough, routes: [{match: a.b, to: one}], to: {two: 1, three: 0}}
          b: {bind: ":2", routes: [{to: two, mirror: three}]}
        upstreams: {one: "10.0.0.1:1", two: "10.0.0.1:2", three: "10.0.0.1:3"}
    """)
    assert flow_only(config) == {"one"}
