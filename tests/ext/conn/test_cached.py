"""What the cache does for exchanges that wait, fail, or ask by HEAD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from proxyd_ext.cache.store import Cache
from proxyd_ext.snapshot.spec import (
    CacheSpec,
    ErrorPage,
    FailoverSpec,
    HashKey,
    ProxyAction,
    RetrySpec,
    RouteSpec,
    SnapshotSpec,
    TargetSpec,
)
from tests.support.cache_rig import Answer, Ask, CacheRig, Row
from tests.support.engine import Rig, get

LARGE = bytes(range(256)) * 1024
MINUTE = "Cache-Control: max-age=60"


@pytest.fixture
def cache() -> Iterator[CacheRig]:
    rig = Rig("inline")
    rig.listen(send_bytes=16384)
    made = CacheRig(rig)
    yield made
    made.finish()
    rig.finish()


def answer(body: bytes, *fields: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields]).encode() + b"\r\n\r\n" + body


def test_a_large_body_outlives_its_revalidation(cache: CacheRig) -> None:
    """The refreshed object has the body of the old one, which goes."""
    cache.play(Row(
        Answer(MINUTE, 'ETag: "a"', body=LARGE),
        Ask(asked=1, text=LARGE), Ask(after=61, asked=2, text=LARGE), Ask(asked=2, text=LARGE), Ask(asked=2, text=LARGE),
    ))  # fmt: skip


def test_a_body_that_still_arrives_is_not_revalidated(cache: CacheRig) -> None:
    """It may break off, and then a 304 would answer nothing: the server is asked for the whole."""
    cache.begin({}, scripted=True)
    first = cache.connect(Ask())
    origin, _ = cache.origin.asked()
    origin.send(answer(LARGE, 'ETag: "a"', "Cache-Control: no-cache")[:100_000])
    cache.rig.settle()
    second = cache.connect(Ask())
    other, asked = cache.origin.asked()
    assert asked.field("if-none-match") is None
    other.send(answer(LARGE, 'ETag: "b"', "Cache-Control: no-cache"))
    assert second.response().body == LARGE
    origin.send(answer(LARGE, 'ETag: "a"', "Cache-Control: no-cache")[100_000:])
    assert first.response().body == LARGE
    cache.rig.settle()
    (stored,) = cache.store.find(f"http://test/{cache.rows}")
    assert (stored.state, stored.size, stored.etag) == ("complete", len(LARGE), '"b"')


def test_followers_of_another_variant_get_their_own(cache: CacheRig) -> None:
    """Only the answer tells by what it varies: all who came before wait for one fetch."""
    cache.begin({}, scripted=True)
    leader = cache.connect(Ask(fields=["Cookie: user=a"]))
    origin, _ = cache.origin.asked()
    followers = [cache.connect(Ask(fields=["Cookie: user=b"])) for _ in range(3)]
    same = cache.connect(Ask(fields=["Cookie: user=a"]))
    cache.rig.settle()
    origin.send(answer(b"for a", MINUTE, "Vary: Cookie"))
    assert leader.response().body == b"for a"
    assert same.response().body == b"for a"
    assert origin.request().field("cookie") == "user=b"
    cache.rig.settle()
    assert origin.silent()
    assert not cache.origin.waiting()
    origin.send(answer(b"for b", MINUTE, "Vary: Cookie"))
    assert [each.response().body for each in followers] == [b"for b"] * 3
    assert cache.store.stats()["objects"] == 2


def test_head_for_what_was_not_stored_is_no_get(cache: CacheRig) -> None:
    """Behind a marker requests go as they are: what comes to a HEAD has no body, and is not stored as an empty one."""
    cache.begin({}, scripted=True)
    client = cache.connect(Ask())
    origin, _ = cache.origin.asked()
    origin.send(answer(b"one", "Cache-Control: no-store"))
    assert client.response().body == b"one"
    client = cache.connect(Ask(method="HEAD"))
    assert origin.request().method == "HEAD"
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: max-age=60\r\n\r\n")
    assert client.response("HEAD").status == 200
    client = cache.connect(Ask())
    assert origin.request().method == "GET"
    origin.send(answer(b"two", MINUTE))
    assert client.response().body == b"two"


def test_an_error_page_for_a_head_asked_as_get(cache: CacheRig) -> None:
    """The body that the server still sends must not meet the next request on its connection."""
    rig = cache.rig
    cache.begin({}, scripted=True)
    assert rig.spec is not None
    route = replace(rig.spec.tables[0][0], error_pages=[ErrorPage(((404, 404),), b"gone", intercept=True)])
    rig.publish_spec(replace(rig.spec, tables=[[route]]))
    client = cache.connect(Ask(method="HEAD"))
    origin, asked = cache.origin.asked()
    assert asked.method == "GET"
    origin.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 44\r\nCache-Control: no-store\r\n\r\n")
    assert client.response("HEAD").status == 404
    cache.rig.settle()
    client = cache.connect(Ask(path="/next"))
    other, _ = cache.origin.asked()
    other.send(answer(b"next", MINUTE))
    assert client.response().body == b"next"


@pytest.mark.parametrize("waits", ["backoff", "queue"])
def test_stale_instead_ends_the_wait_before_it(cache: CacheRig, waits: str) -> None:
    """The time of the whole is up while a backoff or a place in the queue is waited for: that must not come back during the answer."""
    cache.begin({"if_error_s": 3600}, scripted=True)
    client = cache.connect(Ask())
    origin, _ = cache.origin.asked()
    origin.send(answer(LARGE * 3, "Cache-Control: max-age=10"))
    assert client.response().body == LARGE * 3
    rig = cache.rig
    retry = RetrySpec(attempts=1, statuses=((503, 503),), backoff_ms=2000, jitter=False)
    room: dict[str, Any] = {"max_requests": 1, "max_pending": 9, "queue_ms": 2000} if waits == "queue" else {}
    action = ProxyAction([TargetSpec(0, retry=retry)], cache=CacheSpec("app", if_error_s=3600), total_ms=1500)
    rig.publish_spec(SnapshotSpec(
        0, "test", [rig.listener_spec([RouteSpec("all", action)])], [[RouteSpec("all", action)]], [rig.upstream(cache.origin, **room)],
        cache=cache.store,
    ))  # fmt: skip
    cache.wait(11)
    if waits == "queue":
        rig.connect().send(get("/other"))
        origin.request()
    slow = rig.connect(receive_bytes=4096)
    slow.send(get(f"/{cache.rows}"))
    if waits == "backoff":
        origin.request()
        origin.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    rig.settle()
    rig.advance(1600)
    rig.advance(2000)
    response = slow.response()
    assert (response.status, response.body) == (200, LARGE * 3)


def test_markers_of_a_key_are_bounded(cache: CacheRig) -> None:
    cache.begin({})
    cache.answer = Answer(MINUTE, "Vary: Cookie")
    cache.ask(Ask())
    cache.answer = Answer("Cache-Control: private", "Vary: Cookie")
    for n in range(40):
        cache.ask(Ask(fields=[f"Cookie: user={n}"]))
    assert len([each for each in cache.store.find(f"http://test/{cache.rows}") if each.state == "marker"]) == 32
    cache.ask(Ask())
    assert len(cache.origin.requests) == 41


def test_a_fetch_behind_that_fails_over_leaves_its_asker_alone() -> None:
    """It reads its own head again at once; the asker's conditions are still those of the asker."""
    rig = Rig("inline")
    store = Cache(8 << 20)
    origin, second = (rig.origin().serve(answer(b"0123456789", "Cache-Control: max-age=60, stale-while-revalidate=600")) for _ in range(2))
    key: HashKey = "path"
    upstreams = [rig.upstream(origin), rig.upstream(second, name="second", balance="hash", hash_key=key)]
    action = ProxyAction(
        [TargetSpec(0, retry=RetrySpec(attempts=0))], cache=CacheSpec("app"), failover=FailoverSpec(TargetSpec(1), no_server=True),
    )  # fmt: skip
    route = RouteSpec("all", action)
    rig.publish_spec(SnapshotSpec(0, "test", [rig.listener_spec([route])], [[route]], upstreams, cache=store))
    client = rig.connect()
    client.send(get("/x"))
    assert client.response().body == b"0123456789"
    rig.settle()
    rig.advance(61_000)
    rig.servers[("app", origin.label)].set_down("health", True)
    client.send(get("/x", "Range: bytes=2-4"))
    response = client.response()
    assert (response.status, response.body) == (206, b"234")
    store.purge("all")
    del store
    rig.finish()


