from __future__ import annotations

import pytest

from proxyd.config import load_text

HEAD = "listen: ':1'\n"


def warnings(text: str) -> list[tuple[str, str]]:
    result = load_text(HEAD + text, env={})
    assert result.errors == []
    return [(item.code, item.path) for item in result.warnings]


def of_route(text: str) -> list[tuple[str, str]]:
    return warnings(f"routes: [{{{text}}}, {{to: {{app: 1, b: 1}}}}]\nupstreams: {{app: 'a:1', b: 'b:1'}}\n")


def of_upstream(text: str, servers: str = "['10.0.0.1:1', '10.0.0.2:1']", more: str = "") -> list[tuple[str, str]]:
    return warnings(f"to: app\nupstreams: {{app: {{servers: {servers}, {text}}}}}\n{more}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("match: POST /a, to: app, retry: {when: [reset, 503]}", [("PXD-104", "routes[0].retry.when")]),
        ("match: 'POST,PATCH /a', to: app, retry: {when: timeout}", [("PXD-104", "routes[0].retry.when")]),
        ("match: POST /a, to: app, retry: {when: [503], idempotency_key: true}", []),
        ("match: POST /a, to: app, retry: {when: [503], attempts: 0}", []),
        ("match: POST /a, to: app, retry: {when: [connect_failure, reset]}", []),
        ("match: 'POST,PUT /a', to: app, retry: {when: [503]}, hedge: p95", []),
        ("match: POST /a, to: app, hedge: p95", [("PXD-104", "routes[0].hedge")]),
        ("match: /a, to: app, mirror: app", [("PXD-105", "routes[0].mirror")]),
        ("match: /a, to: {app: 100, b: 0}, mirror: b", []),
        ("match: /a, to: app, sticky: {cookie: a}", [("PXD-106", "routes[0].sticky")]),
        ("match: /a, to: {app: 100, b: 0}, sticky: {cookie: a}", [("PXD-106", "routes[0].sticky")]),
        ("match: /a, to: {app: 1, b: 1}, sticky: {cookie: a}", []),
        ("match: /a/*, to: app, rewrite: {strip_prefix: /b}", [("PXD-106", "routes[0].rewrite.strip_prefix")]),
        ("match: /apix, to: app, rewrite: {strip_prefix: /api}", [("PXD-106", "routes[0].rewrite.strip_prefix")]),
        ("match: /a/*, to: app, rewrite: {replace_prefix: {from: /b, to: /c}}", [("PXD-106", "routes[0].rewrite.replace_prefix")]),
        ("match: /a/*, to: app, rewrite: {replace_prefix: {from: /, to: /c}}", []),
        ("match: {path: {regex: a}}, to: app, rewrite: {replace_prefix: {from: /b, to: /c}}", []),
        ("match: /api*, to: app, rewrite: {strip_prefix: /api}", []),
        ("match: /api/v1/*, to: app, rewrite: {strip_prefix: /api}", []),
        ("match: /api, to: app, rewrite: {strip_prefix: /api}", []),
    ],
)
def test_routes(text: str, expected: list[tuple[str, str]]) -> None:
    assert of_route(text) == expected


def test_a_listeners_own_routes_are_looked_at() -> None:
    text = "listeners: {own: {bind: ':2', routes: [{match: POST /a, to: app, hedge: p95}]}}\nto: app\nupstreams: {app: 'a:1'}\n"
    assert warnings(text) == [("PXD-104", "listeners.own.routes[0].hedge")]


@pytest.mark.parametrize(
    ("text", "servers", "more", "expected"),
    [
        ("", "[{address: 'a:1', backup: true}]", "", [("PXD-107", "upstreams.app.servers")]),
        ("", "[{address: 'a:1', zone: b}]", "", [("PXD-106", "upstreams.app.servers[0].zone")]),
        ("", "[{address: 'a:1', zone: b}]", "runtime: {zone: a}", []),
        ("zones: none", "[{address: 'a:1', zone: b}]", "", []),
        ("zones: {cross: false}", "['a:1']", "runtime: {zone: a}", [("PXD-106", "upstreams.app.zones.cross")]),
        ("zones: {cross: false}", "[{address: 'a:1', zone: b}]", "runtime: {zone: a}", [("PXD-119", "upstreams.app.zones.cross")]),
        ("zones: {cross: false}", "[{address: 'a:1', zone: b}]", "runtime: {zone: b}", []),
        ("zones: {cross: false}", "[{address: 'a:1', zone: b}, 'b:1']", "runtime: {zone: a}", []),
        ("zones: {cross: false}", "[{address: 'a:1', zone: b}]", "", [("PXD-106", "upstreams.app.servers[0].zone")]),
        ("circuit: {max_pending: 5}", "['a:1']", "", [("PXD-106", "upstreams.app.circuit.max_pending")]),
        ("circuit: {max_pending: 5}", "[{address: 'a:1', max_requests: 1}]", "", []),
        ("circuit: {max_pending: 5, adaptive: on}", "['a:1']", "", []),
        ("slow_start: 30s", "['10.0.0.1:1']", "", [("PXD-106", "upstreams.app.slow_start")]),
        ("slow_start: 30s", "['app.internal:1']", "", []),
        ("slow_start: 30s", "['10.0.0.1:1', '10.0.0.2:1']", "", []),
        ("sticky: source, balance: ip_hash", "['a:1']", "", [("PXD-106", "upstreams.app.sticky")]),
        ("sticky: source", "['a:1']", "", []),
    ],
)
def test_upstreams(text: str, servers: str, more: str, expected: list[tuple[str, str]]) -> None:
    assert of_upstream(text, servers, more) == expected


def test_one_sticky_cookie_for_two_upstreams() -> None:
    def both(one: str, two: str) -> list[tuple[str, str]]:
        servers = f"{{a: {{servers: 'a:1', sticky: {one}}}, b: {{servers: 'b:1', sticky: {two}}}}}"
        return warnings(f"routes: [{{match: /a, to: a}}, {{to: b}}]\nupstreams: {servers}\n")

    assert both("cookie", "cookie") == [("PXD-108", "upstreams.b.sticky")]
    assert both("cookie", "{cookie: other}") == both("{cookie: {path: /a}}", "{cookie: {path: /b}}") == both("cookie", "source") == []
