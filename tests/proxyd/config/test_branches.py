from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.model import Route
from tests.support.config import config_of, first_finding


def route(text: str) -> Route:
    """A route with two branches, of a config with one upstream more."""
    config = config_of(f"""
        listen: ':1'
        routes: [{{match: /a, to: {{a: 95, b: 5}}, {text}}}, {{to: c}}]
        upstreams: {{a: 'a:1', b: 'b:1', c: 'c:1'}}
    """)
    return config.routes[0]


def test_in_all_their_forms() -> None:
    pins = [route("sticky: {cookie: x}").sticky, route("sticky: {header: X-User}").sticky]
    assert [pin and (pin.cookie, pin.header) for pin in pins] == [("x", None), (None, "X-User")]
    assert route("mirror: c").mirror == route("mirror: {to: c, sample: 100%}").mirror
    mirror = route("mirror: {to: c, sample: 0.1%, max_in_flight: 5}").mirror
    assert mirror is not None
    assert (mirror.to, mirror.sample, mirror.max_in_flight) == ("c", 1_000, 5)
    assert route("failover: c").failover == route("failover: {to: c, when: [no_server, connect_failure]}").failover
    failover = route("failover: {to: c, when: 5xx}").failover
    assert failover is not None
    assert failover.when == ("500-599",)


def test_a_branch_may_step_in_for_another() -> None:
    assert route("failover: b").failover is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to: app, sticky: {}", ("PXD-022", 18)),
        ("to: app, sticky: {cookie: a, header: B}", ("PXD-024", 30)),
        ("to: app, sticky: source", ("PXD-030", 18)),
        ("to: app, sticky: {cookie: 'a b'}", ("PXD-038", 27)),
        ("to: app, mirror: {sample: 1%}", ("PXD-022", 10)),
        ("to: app, mirror: {to: c, sample: 0%}", ("PXD-033", 34)),
        ("to: app, mirror: {to: c, sample: 1}", ("PXD-031", 34)),
        ("to: app, mirror: d", ("PXD-050", 18)),
        ("to: app, failover: d", ("PXD-050", 20)),
        ("to: app, failover: {to: d}", ("PXD-050", 25)),
        ("to: app, failover: app", ("PXD-052", 20)),
        ("to: {app: 100, c: 0}, failover: app", ("PXD-052", 33)),
        ("to: app, failover: {to: c, when: []}", ("PXD-022", 28)),
        ("to: app, failover: {to: c, when: [down]}", ("PXD-034", 35)),
        ("respond: 200, mirror: c", ("PXD-024", 15)),
        ("redirect: /, failover: c", ("PXD-024", 14)),
        ("respond: 200, sticky: {cookie: a}", ("PXD-024", 15)),
        ("respond: 200, hedge: p95", ("PXD-024", 15)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"routes: [{{match: /x,\n{text}}}, {{to: {{app: 1, c: 1}}}}]\nlisten: :1\nupstreams: {{app: 'a:1', c: 'c:1'}}\n")
    assert found == (expected[0], 2, expected[1])


def test_copies_have_no_proxy_header() -> None:
    text = "listen: ':1'\nroutes: [{{to: app, mirror: {}}}]\nupstreams: {{app: {{servers: 'a:1', {}}}, c: {{servers: 'c:1', {}}}}}\n"
    with_header, without = "proxy_protocol: v2", "proxy_protocol: none"
    assert first_finding(text.format("c", without, with_header)) == ("PXD-024", 2, 28)
    assert first_finding(text.format("{to: c, sample: 1%}", without, "proxy_protocol: v1")) == ("PXD-024", 2, 33)
    assert load_text(text.format("c", with_header, without), env={}).diagnostics == [], "the requests themselves have one"
