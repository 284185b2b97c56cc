from __future__ import annotations

import pytest

from proxyd.config import load_text

POLICIES = "policies: {small: {compress: on}, best: {compress: br}, office: {access: {deny: all}}}\ndefaults: {use: office}\n"
UPSTREAMS = "upstreams: {app: 'a:1', b: 'b:1', c: {servers: ['c:1', 'c:2'], sticky: {app_cookie: SID}}}\n"


def warnings(text: str, **env: str) -> list[tuple[str, str]]:
    result = load_text(text, env=env)
    assert result.errors == []
    return [(item.code, item.path) for item in result.warnings if item.code not in ("PXD-101", "PXD-102")]


def of_route(text: str, match: str = "h.example/*") -> list[tuple[str, str]]:
    return warnings(f"listen: ':1'\nroutes: [{{match: {match}, {text}}}]\n{UPSTREAMS}{POLICIES}")


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        ("POST /a", "to: app, cache: on", [("PXD-106", "routes[0].cache")]),
        ("'GET,POST /a'", "to: app, cache: on", []),
        ("HEAD /a", "to: app, cache: on", []),
        ("/a/*", "to: app, cache: {key: [host, query]}", [("PXD-109", "routes[0].cache.key")]),
        ("/a", "to: app, cache: {key: [host, query]}", []),
        ("/a/*", "to: app, cache: {key: [path]}", [("PXD-109", "routes[0].cache.key")]),
        ('"*.h.example/a/*"', "to: app, cache: {key: [path]}", [("PXD-109", "routes[0].cache.key")]),
        ("h.example/a/*", "to: app, cache: {key: [path]}", []),
        ("/*", "to: app, cache: {ttl: {override: 1h}}", [("PXD-110", "routes[0].cache.ttl.override")]),
        ("h.example/*", "to: app, cache: {ttl: {override: 1h}}", [("PXD-110", "routes[0].cache.ttl.override")]),
        ("/*", "to: app, cache: {ttl: {override: 1h}, bypass: 'cookie:sid'}", []),
        ("/*", "to: app, cache: {ttl: {override: 1h}, key: [host, path, 'cookie:sid']}", []),
        ("/static/*", "to: app, cache: {ttl: {override: 1h}}", []),
        ("/", "to: app, cache: {ttl: {override: 1h}}", []),
        ("/*", "to: app, cache: 1h", []),
        ("/*", "to: app, cache: {ttl: 1h, heuristic: 10%}", [("PXD-106", "routes[0].cache.heuristic")]),
        ("/a", "to: app, cache: {ttl: {override: 1h}, heuristic: 10%}", [("PXD-106", "routes[0].cache.heuristic")]),
        ("/a", "to: app, cache: {ttl: {max: 1h}, heuristic: 10%}", []),
        ("/a", "to: c, cache: {set_cookie: strip}", [("PXD-110", "routes[0].cache.set_cookie")]),
        ("/a", "to: app, cache: {set_cookie: strip}", []),
        ("/a", "to: c, cache: on", []),
        ("/a", "to: {app: 1, b: 1}, sticky: {cookie: p}, cache: on", [("PXD-111", "routes[0].cache")]),
        ("/a", "to: {app: 1, b: 1}, sticky: {cookie: p}, cache: {key: [host, path, 'cookie:p']}", []),
        ("/a", "to: {app: 1, b: 1}, sticky: {cookie: p}, cache: {key: [host, path, 'cookie:q']}", [("PXD-111", "routes[0].cache")]),
        ("/a", "to: {app: 1, b: 1}, sticky: {header: X-P}, cache: {key: [host, path, 'header:x-p']}", []),
        ("/a", "to: {app: 1, b: 1}, cache: on", []),
    ],
)
def test_routes(match: str, text: str, expected: list[tuple[str, str]]) -> None:
    assert of_route(text, match) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to: app, use: small", [("PXD-106", "routes[0].use[0]")]),
        ("to: app, use: [office, small]", [("PXD-025", ""), ("PXD-106", "routes[0].use[1]")][1:]),
        ("respond: 200, use: small", [("PXD-106", "routes[0].use[0]")]),
        ("to: app, use: small, cache: on", []),
        ("to: app, use: [small, best], cache: on", [("PXD-106", "routes[0].use[0]")]),
    ],
)
def test_compressing_policies(text: str, expected: list[tuple[str, str]]) -> None:
    assert of_route(text) == expected


