from __future__ import annotations

import pytest

from proxyd.config import load_text


def doubts(text: str) -> list[tuple[str, str]]:
    return [(item.code, item.path) for item in load_text(text, env={}).diagnostics]


@pytest.mark.parametrize(
    ("bind", "server", "found"),
    [
        (":8080", "127.0.0.1:8080", True),
        (":8080", "localhost:8080", True),
        (":8080", "[::1]:8080", True),
        ("0.0.0.0:8080", "127.0.0.1:8080", True),
        ("0.0.0.0:8080", "[::1]:8080", False),
        ("127.0.0.1:8080", "127.0.0.1:8080", True),
        ("127.0.0.1:8080", "127.0.0.2:8080", False),
        ("192.0.2.1:8080", "192.0.2.1:8080", True),
        (":8080", "192.0.2.1:8080", False),        # whether that is this machine is not known
        (":8080", "app.internal:8080", False),
        (":8080", "127.0.0.1:8081", False),
        ("unix:/run/a.sock", "unix:/run/a.sock", True),
        ("unix:/run/a.sock", "unix:/run/b.sock", False),
        ("unix:/run/a.sock", "127.0.0.1:8080", False),
    ],
)
def test_a_server_that_is_our_own_listener(bind: str, server: str, found: bool) -> None:
    text = f"listen: '{bind}'\nto: app\nupstreams: {{app: {{servers: ['{server}']}}}}\n"
    assert doubts(text) == ([("PXD-120", "upstreams.app.servers[0].address")] if found else [])


def test_one_listener_behind_another_is_fine_as_long_as_nothing_leads_back() -> None:
    chain = """
        listeners: {web: {bind: ":80", to: inner}, inside: {bind: "127.0.0.1:81", to: app}}
        upstreams: {inner: {servers: ["127.0.0.1:81"]}, app: {servers: ["10.0.0.1:80"]}}
    """
    assert doubts(chain) == []
    assert doubts(chain.replace("10.0.0.1:80", "127.0.0.1:80")) == [
        ("PXD-120", "upstreams.inner.servers[0].address"), ("PXD-120", "upstreams.app.servers[0].address"),
    ]


def test_a_mirror_leads_back_too() -> None:
    text = """
        listen: ":80"
        routes: [{to: app, mirror: copy}]
        upstreams: {app: {servers: ["10.0.0.1:80"]}, copy: {servers: ["127.0.0.1:80"]}}
    """
    assert doubts(text) == [("PXD-120", "upstreams.copy.servers[0].address")]


def test_a_port_of_udp_is_another_one() -> None:
    text = "listeners: {dns: {bind: ':53', mode: udp, to: '127.0.0.1:5353'}, web: {bind: ':80', to: '127.0.0.1:53'}}\n"
    assert doubts(text) == []


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ("{match: /*, redirect: '/new{path}'}", True),
        ("{redirect: '/new'}", True),
        ("{match: /old/*, redirect: '/old/new'}", True),
        ("{match: /old, redirect: '{path}'}", True),
        ("{match: /old/*, redirect: '/new{path}'}", False),
        ("{match: /old, redirect: '/old/x'}", False),
        ("{match: /*, redirect: 'https://{host}{path}'}", False),      # another scheme, which somebody else may serve
        ("{match: /new, respond: 204}, {match: /*, redirect: '/new{query}'}", False),
        ("{match: 'GET /new', respond: 204}, {match: /*, redirect: '/new'}", False),
        ("{match: {path: /*, header: {X-A: b}}, redirect: '/new'}", False),
    ],
)
def test_a_redirect_to_its_own_route(routes: str, found: bool) -> None:
    codes = [code for code, _ in doubts(f"listen: ':80'\nroutes: [{routes}]\n")]
    assert codes == (["PXD-124"] if found else [])


def test_top_level_routes_that_no_listener_uses() -> None:
    text = "listeners: {web: {bind: ':80', respond: 204}}\nroutes: [{match: /x, respond: 200}]\n"
    assert doubts(text) == [("PXD-123", "routes")]
    assert doubts(text.replace("respond: 204}", "respond: 204}, other: {bind: ':81'}")) == []


def test_everybody_is_believed() -> None:
    text = "listeners: {web: {bind: ':80', respond: 204, client_ip: {trust: [10.0.0.0/8, '0.0.0.0/0']}}}\n"
    assert doubts(text) == [("PXD-112", "listeners.web.client_ip.trust[1]")]
