"""What is not stored, and the word that is left of it."""

from __future__ import annotations

from tests.support.cache_rig import Answer, Ask, CacheRig, Row

LARGE = bytes(range(256)) * 1024
MINUTE = "Cache-Control: max-age=60"


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


def test_what_is_too_large_is_counted(cache: CacheRig) -> None:
    before = cache.store.stats()["refused_too_large"]
    cache.play(Row(Answer(MINUTE, body=LARGE), Ask(asked=1, text=LARGE), Ask(asked=2, text=LARGE), max_object=1_000))
    assert cache.store.stats()["refused_too_large"] == before + 2
