from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from proxyd.config.address import BindAddress
from proxyd.snapshot.build import build_spec, used_upstreams
from proxyd.snapshot.build_upstreams import PROCESS_KEY
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    ConsultAction,
    ErrorPage,
    HeadersFilter,
    HedgeSpec,
    ProxyAction,
    RedirectAction,
    RespondAction,
    RetrySpec,
    RouteSpec,
    SnapshotSpec,
    TargetSpec,
)
from tests.support.config import config_of

RETRY = RetrySpec(backoff_ms=25, retry_after_max_ms=2_000)     # what the model says; an engine alone would not wait


def build(text: str, addresses: dict[str, tuple[str, ...]] | None = None) -> SnapshotSpec:
    config, store, listeners = config_of(text), Store(), dict[tuple[str, str], Listener]()

    def listen(name: str, bind: BindAddress) -> Listener:
        if (name, str(bind)) not in listeners:
            listeners[(name, str(bind))] = Listener(name, str(bind), [os.open(os.devnull, os.O_RDONLY)], True)
        return listeners[(name, str(bind))]

    return build_spec(config, members_of(config, addresses or {}), listen, store, generation=7, config_hash="abc")


def route(text: str, rest: str = "") -> RouteSpec:
    """The first route of a config with upstreams a and b and a policy or two."""
    return build(f"""
        listen: :80
        routes: [{text}]
        policies:
          office: {{access: {{allow: [10.0.0.0/8], deny: [10.9.0.0/16]}}}}
          mark: {{headers: {{request: {{set: {{X-Env: prod, X-Two: "2"}}}}, response: {{set: {{X-By: proxyd}}}}}}}}
        upstreams: {{a: {{servers: [10.0.0.1:80]}}, b: {{servers: [10.0.0.2:80]}}}}
        {rest}
    """).tables[0][0]


def test_the_whole_of_a_small_config() -> None:
    spec = build("{listen: [':80', 'unix:/run/w.sock'], to: ['10.0.0.1:80', '10.0.0.2:80']}")
    assert (spec.generation, spec.config_hash) == (7, "abc")
    assert [(item.name, item.listener.address, item.table) for item in spec.listeners] == [
        ("default", ":80", 0),
        ("default", "unix:/run/w.sock", 0),
    ]
    assert len(spec.tables) == 1
    assert [(stats.listener, stats.route) for stats in spec.listeners[0].stats] == [("default", "default"), ("default", "-")]
    assert spec.listeners[0].stats == spec.listeners[1].stats, "addresses of one listener count together"
    upstream, = spec.upstreams
    assert [(member.server.label, member.weight, member.tier) for member in upstream.members] == [
        ("10.0.0.1:80", 1, 0),
        ("10.0.0.2:80", 1, 0),
    ]


@pytest.mark.parametrize(
    ("match", "host", "path", "exact", "methods"),
    [
        ("/*", "", "", False, set()),
        ("/api/*", "", "/api/", False, set()),
        ("/robots.txt", "", "/robots.txt", True, set()),
        ("'*.example.com/*'", "*.example.com", "", False, set()),
        ("GET,POST example.com/x", "example.com", "/x", True, {"GET", "POST"}),
    ],
)
def test_what_a_route_matches(match: str, host: str, path: str, exact: bool, methods: set[str]) -> None:
    found = route(f"{{match: {match}, to: a}}" if match.startswith("'") else f"{{match: '{match}', to: a}}")
    assert (found.host, found.path, found.path_exact, set(found.methods)) == (host, path, exact, methods)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("to: a", ProxyAction((TargetSpec(0, 100, retry=RETRY),))),
        ("to: {b: 95, a: 5}", ProxyAction((TargetSpec(1, 95, retry=RETRY), TargetSpec(0, 5, retry=RETRY)))),
        ("to: a, timeout: {first_byte: 1s, between_bytes: 2s, total: 3s, tunnel_idle: none, per_try: 4s}",
         ProxyAction((TargetSpec(0, 100, retry=RETRY),), first_byte_ms=1000, between_bytes_ms=2000, total_ms=3000, per_try_ms=4000,
                     tunnel_idle_ms=0)),
        ("to: a, hedge: 200ms", ProxyAction((TargetSpec(0, 100, retry=RETRY),), hedge=HedgeSpec(200))),
        ("to: a, hedge: {after: p95, max: 2}", ProxyAction((TargetSpec(0, 100, retry=RETRY),), hedge=HedgeSpec(0, 2))),
        ("redirect: {to: 'https://x{path}{query}', status: 301}", RedirectAction(301, "https://x{path}{query}")),
        ("respond: {status: 200, body: 'hé', content_type: text/x, headers: {X-A: 1}}",
         RespondAction(200, "hé".encode(), "text/x", b"X-A: 1\r\n")),
        ("respond: {probe: ready}", ConsultAction("ready")),
    ],
)
def test_what_a_route_does(action: str, expected: Any) -> None:
    assert route(f"{{{action}}}").action == expected


