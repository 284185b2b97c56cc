"""Asking whether what is stored still holds."""

from __future__ import annotations

from tests.support.cache_rig import Answer, Ask, CacheRig, Row, answer

LARGE = bytes(range(256)) * 1024
MINUTE = "Cache-Control: max-age=60"


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
