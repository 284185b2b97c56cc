from __future__ import annotations

from typing import Any

import pytest

from proxyd.caching.reasons import REASONS, reason_of
from proxyd.caching.report import RouteOfUrl, freshness_text, hit_ratio, object_view, route_views, why
from proxyd.state import RouteEntry
from proxyd_ext.cache.freshness import store_words
from proxyd_ext.route.stats import RouteStats, count_cache
from tests.support.store import FakeObject, as_object

URL = "http://h/a"
CACHES = RouteOfUrl("web", "127.0.0.1:80", "media", "to app", True, "app", (("cache key", "host path"),))
PLAIN = RouteOfUrl("web", "127.0.0.1:80", "api", "to app", False, "", ())
NONE = RouteOfUrl("web", "127.0.0.1:80", None, "404 no route", False, "", ())


def text(**fields: Any) -> str:
    return freshness_text(as_object(FakeObject(URL, **fields)))


def test_hit_ratio_counts_what_cost_no_request_of_its_own() -> None:
    assert hit_ratio({}) is None
    assert hit_ratio({"bypass": 5}) is None
    assert hit_ratio({"hit": 5, "stale": 1, "coalesced": 2, "miss": 1, "revalidated": 1, "uncacheable": 0, "bypass": 90}) == 0.8


def test_only_routes_that_met_a_cache_are_shown() -> None:
    media, api = RouteStats("web", "media"), RouteStats("web", "api")
    count_cache(media, 0, 1, 1_000)
    count_cache(media, 0, 2)
    found, = route_views([RouteEntry("web", "media", media), RouteEntry("web", "api", api)])
    assert (found.route, found.hit_ratio, found.bytes_served) == ("media", 0.5, 1_000)


@pytest.mark.parametrize(("fields", "said"), [
    ({"fresh_s": 250.0}, "fresh for 4 min 10 s more"),
    ({"fresh_s": -30.0}, "stale for 30 s: the next request asks the server"),
    ({"fresh_s": -30.0, "etag": '"x"'}, "stale for 30 s: the next request asks the server, with its ETag"),
    ({"fresh_s": -30.0, "stale_while_revalidate_s": 3_630.0}, "stale for 30 s: served for 1 h more while it is fetched again"),
    ({"fresh_s": -7_230.0, "stale_while_revalidate_s": 60.0, "stale_if_error_s": 86_400.0},
     "stale for 2 h: the next request asks the server; served for 21 h 59 min more if that fails"),
    ({"fresh_s": 250.0, "soft_purged": True, "stale_while_revalidate_s": 60.0},
     "soft purged: served for 1 min more while it is fetched again"),
    ({"state": "filling"}, "is being fetched now"),
    ({"state": "marker", "reason": "private", "fresh_s": 90.0},
     "not stored: the server said `Cache-Control: private`: the answer is for one user; asked again in 1 min 30 s at the latest"),
])
def test_what_the_next_request_meets(fields: dict[str, Any], said: str) -> None:
    assert text(**fields) == said


def test_an_object_as_plain_values() -> None:
    found = object_view(as_object(FakeObject(URL, key=b"app\0h/a\0w=1", vary="accept", variant=b"\xff", tags=["x"])))
    assert (found.zone, found.key, found.variant, found.tags, found.size) == ("app", "h/a\0w=1", "\\xff", ("x",), 4)
    assert object_view(as_object(FakeObject("", key=b"\0aside\0user:1"))).zone == "aside"


# ---------------------------------------------------------------------- why
def verdict(routes: list[RouteOfUrl], *stored: FakeObject, **stats: int) -> tuple[str, str, str]:
    found = why(URL, routes, [object_view(as_object(entry)) for entry in stored], stats)
    return found.verdict, found.text, found.section


def test_stored() -> None:
    stale, fresh = FakeObject(URL, fresh_s=-5.0), FakeObject(URL, fresh_s=9.0)
    marker = FakeObject(URL, state="marker", reason="private")
    assert verdict([CACHES], stale, fresh, marker) == ("fresh", "stored: fresh for 9 s more; 2 variants", "")
    assert verdict([CACHES], stale)[:2] == ("stale", "stored: stale for 5 s: the next request asks the server")
    assert verdict([PLAIN], fresh)[1] == "stored: fresh for 9 s more; but no route serves it from the cache now"
    assert verdict([CACHES], FakeObject(URL, state="filling"))[0] == "filling"


def test_a_marker_brings_its_section_and_what_to_do() -> None:
    marker = FakeObject(URL, state="marker", reason="set-cookie", fresh_s=0)
    found = why(URL, [CACHES], [object_view(as_object(marker))], {})
    assert (found.verdict, found.section) == ("not_stored", "RFC 9111 §7.3")
    assert "cookie" in found.text
    assert "Set-Cookie" in found.help


def test_nothing_is_stored() -> None:
    assert verdict([NONE])[:2] == ("no_route", "no route answers this URL")
    assert verdict([PLAIN, NONE])[:2] == ("not_cached", "route api has no cache")
    assert verdict([CACHES])[:2] == ("absent", "nothing is stored: nobody has asked for it since the start")
    causes = "nobody has asked for it since the start; or it was evicted for room (1,204 so far); or it was purged (3 so far)"
    assert verdict([CACHES], evictions_capacity=1_204, purged_objects=3)[1] == f"nothing is stored: {causes}"


def test_an_unknown_word_stands_for_itself() -> None:
    assert reason_of("new-word").text == "the store says: new-word"
    assert reason_of("no-store") is REASONS["no-store"]


def test_every_word_of_the_native_side_has_a_sentence() -> None:
    assert {word for word in store_words() if word} <= REASONS.keys()
