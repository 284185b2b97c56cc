"""Unsafe requests, and what they make invalid."""

from __future__ import annotations

from tests.support.cache_rig import Ask, CacheRig, answer
from tests.support.engine import get

MINUTE = "Cache-Control: max-age=60"


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
