"""What a client that asks by HEAD gets of a server that was asked by GET."""

from __future__ import annotations

from dataclasses import replace

from proxyd_ext.snapshot.spec import ErrorPage
from tests.support.cache_rig import Ask, CacheRig, answer

MINUTE = "Cache-Control: max-age=60"


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
