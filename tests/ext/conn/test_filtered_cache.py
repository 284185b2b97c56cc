"""Filters on routes with a cache: who is asked when, and what is stored."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from proxyd_ext.auth.verdict import Verdict, Verdicts
from proxyd_ext.cache.store import Cache
from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.snapshot.spec import (
    CacheSpec,
    CorsFilter,
    Filter,
    LimitKeyPart,
    ProxyAction,
    RateLimitFilter,
    RouteSpec,
    SnapshotSpec,
    TargetSpec,
)
from tests.support.engine import Rig, get
from tests.support.questions import bearer, decision, hook_counts, hooked, nothing_asked, script
from tests.support.wire import Origin, Peer

MINUTE = "Cache-Control: public, max-age=60"
TOKEN = "Authorization: Bearer t"


def answer(*fields: str, body: bytes = b"ok", status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]).encode() + b"\r\n\r\n" + body


class Cached:
    """A route with these filters and a cache of its own, and one origin."""

    def __init__(self, rig: Rig, filters: Sequence[Filter], **spec: Any) -> None:
        self.rig = rig
        self.store = Cache(4 << 20)
        self.origin = rig.origin()
        routes = [RouteSpec("all", ProxyAction([TargetSpec(0)], cache=CacheSpec("app", **spec)), filters=filters)]
        listener = rig.listener_spec(routes)
        upstream = rig.upstream(self.origin, pool_max=0)
        rig.publish_spec(SnapshotSpec(0, "test", [listener], [routes], [upstream], cache=self.store))

    def ask(self, path: str = "/", *fields: str) -> Peer:
        client = self.rig.connect()
        client.send(get(path, *fields))
        return client


def origin_says(origin: Origin, data: bytes) -> None:
    peer, _ = origin.asked()
    peer.send(data)


def test_what_a_filter_changes_is_stored(rig: Rig) -> None:
    """Shown once, before it is stored; hits ask nobody."""
    step = script("response")
    cached = Cached(rig, [step])
    client = cached.ask()
    origin_says(cached.origin, answer(MINUTE, "X-Node: n7"))
    hooked(rig, "response").change(lines=b"X-New: 1\r\n", drop=b"x-node\n")
    first = client.response()
    for _ in range(2):
        hit = cached.ask().response()
        assert (hit.body, hit.field("x-new"), hit.field("x-node")) == (first.body, first.field("x-new"), first.field("x-node")) == (
            b"ok", "1", None,
        )
        assert "hit" in str(hit.field("cache-status"))
    assert nothing_asked(rig)
    assert hook_counts(step) == {"asked_response": 1, "changed": 1}


@pytest.mark.parametrize("word", ["Cache-Control: no-store", "Set-Cookie: a=b"])
def test_a_filter_has_a_word_about_storing(rig: Rig, word: str) -> None:
    step = script("response")
    cached = Cached(rig, [step])
    for _ in range(2):
        client = cached.ask()
        origin_says(cached.origin, answer(MINUTE))
        hooked(rig, "response").change(lines=f"{word}\r\n".encode(), drop=b"cache-control\n")
        assert client.response().status == 200


@pytest.mark.parametrize("how", ["fail", "reply", "client leaves"])
def test_collapsed_requests_do_not_hang_on_a_filter(clocked: Rig, how: str) -> None:
    """While the leader's answer is shown, others wait; it fails, is answered otherwise, or goes: they are served all the same."""
    cached = Cached(clocked, [script("response", timeout_ms=60_000)], collapse_ms=600_000)
    leader = cached.ask()
    origin_says(cached.origin, answer(MINUTE))
    shown = hooked(clocked, "response")
    others = [cached.ask(), cached.ask()]
    clocked.settle()
    assert not cached.origin.waiting()
    if how == "fail":
        shown.fail()
        assert [peer.response().status for peer in (leader, *others)] == [503] * 3
        return
    if how == "reply":
        shown.reply(404, b"", b"mine")
        assert leader.response().body == b"mine"
    else:
        leader.reset()
    origin_says(cached.origin, answer(MINUTE))
    hooked(clocked, "response").change(lines=b"X-New: 1\r\n")
    assert [peer.response().field("x-new") for peer in others] == ["1", "1"]