def test_unsafe_requests_elsewhere_keep_nobody_from_storing(cache: CacheRig) -> None:
    """Notes of purges are few; a POST leaves one only where somebody fetches what it makes invalid."""
    cache.begin({}, scripted=True)
    getting = cache.connect(Ask())
    first, _ = cache.origin.asked()
    posting = cache.rig.connect()
    other = None
    for n in range(300):
        posting.send(get(f"/posts/{n}", "Content-Length: 0", method="POST"))
        if other is None:
            other = cache.origin.accept()
        other.request()
        other.send(answer(b"done"))
        assert posting.response().status == 200
    first.send(answer(b"stored", MINUTE))
    assert getting.response().body == b"stored"
    assert cache.ask(Ask()).body == b"stored"


def test_an_unsafe_request_makes_a_fetch_under_way_invalid(cache: CacheRig) -> None:
    cache.begin({}, scripted=True)
    getting = cache.connect(Ask())
    first, _ = cache.origin.asked()
    posting = cache.connect(Ask(method="POST"))
    other, _ = cache.origin.asked()
    other.send(answer(b"done"))
    assert posting.response().status == 200
    first.send(answer(b"before", MINUTE))
    assert getting.response().body == b"before"
    assert cache.store.find(f"http://test/{cache.rows}") == []


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_get_in_disguise_is_not_stored(cache: CacheRig, name: str) -> None:
    cache.begin({})
    cache.answer = Answer(MINUTE)
    cache.ask(Ask(fields=[f"{name}: POST"]))
    assert cache.ask(Ask()).body == b"#2"
    assert cache.ask(Ask()).body == b"#2"


