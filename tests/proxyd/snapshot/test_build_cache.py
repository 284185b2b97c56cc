from __future__ import annotations

import pytest

from proxyd.snapshot.build import build_spec
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd.snapshot.verdicts import null_listener
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    AsideAction,
    CacheKeyPart,
    CacheSpec,
    CompressSpec,
    Condition,
    ProxyAction,
    SnapshotSpec,
)
from tests.support.config import config_of

HEAD = """\
upstreams: {a: 10.0.0.1:80, b: 10.0.0.2:80}
policies: {gz: {compress: gzip}, br: {compress: {encodings: br, types: a/b, min_size: 10B}}}
"""


def build(text: str) -> SnapshotSpec:
    config = config_of(HEAD + text)
    return build_spec(
        config, members_of(config, {}), lambda name, bind: null_listener(name, str(bind)), Store(), generation=1, config_hash=""
    )


def cache(route: str, more: str = "") -> CacheSpec | None:
    action = build(f"listen: ':1'\nroutes: [{{match: /x, to: a, {route}}}, {{to: {{a: 1, b: 1}}}}]\n{more}").tables[0][0].action
    assert isinstance(action, ProxyAction)
    return action.cache


def test_no_cache() -> None:
    assert cache("name: x") is None
    assert cache("cache: none") is None


def test_what_holds_without_a_word_is_what_holds_in_the_engine() -> None:
    assert cache("cache: on") == CacheSpec("a", share_ms=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", CacheSpec("a", default_s=600, share_ms=0)),
        ("{ttl: {override: 1h}}", CacheSpec("a", override_s=3600, share_ms=0)),
        ("{ttl: {default: 1s, min: 2s, max: 1d}}", CacheSpec("a", default_s=1, min_s=2, max_s=86_400, share_ms=0)),
        ("{grace: 1h}", CacheSpec("a", while_revalidate_s=3600, if_error_s=3600, share_ms=0)),
        ("{grace: none}", CacheSpec("a", while_revalidate_s=0, if_error_s=0, share_ms=0)),
        ("{grace: {stale_if_error: 5s}}", CacheSpec("a", if_error_s=5, share_ms=0)),
        ("{negative: 5s}", CacheSpec("a", negative_s=5, share_ms=0)),
        ("{negative: {ttl: 5s, statuses: 5xx}}", CacheSpec("a", negative_s=5, negative=((500, 599),), share_ms=0)),
        ("{heuristic: {percent: 20%, max: 1h}}", CacheSpec("a", heuristic_percent=20, heuristic_max_s=3600, share_ms=0)),
        ("{collapse: none, variants: 5, uncacheable: none}", CacheSpec("a", collapse_ms=0, variants=5, uncacheable_s=0, share_ms=0)),
        ("{collapse: 1s, max_object: 1KiB}", CacheSpec("a", collapse_ms=1000, max_object=1024, share_ms=0)),
        ("{set_cookie: strip, client_directives: false}", CacheSpec("a", strip_set_cookie=True, client_directives=False, share_ms=0)),
        ("{tags: ['header:X-Tags']}", CacheSpec("a", tags=("x-tags",), share_ms=0)),
        (
            "{key: [host, path, 'query:w,H', 'header:X-Lang', 'cookie:C']}",
            CacheSpec(
                "a",
                key=(
                    CacheKeyPart("host"),
                    CacheKeyPart("path"),
                    CacheKeyPart("query", ("w", "H")),
                    CacheKeyPart("header", ("x-lang",)),
                    CacheKeyPart("cookie", ("C",)),
                ),
                share_ms=0,
            ),
        ),
        (
            "{bypass: {header: {X-A: b}, cookie: {c: {present: false}}}}",
            CacheSpec("a", bypass=(Condition("header", "exact", "x-a", "b"), Condition("cookie", "present", "c", negate=True)), share_ms=0),
        ),
    ],
)
def test_each_setting(text: str, expected: CacheSpec) -> None:
    assert cache(f"cache: {text}") == expected


def test_the_zone_stays_when_weights_and_further_branches_change() -> None:
    def zone(to: str) -> str:
        action = build(f"listen: ':1'\nroutes: [{{to: {to}, cache: on}}]").tables[0][0].action
        assert isinstance(action, ProxyAction)
        assert action.cache is not None
        return action.cache.zone

    assert zone("b") == zone("{b: 1, a: 99}") == zone("{b: 0, a: 100}") == "b"


def test_the_shared_tier() -> None:
    shared = "cache: {shared: {memcached: 'm:1', timeout: 20ms}}"
    assert cache("cache: on", shared) == CacheSpec("a", share=True, share_ms=20)
    assert cache("cache: {share: false}", shared) == CacheSpec("a", share=False, share_ms=20)
    assert cache("cache: on", "cache: {shared: 'm:1', tiers: memory}") == CacheSpec("a", share=False, share_ms=50)


def test_of_compressing_policies_the_last_holds() -> None:
    def compress(use: str, more: str = "") -> CompressSpec | None:
        found = cache(f"cache: on, use: {use}", more)
        assert found is not None
        return found.compress

    best = CompressSpec(("br",), 10, ("a/b",))
    assert compress("[]") is None
    assert compress("[gz, br]") == compress("br", "defaults: {use: gz}") == best
    plain = compress("[br, gz]")
    assert plain is not None
    assert (plain.encodings, plain.min_size, plain.types[:2]) == (("gzip",), 1024, ("text/*", "application/json"))


def test_a_listener_that_offers_the_store() -> None:
    spec = build("""
listeners: {one: {bind: '127.0.0.1:1', mode: cache}, two: {bind: '127.0.0.1:2', mode: cache}, web: {bind: '127.0.0.1:3', to: a}}
cache: {aside: {max_value: 2KiB, ttl: 5s}, shared: {memcached: 'm:1', timeout: 20ms}, purge: {allow: [127.0.0.1, 10.0.0.0/8]}}
""")
    (route,), _ = spec.tables
    assert [listener.table for listener in spec.listeners] == [0, 0, 1]
    assert (route.name, route.path, route.path_exact, route.conditions, route.filters) == ("cache", "/cache/", False, (), ())
    assert route.action == AsideAction("/cache/", max_value=2048, default_ttl_s=5, share=True, share_ms=20)
    assert [len(listener.stats) for listener in spec.listeners] == [2, 2, 2]
    assert spec.purge_allow == ("127.0.0.1/32", "10.0.0.0/8")
    assert spec.cache is None


def test_defaults_hold_for_the_store_too() -> None:
    config = config_of("""
        listeners: {one: {bind: '10.0.0.1:1', mode: cache}}
        policies: {office: {access: {allow: [10.0.0.0/8]}}, gz: {compress: on}}
        defaults: {use: [office, gz]}
    """)
    spec = build_spec(
        config, members_of(config, {}), lambda name, bind: null_listener(name, str(bind)), Store(), generation=1, config_hash=""
    )
    assert spec.tables[0][0].filters == (AccessFilter(("10.0.0.0/8",), policy="office"),)