def test_large_bodies_behind_a_filter(rig: Rig) -> None:
    body = bytes(range(256)) * 2_000
    cached = Cached(rig, [script("response")])
    client = cached.ask()
    origin_says(cached.origin, answer(MINUTE, body=body))
    hooked(rig, "response").change(lines=b"X-New: 1\r\n")
    assert client.response().body == body
    hit = cached.ask().response()
    assert (hit.body, hit.field("x-new")) == (body, "1")


def test_revalidation_is_shown(clocked: Rig) -> None:
    """A 304 too; its changes are merged into what is stored."""
    cached = Cached(clocked, [script("response")])
    client = cached.ask()
    origin_says(cached.origin, answer(MINUTE, 'ETag: "a"'))
    hooked(clocked, "response").change(lines=b"X-New: 1\r\n")
    assert client.response().status == 200
    clocked.advance(61_000)
    client = cached.ask()
    origin_says(cached.origin, b'HTTP/1.1 304 Not Modified\r\nCache-Control: public, max-age=60\r\nETag: "a"\r\n\r\n')
    shown = hooked(clocked, "response")
    assert shown.status == 304
    shown.change(lines=b"X-New: 2\r\n")
    response = client.response()
    assert (response.status, response.body, response.field("x-new")) == (200, b"ok", "2")
    assert cached.ask().response().field("x-new") == "2"


def test_asked_again_without_a_condition(clocked: Rig) -> None:
    """The 304 speaks of something else: the whole answer that is fetched instead is shown as well."""
    cached = Cached(clocked, [script("response")])
    client = cached.ask()
    origin_says(cached.origin, answer(MINUTE, 'ETag: "a"'))
    hooked(clocked, "response").change(lines=b"X-New: 1\r\n")
    assert client.response().status == 200
    clocked.advance(61_000)
    client = cached.ask()
    origin_says(cached.origin, b'HTTP/1.1 304 Not Modified\r\nETag: "b"\r\n\r\n')
    assert hooked(clocked, "response").status == 304
    clocked.events.clear()
    client.reset()
    clocked.settle()
    client = cached.ask()
    origin_says(cached.origin, b'HTTP/1.1 304 Not Modified\r\nETag: "b"\r\n\r\n')
    hooked(clocked, "response").change()
    origin_says(cached.origin, answer(MINUTE, 'ETag: "b"', body=b"new"))
    shown = hooked(clocked, "response")
    assert shown.status == 200
    shown.change(lines=b"X-New: 2\r\n")
    response = client.response()
    assert (response.body, response.field("x-new")) == (b"new", "2")
    hit = cached.ask().response()
    assert (hit.body, hit.field("x-new")) == (b"new", "2")


@pytest.mark.parametrize("how", ["change", "fail", "timeout", "reply", "drop"])
def test_fetched_behind(clocked: Rig, how: str) -> None:
    """Nobody waits for it; the filter is asked, and its word, or the lack of one, decides what is stored."""
    cached = Cached(clocked, [script("response", timeout_ms=500)], while_revalidate_s=600)
    client = cached.ask("/a?b")
    origin_says(cached.origin, answer(MINUTE))
    hooked(clocked, "response").change(lines=b"X-New: 1\r\n")
    assert client.response().status == 200
    clocked.advance(61_000)
    assert cached.ask("/a?b").response().field("x-new") == "1"
    origin_says(cached.origin, answer(MINUTE, body=b"new"))
    shown = hooked(clocked, "response")
    assert (shown.target[:2], shown.user) == (["GET", "/a?b"], "")
    if how == "change":
        shown.change(lines=b"X-New: 2\r\n")
    elif how == "fail":
        shown.fail()
    elif how == "reply":
        shown.reply(500, b"", b"never seen")
    elif how == "timeout":
        clocked.advance(500)
    else:
        cached.origin.peers[-1].reset()
        clocked.settle()
        shown.fail()
    clocked.until(lambda: clocked.total("exchanges") == 0, "the fetch is over")
    hit = cached.ask("/a?b")
    if how == "change":
        assert (hit.response().field("x-new"), nothing_asked(clocked)) == ("2", True)
    else:
        assert hit.response().field("x-new") == "1"
        origin_says(cached.origin, answer(MINUTE))        # it is tried anew
        hooked(clocked, "response").change()