def test_policies_become_filters_in_order() -> None:
    assert route("{to: a, use: [mark]}", "defaults: {use: [office]}").filters == (
        AccessFilter(("10.0.0.0/8",), ("10.9.0.0/16",), False, "office"),
        HeadersFilter(b"X-Env: prod\r\nX-Two: 2\r\n", b"X-By: proxyd\r\n"),
    )


def test_a_listener_with_its_limits() -> None:
    listener = build("""
        listeners:
          web:
            bind: :80
            client_ip: {header: X-Real-IP, trust: [10.0.0.0/8, unix]}
            limits: {header_size: 32KiB, header_count: 50, uri_length: 4KiB, buffer: 64KiB, body_size: 10MiB,
                     header_timeout: 5s, idle_timeout: 60s, min_body_rate: none, per_client: 200}
            respond: 404
    """).listeners[0]
    assert (listener.client_ip_header, listener.trust) == ("X-Real-IP", ("10.0.0.0/8", "unix"))
    assert (listener.header_size, listener.header_count, listener.uri_length, listener.buffer) == (32768, 50, 4096, 65536)
    assert (listener.body_size, listener.header_ms, listener.idle_ms) == (10 << 20, 5000, 60000)
    assert (listener.min_body_rate, listener.per_client) == (0, 200)


def test_the_defaults_of_model_and_spec_are_the_same() -> None:
    """A default stands in two places: a slip in one of them would be silent. (`buffer` and `per_client` are always told, see the model.)"""
    spec = build("{listen: ':80', to: '10.0.0.1:80'}")
    listener, upstream, action = spec.listeners[0], spec.upstreams[0], spec.tables[0][0].action
    plain = type(listener)(listener.listener, "default", 0, listener.stats, buffer=listener.buffer, per_client=listener.per_client)
    assert listener == plain
    assert upstream == type(upstream)(upstream.name, upstream.state, upstream.members)
    assert action == ProxyAction((TargetSpec(0, retry=RETRY),))


def test_an_upstream_with_its_options() -> None:
    spec = build("""
        listen: :80
        to: app
        upstreams:
          app:
            servers: [{address: "10.0.0.1:80", weight: 3}, {address: "unix:/run/a.sock", backup: true}]
            balance: {hash: "header:X-User"}
            health: {passive: {consecutive_5xx: 9, eject: 10s, max_ejected: 30%}}
            pool: {max: 5, idle: 7s}
            timeout: {connect: 1s}
            retry: {attempts: 0}
    """)
    upstream, action = spec.upstreams[0], spec.tables[0][0].action
    assert (upstream.balance, upstream.hash_key, upstream.hash_name) == ("hash", "header", "x-user")
    assert (upstream.passive_failures, upstream.eject_ms, upstream.max_ejected_percent) == (9, 10_000, 30)
    assert (upstream.pool_max, upstream.pool_idle_ms) == (5, 7000)
    assert isinstance(action, ProxyAction)
    assert action.targets == (TargetSpec(0, 100, connect_ms=1000, retry=replace(RETRY, attempts=0)),)
    assert [(member.server.label, member.weight, member.tier) for member in upstream.members] == [
        ("10.0.0.1:80", 3, 0),
        ("unix:/run/a.sock", 1, 1),
    ]


def test_passive_none_never_ejects() -> None:
    spec = build("{listen: ':80', to: app, upstreams: {app: {servers: ['10.0.0.1:80'], health: {passive: none}}}}")
    assert spec.upstreams[0].passive_failures == 0


def test_a_name_without_an_address_is_no_member() -> None:
    text = "{listen: ':80', to: app, upstreams: {app: {servers: ['a.internal:80', '10.0.0.1:80']}}}"
    without, with_one = build(text), build(text, {"a.internal": ("10.0.0.9",)})
    assert [member.server.label for member in without.upstreams[0].members] == ["10.0.0.1:80"]
    assert [member.server.label for member in with_one.upstreams[0].members] == ["10.0.0.9:80", "10.0.0.1:80"]


