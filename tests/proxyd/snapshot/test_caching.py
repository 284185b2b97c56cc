from __future__ import annotations

import pytest

from proxyd.config.units import Lifetime
from proxyd.snapshot.caching import bypassing, cache_facts, condition_text, freshness_text, key_text
from proxyd.snapshot.explain import Question, explain_config
from proxyd_ext.snapshot.spec import CacheKeyPart, CacheSpec, CompressSpec, Condition
from tests.support.config import config_of

GET = Question("GET", "A.example", "/x/y", headers=(("Accept-Language", "de"), ("Cookie", "a=1; b=2; a=3")), query="w=1&h=&w=2")
URL = CacheSpec("app").key


def test_the_key_of_the_whole_url() -> None:
    assert key_text(URL, "http", "/x/y", GET) == "http://a.example/x/y?w=1&h=&w=2"
    assert key_text(URL, "https", "/", Question("GET", "a", "/")) == "https://a/"
    assert key_text(URL, "http", "/", Question("GET", "a", "/", port="8080")) == "http://a:8080/"
    assert key_text(URL, "http", "/", Question("GET", "a", "/", port="80")) == "http://a/"
    assert key_text((CacheKeyPart("host"),), "https", "/", Question("GET", "a", "/", port="80")) == "host a:80"


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (CacheKeyPart("host"), "host a.example"),
        (CacheKeyPart("path"), "path /x/y"),
        (CacheKeyPart("query"), "query w=1&h=&w=2"),
        (CacheKeyPart("query", ("w", "h", "q")), "query w=1, query h=, query q: none"),
        (CacheKeyPart("header", ("accept-language",)), "header accept-language=de"),
        (CacheKeyPart("header", ("accept",)), "header accept: none"),
        (CacheKeyPart("cookie", ("a",)), "cookie a=1"),
        (CacheKeyPart("cookie", ("c",)), "cookie c: none"),
    ],
)
def test_other_keys_part_by_part(part: CacheKeyPart, text: str) -> None:
    assert key_text((part,), "http", "/x/y", GET) == text


def test_an_empty_query() -> None:
    assert key_text((CacheKeyPart("path"), CacheKeyPart("query")), "http", "/a", Question("GET", "a", "/a")) == "path /a, query: none"


@pytest.mark.parametrize(
    ("cache", "text"),
    [
        (CacheSpec("a"), "as the answer says"),
        (CacheSpec("a", default_s=600), "as the answer says, else 10m"),
        (CacheSpec("a", override_s=3600), "for 1h whatever the answer says"),
        (CacheSpec("a", heuristic_percent=10), "as the answer says, else 10% of its age when it came, up to 1d"),
        (CacheSpec("a", min_s=1, max_s=86_400), "as the answer says, at least 1s, at most 1d"),
    ],
)
def test_freshness(cache: CacheSpec, text: str) -> None:
    assert freshness_text(cache) == text


def test_all_that_can_be_said() -> None:
    cache = CacheSpec(
        "app", negative_s=5, while_revalidate_s=60, if_error_s=0, strip_set_cookie=True, client_directives=False, share=True,
        compress=CompressSpec(("br", "gzip"), 1024, ("text/*",)), collapse_ms=0,
    )
    assert list(cache_facts(cache, "http", "/x/y", GET)) == [
        ("cache", "fresh as the answer says; 404,410 that tell none 5s; stale while a new one is fetched for 1m; stale when the server "
         "fails never; each fetches for itself; stored without Set-Cookie; Cache-Control of requests is ignored; then in the shared "
         "tier, 50 ms at most; compressed to br, gzip from 1KiB"),
        ("cache key", "zone app, http://a.example/x/y?w=1&h=&w=2"),
    ]


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("OPTIONS", "not for OPTIONS: it goes to the server"),
        ("POST", "not for POST: it goes to the server, and makes what is stored for the URL invalid when it succeeds (RFC 9111 §4.4)"),
    ],
)
def test_methods_that_are_not_answered_from_a_cache(method: str, text: str) -> None:
    assert list(cache_facts(CacheSpec("app"), "http", "/", Question(method, "a", "/"))) == [("cache", text)]


@pytest.mark.parametrize(
    ("condition", "past", "text"),
    [
        (Condition("cookie", "present", "a"), True, "cookie a"),
        (Condition("cookie", "present", "c"), False, "cookie c"),
        (Condition("cookie", "present", "c", negate=True), True, "no cookie c"),
        (Condition("header", "prefix", "accept-language", "d"), True, "header accept-language = d*"),
        (Condition("header", "suffix", "accept-language", "d"), False, "header accept-language = *d"),
        (Condition("query", "exact", "w", "2"), True, "query w = 2"),
        (Condition("query", "regex", "w", "^3", negate=True), True, "query w not ~ ^3"),
    ],
)
def test_requests_that_go_past(condition: Condition, past: bool, text: str) -> None:
    never = Condition("header", "present", "x-never")
    assert bypassing((never, condition), "/x/y", GET) == (condition if past else None)
    assert condition_text(condition) == text
    facts = list(cache_facts(CacheSpec("app", bypass=(never, condition)), "http", "/x/y", GET))
    assert (facts == [("cache", f"not for this request, which has {text}: it goes to the server, and its answer is not stored")]) == past


def test_a_dry_run_tells_it() -> None:
    config = config_of("""
        listen: :8080
        routes: [{match: /a/*, to: app, cache: {ttl: 10m, key: [host, path, "query:w"]}}, {to: app}]
        upstreams: {app: 10.0.0.1:80}
    """)
    (cached,) = explain_config(config, Question("GET", "h", "/a/../a/%41", query="w=5&x=6"))
    assert dict(cached.facts)["cache key"] == "zone app, host h, path /a/A, query w=5"
    assert [word for word, _ in cached.facts][:2] == ["cache", "cache key"]
    (other,) = explain_config(config, Question("GET", "h", "/b"))
    assert "cache" not in dict(other.facts)


def test_times_are_told_as_the_config_writes_them() -> None:
    assert freshness_text(CacheSpec("a", default_s=int(Lifetime("90m")))).endswith("else 90m")
