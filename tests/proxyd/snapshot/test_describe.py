from __future__ import annotations

import pytest

from proxyd.snapshot.describe import action_text, balance_text, match_text, reachable, targets
from tests.support.config import config_of


@pytest.mark.parametrize(
    ("route", "match", "action", "upstreams"),
    [
        ("{to: a}", "*", "to a", ("a",)),
        ("{match: 'GET,HEAD example.com/x/*', to: {a: 95, b: 5}}", "GET,HEAD example.com/x/*", "to a 95, b 5", ("a", "b")),
        ("{match: /x, to: {a: 1, b: 0}}", "/x", "to a 1, b 0", ("a",)),
        ("{to: {a: 1, b: 1}, sticky: {cookie: x}, failover: c, mirror: {to: c, sample: 0.5%}}", "*",
         "to a 1, b 1 (sticky by cookie x, else c, a copy of 0.5% to c)", ("a", "b")),
        ("{to: {a: 1, b: 1}, sticky: {header: X-U}, mirror: c}", "*", "to a 1, b 1 (sticky by header X-U, a copy to c)", ("a", "b")),
        ("{match: {path: {regex: ^/v1}, header: {X-A: b}}, to: a}", "~^/v1 (header X-A = b)", "to a", ("a",)),
        ("{to: a, failover: c, cache: 10m}", "*", "to a (cached, else c)", ("a",)),
        ("{redirect: https}", "*", "redirect 308 to https://{host}{path}{query}", ()),
        ("{respond: 404}", "*", "respond 404", ()),
        ("{match: /ready, respond: {probe: ready}}", "/ready", "respond with proxyd's readiness", ()),
        ("{match: /live, respond: {probe: live}}", "/live", "respond with proxyd's liveness", ()),
    ],
)
def test_a_route_in_words(route: str, match: str, action: str, upstreams: tuple[str, ...]) -> None:
    config = config_of(f"""
        listen: :80
        routes: [{route}]
        upstreams: {{a: {{servers: [10.0.0.1:80]}}, b: {{servers: [10.0.0.2:80]}}, c: {{servers: [10.0.0.3:80]}}}}
    """)
    assert (match_text(config.routes[0]), action_text(config.routes[0]), targets(config.routes[0])) == (match, action, upstreams)


@pytest.mark.parametrize(("balance", "text"), [
        ("p2c", "p2c"),
        ("ip_hash", "hash client.net"),
        ("{hash: 'header:X-User'}", "hash header:X-User"),
        ("{maglev: path, bounded_load: 1.25}", "maglev path, at most 1.25 of the mean"),
    ])
def test_a_balancer_in_words(balance: str, text: str) -> None:
    config = config_of(f"{{listen: ':80', to: a, upstreams: {{a: {{servers: ['10.0.0.1:80'], balance: {balance}}}}}}}")
    assert balance_text(config.upstreams["a"].balance) == text


def test_what_a_route_can_reach() -> None:
    config = config_of("""
        listen: :80
        routes: [{to: {a: 1, b: 0}, failover: c, mirror: d}]
        upstreams: {a: 10.0.0.1:80, b: 10.0.0.2:80, c: 10.0.0.3:80, d: 10.0.0.4:80}
    """)
    assert reachable(config.routes[0]) == ("a", "c", "d")


def test_the_store_for_applications() -> None:
    config = config_of("{listeners: {store: {bind: '127.0.0.1:1', mode: cache}}}")
    route, = config.routes_of(config.listeners["store"])
    assert (route.name, match_text(route), action_text(route), reachable(route)) == (
        "cache", "/cache/*", "serve the store to applications", (),
    )
