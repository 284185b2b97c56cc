from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.snapshot.conduct import ms, place_facts, retry_text, route_facts, upstream_facts
from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.snapshot.spec import (
    FailoverSpec,
    HedgeSpec,
    MirrorSpec,
    ProxyAction,
    RetrySpec,
    RewriteSpec,
    SplitSpec,
    StickySpec,
    TargetSpec,
    UpstreamSpec,
)

UPSTREAMS = [UpstreamSpec(name, UpstreamState(name), ()) for name in ("api", "next", "spare")]
NEVER = RetrySpec(attempts=0)


@pytest.mark.parametrize(("retry", "words"), [
    (NEVER, "none"),
    (RetrySpec(connect_failure=False, reset=False), "none"),
    (RetrySpec(attempts=1, reset=False), "up to 1 more try: connection failed; budget 20% of the requests under way, 3 always"),
    (
        RetrySpec(connect_failure=False, timeout=True, statuses=((502, 504), (429, 429)), budget_percent=5, budget_min=1),
        "up to 2 more tries: reset, timeout, status 502-504, 429 (idempotent requests only); budget 5% of the requests under way, 1 always",
    ),
    (
        RetrySpec(3, backoff_ms=25, retry_after_max_ms=2_000, idempotency_key=True),
        "up to 3 more tries: connection failed; reset (idempotent requests, or with Idempotency-Key); after 0 to 25 ms, then 2 times that, "
        "up to 250 ms; Retry-After up to 2 s; budget 20% of the requests under way, 3 always",
    ),
    (
        RetrySpec(1, reset=False, backoff_ms=2_000, jitter=False),
        "up to 1 more try: connection failed; after 2 s; budget 20% of the requests under way, 3 always",
    ),
])
def test_retries(retry: RetrySpec, words: str) -> None:
    assert retry_text(retry) == words


def test_a_plain_route_and_upstream() -> None:
    assert list(route_facts(ProxyAction((TargetSpec(0),)), UPSTREAMS)) == [("timeout", "connect 3 s, first byte 30 s, between bytes 60 s")]
    assert list(upstream_facts(UPSTREAMS[0], NEVER)) == [("retry", "none")]


def test_everything_of_a_route() -> None:
    action = ProxyAction(
        (TargetSpec(0, 95), TargetSpec(1, 5, connect_ms=100)), total_ms=500, per_try_ms=250, split=SplitSpec("cookie", "pxd_split"),
        failover=FailoverSpec(TargetSpec(2), reset=True, timeout=True, statuses=((503, 503),)), hedge=HedgeSpec(200),
        mirror=MirrorSpec(1, 10_000), rewrite=RewriteSpec("/v2{rest}", "/api", "inner.example"),
    )
    assert dict(route_facts(action, UPSTREAMS)) == {
        "pinned": "to one upstream by cookie pxd_split",
        "rewrite": "strip /api, path /v2{rest}, host inner.example",
        "timeout": "per try 250 ms, first byte 30 s, between bytes 60 s, total 500 ms",
        "hedge": "1 more try beside the first after 200 ms; the first answer wins",
        "failover": "to spare when: no server can take it, connection failed, reset, timeout, status 503",
        "mirror": "1% copied to next, 256 at a time and engine at most",
    }
    other = ProxyAction((TargetSpec(0),), split=SplitSpec("header", "X-User"), hedge=HedgeSpec(0, 2))
    assert dict(route_facts(other, UPSTREAMS))["pinned"] == "to one upstream by the hash of header X-User"
    assert "2 more tries beside the first after the time within which 95% of the answers" in dict(route_facts(other, UPSTREAMS))["hedge"]


@pytest.mark.parametrize(("route", "config", "facts"), [
    ("", "", {}),
    ("priority: high", "", {"priority": "high"}),
    ("use: urgent", "policies: {urgent: {priority: critical}}", {"priority": "critical"}),
    ("concurrency: 20", "", {"places": "20 at most, none waits"}),
    (
        "concurrency: {reserved: 5, max: 20, queue: 100, queue_timeout: 2s}", "concurrency: {total: 400}",
        {"places": "5 of its own, 20 at most, 400 of all routes together, 100 more may wait 2 s"},
    ),
    ("", "concurrency: {total: 400}", {"places": "400 of all routes together, none waits"}),
    ("concurrency: {reserved: 5}", "", {"places": "5 of its own, 5 at most, 1000 of all routes together, none waits"}),
])
def test_places_and_priority(route: str, config: str, facts: dict[str, str]) -> None:
    loaded = load_text(f"listen: ':1'\nroutes:\n  - {{to: 'a:1'{', ' if route else ''}{route}}}\n{config}\n").config
    assert loaded is not None
    assert dict(place_facts(loaded, loaded.routes[0])) == facts


@pytest.mark.parametrize(("sticky", "words"), [
    (StickySpec("cookie", "pxd_server"), "by cookie pxd_server"),
    (StickySpec("app_cookie", "pxd_server", follows="JSESSIONID"), "by cookie pxd_server, set when the server sets JSESSIONID"),
    (StickySpec("key"), "by the hash of client.ip"),
    (StickySpec("key", hash_key="header", hash_name="x-user"), "by the hash of header:x-user"),
])
def test_stickiness(sticky: StickySpec, words: str) -> None:
    upstream = UpstreamSpec("api", UpstreamState("api"), (), sticky=sticky)
    assert dict(upstream_facts(upstream, NEVER))["sticky"] == words


def test_bounds_of_an_upstream() -> None:
    upstream = UpstreamSpec("api", UpstreamState("api"), (), max_requests=100, zone_min=70)
    assert dict(upstream_facts(upstream, NEVER)) == {
        "zone": "its own, while 70% of it is usable", "bound": "100 requests at a time; none waits", "retry": "none"}
    queued = UpstreamSpec("api", UpstreamState("api"), (), max_requests=100, max_pending=20, queue_ms=500)
    assert dict(upstream_facts(queued, NEVER))["bound"] == "100 requests at a time; 20 more may wait 500 ms"


def test_times() -> None:
    assert [ms(value) for value in (25, 999, 1_000, 2_500)] == ["25 ms", "999 ms", "1 s", "2.5 s"]
