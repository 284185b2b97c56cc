from __future__ import annotations

import pytest

from proxyd.snapshot.build_routes import build_retry, build_route
from proxyd.snapshot.store import Store
from proxyd_ext.snapshot.spec import (
    Condition,
    FailoverSpec,
    HeadersFilter,
    MirrorSpec,
    ProxyAction,
    RetrySpec,
    RewriteSpec,
    RouteSpec,
    SplitSpec,
    TargetSpec,
)
from tests.support.config import config_of, upstream_of

RETRY = RetrySpec(backoff_ms=25, retry_after_max_ms=2_000)


def route(text: str, match: str = "/x/*") -> RouteSpec:
    """The first route of a config with three upstreams."""
    config = config_of(f"""
        listen: :80
        routes: [{{match: {match}, {text}}}, {{to: {{a: 1, b: 1, c: 1}}}}]
        upstreams: {{a: 10.0.0.1:80, b: 10.0.0.2:80, c: {{servers: 10.0.0.3:80, timeout: {{connect: 1s}}}}}}
    """)
    return build_route(config, config.routes[0], {"a": 0, "b": 1, "c": 2}, Store().handles(), None)


def action(text: str, match: str = "/x/*") -> ProxyAction:
    found = route(text, match).action
    assert isinstance(found, ProxyAction)
    return found


def test_conditions() -> None:
    found = route(
        "to: a",
        "{host: {regex: '^a'}, path: {regex: b}, source: [10.0.0.0/8], header: {X-A: c, X-B: {present: false}}, "
        "query: {q: {regex: d, not: true}}}",
    )
    assert (found.host, found.path, found.path_exact) == ("", "", False)
    assert found.conditions == (
        Condition("host", "regex", value="^a"),
        Condition("path", "regex", value="b"),
        Condition("source", "network", networks=("10.0.0.0/8",)),
        Condition("header", "exact", "x-a", "c"),
        Condition("header", "present", "x-b", negate=True),
        Condition("query", "regex", "q", "d", negate=True),
    )
    assert route("to: a").conditions == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{strip_prefix: /x}", RewriteSpec("{rest}", "/x")),
        ("{replace_prefix: {from: /x, to: /y}, host: 'b:80'}", RewriteSpec("/y{rest}", "/x", "b:80")),
        ("{replace_prefix: {from: /x, to: /}}", RewriteSpec("{rest}", "/x")),
        ("{path: '/y/{rest}'}", RewriteSpec("/y/{rest}", "/x/")),
        ("{path: '/y{path}{query:a}'}", RewriteSpec("/y{path}{query:a}")),
        ("{host: b}", RewriteSpec(host="b")),
        ("{headers: {request: {set: {A: b}}}}", None),
        ("{}", None),
    ],
)
def test_rewrites(text: str, expected: RewriteSpec | None) -> None:
    assert action(f"to: a, rewrite: {text}").rewrite == expected


def test_a_routes_own_changes_to_fields_come_last() -> None:
    changes = "{request: {remove: [A, B], set: {C: d}, add: {E: f}}, response: {add: {G: h}}}"
    assert route(f"to: a, rewrite: {{headers: {changes}}}").filters == (
        HeadersFilter(b"C: d\r\n", b"", b"E: f\r\n", b"G: h\r\n", ("A", "B"), ()),
    )


def test_splits_are_pinned() -> None:
    both = "to: {a: 1, b: 1}"
    assert action(both).split is None
    assert action(f"{both}, sticky: {{cookie: s}}").split == SplitSpec("cookie", "s", "; Path=/; HttpOnly; SameSite=Lax")
    assert action(f"{both}, sticky: {{header: X-User}}").split == SplitSpec("header", "x-user")


def test_failover() -> None:
    assert action("to: a, failover: c").failover == FailoverSpec(TargetSpec(2, 100, 1_000, RETRY))
    found = action("to: a, retry: 5, failover: {to: b, when: [reset, timeout, 502-504]}").failover
    assert found is not None
    assert found.target.retry.attempts == 5
    assert (found.no_server, found.connect_failure, found.reset, found.timeout, found.statuses) == (False, False, True, True, ((502, 504),))


def test_mirror() -> None:
    assert action("to: a, mirror: c").mirror == MirrorSpec(2, 1_000_000, 1_000, 30_000, 256)
    found = action("to: a, mirror: {to: b, sample: 0.1%, max_in_flight: 3}, timeout: {first_byte: 5s}").mirror
    assert found == MirrorSpec(1, 1_000, 3_000, 5_000, 3)
    endless = action("to: a, mirror: b, timeout: {first_byte: none}").mirror
    assert endless is not None
    assert endless.answer_ms == 30_000, "a copy ends"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", RetrySpec(backoff_ms=25, retry_after_max_ms=2_000)),
        ("none", RetrySpec(attempts=0, backoff_ms=25, retry_after_max_ms=2_000)),
        (
            '{attempts: 3, when: [timeout, "503", 429-431], backoff: {base: 2s, factor: 1.5, max: 8s, jitter: none}}',
            RetrySpec(
                3, False, False, True, ((503, 503), (429, 431)), backoff_ms=2_000, factor_percent=150, backoff_max_ms=8_000, jitter=False,
                retry_after_max_ms=2_000,
            ),
        ),
        (
            "{when: connect_failure, backoff: none, retry_after: none, idempotency_key: true, budget: {percent: 10%, min: 1}}",
            RetrySpec(
                2, True, False, idempotency_key=True, backoff_ms=0, factor_percent=100, backoff_max_ms=0, jitter=False, budget_percent=10,
                budget_min=1,
            ),
        ),
    ],
)
def test_retries(text: str, expected: RetrySpec) -> None:
    assert build_retry(upstream_of(f"retry: {text}").retry) == expected
