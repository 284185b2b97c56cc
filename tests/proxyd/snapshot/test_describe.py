from __future__ import annotations

import pytest

from proxyd.snapshot.describe import action_text, balance_text, match_text, targets
from tests.support.config import config_of


@pytest.mark.parametrize(
    ("route", "match", "action", "upstreams"),
    [
        ("{to: a}", "*", "to a", ("a",)),
        ("{match: 'GET,HEAD example.com/x/*', to: {a: 95, b: 5}}", "GET,HEAD example.com/x/*", "to a 95, b 5", ("a", "b")),
        ("{match: /x, to: {a: 1, b: 0}}", "/x", "to a 1, b 0", ("a",)),
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
        upstreams: {{a: {{servers: [10.0.0.1:80]}}, b: {{servers: [10.0.0.2:80]}}}}
    """)
    assert (match_text(config.routes[0]), action_text(config.routes[0]), targets(config.routes[0])) == (match, action, upstreams)


@pytest.mark.parametrize(("balance", "text"), [("p2c", "p2c"), ("{hash: 'header:X-User'}", "hash header:X-User")])
def test_a_balancer_in_words(balance: str, text: str) -> None:
    config = config_of(f"{{listen: ':80', to: a, upstreams: {{a: {{servers: ['10.0.0.1:80'], balance: {balance}}}}}}}")
    assert balance_text(config.upstreams["a"].balance) == text
