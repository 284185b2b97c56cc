"""Stored answers on their way to clients that are slow, or want parts."""

from __future__ import annotations

from proxyd_ext.snapshot.spec import HeadersFilter, RouteSpec
from tests.support.cache_rig import Answer, Ask, CacheRig
from tests.support.engine import get
from tests.support.wire import Peer

BODY = bytes(range(256)) * 3900


def stored(cache: CacheRig) -> None:
    cache.begin({})
    cache.answer = Answer("Cache-Control: max-age=3600", body=BODY)
    assert cache.ask(Ask()).body == BODY


def slow(cache: CacheRig, *fields: str) -> Peer:
    client = cache.rig.connect(receive_bytes=4096)
    client.send(get(f"/{cache.rows}", *fields))
    cache.rig.settle()
    return client


def test_a_client_that_stops_reading_is_cut_off(cache: CacheRig) -> None:
    """What goes by sendfile leaves nothing unsent behind that would tell."""
    stored(cache)
    client = slow(cache)
    assert cache.rig.total("exchanges") == 1
    cache.rig.advance(130_000)
    assert cache.rig.total("exchanges") == 0
    assert len(client.rest()) < len(BODY)


def test_ranges_go_back_in_what_nobody_finds_any_more(cache: CacheRig) -> None:
    """Bytes in front of a reader's place are given back; not those that it has yet to send."""
    stored(cache)
    client = slow(cache, "Range: bytes=200000-900000,100000-150000,0-100")
    other = slow(cache)
    cache.store.purge("all")
    assert other.response().body == BODY
    body = client.response().body
    assert BODY[200000:900001] in body
    assert BODY[100000:150001] in body
    assert BODY[:101] in body


def test_a_304_without_the_fields_that_a_route_takes_away(cache: CacheRig) -> None:
    cache.begin({}, scripted=True)
    rig = cache.rig
    assert rig.spec is not None
    (route,) = rig.spec.tables[0]
    removed = RouteSpec("all", route.action, filters=[HeadersFilter(response_remove=["x-a"])])
    rig.publish_spec(type(rig.spec)(0, "test", rig.spec.listeners, [[removed]], rig.spec.upstreams, cache=cache.store))
    client = cache.connect(Ask())
    origin, _ = cache.origin.asked()
    long = "X-Long: " + "l" * 300
    lines = ["X-A: 1", 'ETag: "a"', long, "Content-Type: text/plain", "X-A: 2", "Cache-Control: max-age=60"]
    origin.send("\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 2", *lines]).encode() + b"\r\n\r\nok")
    client.response()
    answer = cache.ask(Ask(fields=['If-None-Match: "a"']))
    assert answer.status == 304
    names = [name for name, _ in answer.fields]
    assert names[:3] == ["ETag", "X-Long", "Cache-Control"]
    assert answer.field("x-long") == "l" * 300