def test_reload_while_a_fetch_behind_is_shown(clocked: Rig) -> None:
    cached = Cached(clocked, [script("response")], while_revalidate_s=600)
    client = cached.ask()
    origin_says(cached.origin, answer(MINUTE))
    hooked(clocked, "response").change()
    assert client.response().status == 200
    clocked.advance(61_000)
    assert cached.ask().response().status == 200
    origin_says(cached.origin, answer(MINUTE))
    shown = hooked(clocked, "response")
    clocked.serve(cached.origin)
    shown.change(lines=b"X-New: 2\r\n")
    clocked.event("retired", 1)


def test_where_a_filter_sends_requests_is_their_key(clocked: Rig) -> None:
    """Two tenants, one URL: neither sees the other's answer, though both may be stored by anybody."""
    cached = Cached(clocked, [script("request")])
    for tenant, first in (("a", True), ("b", True), ("a", False), ("b", False)):
        client = cached.ask("/logo?v=1", f"X-Tenant: {tenant}")
        hooked(clocked).change(path=f"/{tenant}/logo", query="")
        if first:
            peer, request = cached.origin.asked()
            assert request.target == f"/{tenant}/logo"
            peer.send(answer(MINUTE, body=tenant.encode()))
        assert client.response().body == tenant.encode()
    assert not cached.origin.waiting()


def test_a_redirected_fetch_behind_keeps_its_key(clocked: Rig) -> None:
    cached = Cached(clocked, [script("request")], while_revalidate_s=600)
    client = cached.ask("/logo")
    hooked(clocked).change(path="/a/logo", query="x")
    origin_says(cached.origin, answer(MINUTE, body=b"old"))
    assert client.response().body == b"old"
    clocked.advance(61_000)
    client = cached.ask("/logo")
    hooked(clocked).change(path="/a/logo", query="x")
    assert client.response().body == b"old"
    peer, request = cached.origin.asked()
    assert request.target == "/a/logo?x"
    peer.send(answer(MINUTE, body=b"new"))
    clocked.until(lambda: clocked.total("exchanges") == 0, "the fetch is over")
    client = cached.ask("/logo")
    hooked(clocked).change(path="/a/logo", query="x")
    assert client.response().body == b"new"


def test_hits_are_for_those_who_may(rig: Rig) -> None:
    """Filters come before the cache: a hit needs a verdict, and counts for limits."""
    verdicts = Verdicts("sso")
    limit = RateLimit("r", requests=1, per_us=3_600_000_000, burst=2)
    steps: list[Filter] = [RateLimitFilter("r", limit, (LimitKeyPart("client.ip"),), headers="always"), bearer(verdicts)]
    cached = Cached(rig, steps)
    client = cached.ask("/", TOKEN)
    decision(rig).allow()
    origin_says(cached.origin, answer(MINUTE))
    assert client.response().status == 200
    assert cached.ask().response().status == 401
    hit = cached.ask("/", TOKEN)
    asked = decision(rig)
    verdicts.put(asked.digest, Verdict(allow=True), 60_000)
    asked.allow()
    response = hit.response()
    assert (response.status, response.field("ratelimit"), "hit" in str(response.field("cache-status"))) == (200, '"r";r=0;t=10800', True)
    assert cached.ask("/", TOKEN).response().status == 429


def test_cors_is_said_to_each_client(rig: Rig) -> None:
    """On hits as on misses, by who asks now; nothing of it is stored, neither the server's own word."""
    cached = Cached(rig, [CorsFilter("cors", ["https://a.example", "https://b.example"], credentials=True)])
    client = cached.ask("/", "Origin: https://a.example")
    origin_says(cached.origin, answer(MINUTE, "Access-Control-Allow-Origin: *"))
    assert client.response().all("access-control-allow-origin") == ["https://a.example"]
    for name, allowed in (("https://b.example", ["https://b.example"]), ("https://evil.example", []), ("", [])):
        hit = cached.ask("/", *([f"Origin: {name}"] if name else [])).response()
        assert hit.all("access-control-allow-origin") == allowed
        assert "hit" in str(hit.field("cache-status"))