def test_a_routes_own_connect_timeout_and_retries_go_before_the_upstreams() -> None:
    spec = build("""
        listen: :80
        routes:
          - {match: /a, to: app}
          - {match: /b, to: app, timeout: {connect: 1s}}
          - {match: /c, to: {app: 1, other: 2}, retry: {attempts: 0}}
        upstreams: {app: {servers: [10.0.0.1:80], timeout: {connect: 2s}, retry: {attempts: 5}}, other: 10.0.0.2:80}
    """)
    actions = [entry.action for entry in spec.tables[0]]
    assert [action.targets for action in actions if isinstance(action, ProxyAction)] == [
        (TargetSpec(0, 100, 2000, replace(RETRY, attempts=5)),),
        (TargetSpec(0, 100, 1000, replace(RETRY, attempts=5)),),
        (TargetSpec(0, 1, 2000, replace(RETRY, attempts=0)), TargetSpec(1, 2, 3000, replace(RETRY, attempts=0))),
    ]
    assert [upstream.name for upstream in spec.upstreams] == ["app", "other"]


def test_pages_for_requests_without_a_route() -> None:
    spec = build("""
        listen: ':80'
        defaults: {error_pages: {4xx: {body: a}, 404: {body: b, intercept: true}}}
        routes: [{respond: 200, error_pages: {400-499: {body: c}}}]
    """)
    known = ErrorPage(((404, 404),), b"b", intercept=True), ErrorPage(((400, 499),), b"a")
    assert spec.listeners[0].error_pages == known
    assert spec.tables[0][0].error_pages == (ErrorPage(((400, 499),), b"c"), *known)


def test_the_key_of_sticky_cookies() -> None:
    config = config_of("{listen: ':80', to: app, upstreams: {app: {servers: 10.0.0.1:80, sticky: cookie}}}")

    def one(sticky_key: bytes = PROCESS_KEY) -> bytes:
        listener = Listener("default", ":80", [os.open(os.devnull, os.O_RDONLY)], True)
        spec = build_spec(
            config, members_of(config, {}), lambda name, bind: listener, Store(), generation=1, config_hash="", sticky_key=sticky_key
        )
        return spec.upstreams[0].members[0].sticky_id

    assert one(sticky_key=b"a") == one(sticky_key=b"a") != one(sticky_key=b"b")
    assert one() == one() != one(sticky_key=b"a"), "the process has one of its own"


def test_listeners_without_routes_of_their_own_share_a_table() -> None:
    spec = build("""
        listeners: {a: {bind: ":80"}, b: {bind: ":81"}, c: {bind: ":82", respond: 404}}
        to: 10.0.0.1:80
    """)
    assert [listener.table for listener in spec.listeners] == [0, 0, 1]
    assert [[stats.listener for stats in listener.stats] for listener in spec.listeners] == [["a", "a"], ["b", "b"], ["c", "c"]]


def test_upstreams_in_use_are_those_that_a_request_can_reach() -> None:
    config = config_of("""
        listeners: {web: {bind: ":80"}, own: {bind: ":81", to: d}}
        routes: [{match: /x, to: {a: 100, b: 0}, mirror: e}, {to: c, failover: f}]
        upstreams:
          a: {servers: [10.0.0.1:80]}
          b: {servers: [10.0.0.2:80]}
          c: {servers: [10.0.0.3:80]}
          d: {servers: [10.0.0.4:80]}
          e: {servers: [10.0.0.5:80]}
          f: {servers: [10.0.0.6:80]}
    """)
    assert used_upstreams(config) == ("a", "c", "d", "e", "f")


@pytest.mark.parametrize(("section", "share"), [
    ("", None),
    ("tracing: 'http://127.0.0.1:4318'", 0.01),
    ("tracing: {otlp: 'http://127.0.0.1:4318', sample: 0.5%}", 0.005),
    ("tracing: {otlp: 'http://127.0.0.1:4318', sample: 100%}", 1.0),
])
def test_how_many_requests_are_traced(section: str, share: float | None) -> None:
    assert build(f"listen: 127.0.0.1:8080\nto: [127.0.0.1:9001]\n{section}\n").trace_share == share
