from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.canonical import canonical_text
from proxyd.config.flows import FlowListener, TcpFlow, TlsListener, UdpFlow
from tests.support.config import config_of, first_finding

REST = "\nupstreams: {app: 127.0.0.1:1, b: 127.0.0.1:2}\n"


def listener(text: str) -> FlowListener:
    found = config_of(f"listeners: {{a: {{bind: ':1', {text}}}}}{REST}").listeners["a"]
    assert isinstance(found, FlowListener)
    return found


def test_tcp() -> None:
    plain = listener("mode: tcp, to: app")
    assert plain.flow == TcpFlow()
    assert (plain.flow.idle_timeout.seconds, int(plain.flow.max_age), plain.flow.drain_timeout.seconds) == (600, 0, 300)
    [route] = plain.flow_routes
    assert (route.name, route.names, route.alpn, route.to) == ("", (), (), {"app": 100})
    timed = listener("mode: tcp, to: {app: 1, b: 2}, flow: {idle_timeout: none, max_age: 1d, drain_timeout: none, keepalive: true}").flow
    assert isinstance(timed, TcpFlow)
    assert (int(timed.idle_timeout), timed.max_age.seconds, int(timed.drain_timeout), timed.keepalive) == (0, 86_400, 0, True)


def test_udp() -> None:
    plain = listener("mode: udp, to: app")
    flow = plain.flow
    assert isinstance(flow, UdpFlow)
    assert (flow.idle_timeout.seconds, flow.responses, flow.amplification, plain.limits.connections) == (30, 0, 10, 65_536)
    told = listener("mode: udp, to: app, flow: {responses: 1, amplification: none}, limits: {connections: none}")
    assert isinstance(told.flow, UdpFlow)
    assert (told.flow.responses, told.flow.amplification, told.limits.connections) == (1, 0, 0)


def test_tls() -> None:
    split = "{match: {sni: [a.b, none], alpn: h2}, to: b, name: n}"
    found = listener(f"mode: tls_passthrough, routes: [{{match: '*.x', to: app}}, {split}], to: b")
    assert isinstance(found, TlsListener)
    assert [(route.name, route.names, route.alpn, [*route.to]) for route in found.flow_routes] == [
        ("any.x", ("*.x",), (), ["app"]),
        ("n", ("a.b", ""), ("h2",), ["b"]),
        ("default", (), (), ["b"]),
    ]
    assert (found.no_sni, found.own_routes, found.to) == ("default", None, None)


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        ("mode: tcp", "PXD-022", "a"),
        ("mode: tcp, to: {}", "PXD-022", "{}"),
        ("mode: tcp, to: {app: 0}", "PXD-039", "{app: 0}"),
        ("mode: tls_passthrough", "PXD-022", "a"),
        ("mode: tls_passthrough, routes: []", "PXD-022", "routes"),
        ("mode: tls_passthrough, routes: [{match: a.b}]", "PXD-022", "{match: a.b}"),
        ("mode: tls_passthrough, routes: [{match: {sni: [a.b, x/y]}, to: app}]", "PXD-037", "x/y"),
        ("mode: tls_passthrough, routes: [{match: [a.b, x/y], to: app}]", "PXD-037", "x/y"),
        ("mode: tls_passthrough, no_sni: refuse, routes: [{match: [a.b, none], to: app}]", "PXD-039", "none"),
        ("mode: tls_passthrough, to: app, no_sni: deny", "PXD-034", "deny"),
        ("mode: udp, to: app, flow: {idle_timeout: none}", "PXD-032", "none"),
        ("mode: udp, to: app, flow: {idle_timeout: 10}", "PXD-031", "10"),
        ("mode: tcp, to: app, client_ip: {trust: 10.0.0.0/8}", "PXD-022", "{trust: 10.0.0.0/8}"),
        # of another mode
        ("mode: tcp, to: app, routes: [{to: b}]", "PXD-024", "routes"),
        ("mode: udp, to: app, respond: 200", "PXD-024", "respond"),
        ("mode: tls_passthrough, to: app, redirect: https", "PXD-024", "redirect"),
        ("mode: tcp, to: app, no_sni: refuse", "PXD-024", "no_sni"),
        ("mode: tcp, to: app, flow: {responses: 1}", "PXD-024", "responses"),
        ("mode: udp, to: app, flow: {keepalive: true}", "PXD-024", "keepalive"),
        ("mode: udp, to: app, limits: {buffer: 16KiB}", "PXD-024", "buffer"),
        ("mode: udp, to: app, limits: {header_timeout: 5s}", "PXD-024", "header_timeout"),
        ("mode: tcp, to: app, limits: {idle_timeout: 5s}", "PXD-024", "idle_timeout"),
        ("mode: tcp, to: app, client_ip: {proxy_protocol: true, trust: 10.0.0.0/8, header: X}", "PXD-024", "header"),
        ("to: app, flow: {idle_timeout: 5s}", "PXD-024", "flow"),
        ("mode: tls_passthrough, routes: [{match: {host: a.b}, to: app}]", "PXD-024", "host"),
        ("mode: tls_passthrough, routes: [{cache: on, to: app}]", "PXD-024", "cache"),
        # of none
        ("mode: tcp, to: app, flow: {response: 1}", "PXD-021", "response"),
        ("mode: tcp, to: app, tls: x", "PXD-021", "tls"),
    ],
)
def test_mistakes(text: str, code: str, at: str) -> None:
    """The one finding, and what it points at."""
    lines = f"listeners: {{z: {{bind: ':2', to: {{app: 1, b: 1}}}},\n  a: {{bind: ':1', {text}}}}}{REST}"
    [found] = load_text(lines, env={}).diagnostics
    assert found.span is not None
    assert (found.code, lines.splitlines()[found.span.line][found.span.column : found.span.end_column]) == (code, at)