def test_a_compressing_policy_for_all_routes() -> None:
    text = f"listen: ':1'\nroutes: [{{match: /a, to: app}}, {{to: app%s}}]\n{UPSTREAMS}policies: {{small: {{compress: on}}}}\n"
    text += "defaults: {use: small}\n"
    assert warnings(text % "") == [("PXD-106", "defaults.use[0]")]
    assert warnings(text % ", cache: on") == []


def test_a_listeners_own_routes_are_looked_at() -> None:
    text = "listeners: {own: {bind: ':2', routes: [{match: POST /a, to: app, cache: on}]}}\nupstreams: {app: 'a:1'}\n"
    assert warnings(text) == [("PXD-106", "listeners.own.routes[0].cache")]


@pytest.mark.parametrize(
    ("cache", "route", "expected"),
    [
        ("{memory: 1GiB}", "on", []),
        ("{memory: 1GiB}", "none", [("PXD-106", "cache")]),
        ("{memory: 256MiB}", "none", []),
        ("{shared: 'a:1'}", "none", [("PXD-106", "cache")]),
        ("{shared: 'a:1'}", "on", []),
        ("{shared: 'a:1'}", "{share: false}", [("PXD-106", "cache.shared")]),
        ("{shared: 'a:1', tiers: memory}", "on", [("PXD-106", "cache.shared")]),
        ("{aside: {ttl: 5s}}", "on", [("PXD-106", "cache.aside")]),
        ("{purge: {allow: [10.0.0.0/8, 0.0.0.0/0]}}", "on", [("PXD-112", "cache.purge.allow[1]")]),
        ("{purge: {allow: '::/0'}}", "on", [("PXD-112", "cache.purge.allow[0]")]),
        ("{shared: {redis: 'redis://:p@a'}}", "on", [("PXD-113", "cache.shared.redis")]),
        ("{shared: {redis: 'redis://:${env:PW}@a'}}", "on", []),
        ("{shared: {redis: 'redis://me@a'}}", "on", []),
    ],
)
def test_the_section(cache: str, route: str, expected: list[tuple[str, str]]) -> None:
    text = f"listen: ':1'\nroutes: [{{to: app, cache: {route}}}]\nupstreams: {{app: 'a:1'}}\ncache: {cache}\n"
    assert warnings(text, PW="secret") == expected


def test_a_cache_on_a_route_that_no_listener_has_stores_nothing() -> None:
    text = "listeners: {own: {bind: ':2', respond: 404}}\nroutes: [{to: app, cache: on}]\nupstreams: {app: 'a:1'}\ncache: {memory: 1GiB}\n"
    assert warnings(text) == [("PXD-123", "routes"), ("PXD-106", "cache")]


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("'127.0.0.1:1'", []),
        ("['[::1]:1', 'unix:/run/a.sock']", []),
        ("['127.0.0.1:1', '10.0.0.1:1']", [("PXD-112", "listeners.store.bind[1]")]),
        ("':1'", [("PXD-112", "listeners.store.bind[0]")]),
    ],
)
def test_the_store_for_applications_has_no_lock(bind: str, expected: list[tuple[str, str]]) -> None:
    """It needs no routes, and it is what `aside` and `shared` may be there for."""
    text = f"listeners: {{store: {{bind: {bind}, mode: cache}}}}\ncache: {{aside: {{ttl: 5s}}, shared: 'a:1'}}\n"
    assert warnings(text) == expected