def test_a_host_with_its_dot_is_another_key(cache: CacheRig) -> None:
    """The server is sent it as it came, and may not know it."""
    cache.begin({})
    cache.answer = Answer(MINUTE)
    assert cache.ask(Ask(host="test.")).body == b"#1"
    assert cache.ask(Ask(host="test")).body == b"#2"


def test_a_fault_that_may_be_the_leaders_own_is_not_everybodys(cache: CacheRig) -> None:
    """A server that hangs up on the leader's cookie: another of those who wait leads."""
    cache.begin({}, scripted=True)
    leader = cache.connect(Ask(fields=["Cookie: bad"]))
    origin, _ = cache.origin.asked()
    followers = [cache.connect(Ask()) for _ in range(2)]
    cache.rig.settle()
    origin.reset()
    assert leader.response().status == 502
    origin, asked = cache.origin.asked()
    assert asked.field("cookie") is None
    origin.send(answer(b"well", MINUTE))
    assert [client.response().body for client in followers] == [b"well"] * 2
    assert not cache.origin.waiting()


def test_what_is_too_large_is_counted(cache: CacheRig) -> None:
    before = cache.store.stats()["refused_too_large"]
    cache.play(Row(Answer(MINUTE, body=LARGE), Ask(asked=1, text=LARGE), Ask(asked=2, text=LARGE), max_object=1_000))
    assert cache.store.stats()["refused_too_large"] == before + 2