def test_udp_has_no_unix_sockets() -> None:
    found = first_finding("listeners: {a: {bind: [':1', 'unix:/x'], mode: udp, to: app}}\nupstreams: {app: 127.0.0.1:1}\n")
    assert found == ("PXD-024", 1, 30)
    assert listener("mode: tcp, to: app").bind


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mode: tcp, to: app, routes: []", "`routes` has no meaning with `mode: tcp` write `to`"),
        ("mode: tcp, to: app, redirect: https", "`mode: http`"),
        ("mode: tcp, to: app, limits: {header_count: 9}", "for `http` and `cache`; allowed here: buffer, connections, header_timeout, per"),
        ("mode: tpc, to: app, limits: {header_count: 9}", "did you mean `tcp`?"),
        ("mode: tcp, to: app, flow: {idle_timeot: 1s}", "did you mean `idle_timeout`?"),
        ("mode: tcp, to: app, protocols: [h1]", "not in this version yet; allowed: allow, bind, client_ip, deny, flow, limits, mode, to"),
    ],
)
def test_the_way_out(text: str, says: str) -> None:
    errors = load_text(f"listeners: {{a: {{bind: ':1', {text}}}}}{REST}", env={}).errors
    assert any(says in f"{error.message} {error.help}" for error in errors), errors


def test_a_mode_that_is_refused_brings_no_further_errors() -> None:
    for mode in ("tpc", "[tcp]", "quic", ""):
        text = f"listeners: {{a: {{bind: ':1', mode: {mode}, to: app, no_such: 1}}, b: {{bind: ':1', to: app}}}}{REST}"
        codes = [error.code for error in load_text(text, env={}).errors]
        assert {"PXD-034", "PXD-030", "PXD-022"} & {*codes}
        assert "PXD-072" in codes, "its address is looked at all the same"
        assert {*codes} <= {"PXD-034", "PXD-030", "PXD-022", "PXD-072", "PXD-021"}


def test_the_canonical_form_loads_to_the_same() -> None:
    config = config_of(f"""
listeners:
  tcp: {{bind: ':1', mode: tcp, to: 127.0.0.1:7, allow: [10.0.0.0/8, unix], client_ip: {{proxy_protocol: true, trust: 10.0.0.0/8}}}}
  udp: {{bind: ':1', mode: udp, to: {{app: 1, b: 3}}, flow: {{responses: 1}}, limits: {{connections: none}}}}
  tls: {{bind: ':2', mode: tls_passthrough, routes: [{{match: [a.b, none], to: app}}], to: ['127.0.0.1:9'], no_sni: default}}
  web: {{bind: ':3', to: app, client_ip: {{proxy_protocol: true, trust: unix}}}}
{REST}""")
    again = load_text(canonical_text(config), env={})
    assert again.errors == []
    assert again.config == config
