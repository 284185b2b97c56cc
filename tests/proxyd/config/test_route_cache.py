from __future__ import annotations

import pytest

from proxyd.config.model import Heuristic, Lifetime, Negative, RouteCache
from proxyd_ext.snapshot.spec import CacheSpec
from tests.support.config import config_of, first_finding

ROUTE = "listen: ':1'\nroutes: [{match: /a, to: ['a:1'], cache: "


def maybe(text: str) -> RouteCache | None:
    return config_of(f"{ROUTE}{text}}}]").routes[0].cache


def cache(text: str) -> RouteCache:
    found = maybe(text)
    assert found is not None
    return found


def test_short_forms() -> None:
    assert cache("on") == cache("{}") == cache("true") == RouteCache()
    assert maybe("none") is None
    assert cache("10m") == cache("{ttl: 10m}") == cache("{ttl: {default: 600s}}")
    assert cache("{grace: 1h}") == cache("{grace: {stale_while_revalidate: 1h, stale_if_error: 60m}}")
    assert cache("{negative: 10s}") == cache("{negative: {ttl: 10s, statuses: '404,410'}}")
    assert cache("{heuristic: 20%}") == cache("{heuristic: {percent: 20%, max: 24h}}")
    assert cache("{collapse: 2s}") == cache("{collapse: {timeout: 2s}}")
    assert (cache("{collapse: none}").collapse, cache("{negative: none}").negative, cache("{heuristic: none}").heuristic) == (None,) * 3


def test_none_and_unset_differ_for_grace() -> None:
    assert (cache("on").grace.stale_while_revalidate, cache("on").grace.stale_if_error) == (None, None)
    assert (cache("{grace: none}").grace.stale_while_revalidate, cache("{grace: none}").grace.stale_if_error) == (Lifetime(0),) * 2
    assert cache("{grace: {stale_if_error: 1d}}").grace.stale_while_revalidate is None


def test_defaults_are_those_of_the_engine() -> None:
    engine, ours = CacheSpec("zone"), RouteCache()
    assert tuple(part.kind for part in engine.key) == ours.key
    assert tuple(f"header:{name}" for name in engine.tags) == tuple(tag.lower() for tag in ours.tags)
    assert (engine.variants, engine.uncacheable_s, engine.client_directives) == (ours.variants, ours.uncacheable, ours.client_directives)
    assert ours.collapse is not None
    assert engine.collapse_ms == ours.collapse.timeout
    assert engine.heuristic_max_s == Heuristic().max
    assert engine.negative == Negative(ttl=Lifetime(1)).statuses.ranges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", ("PXD-031", 1)),
        ("500ms", ("PXD-032", 1)),
        ("[10s]", ("PXD-030", 1)),
        ("{ttl: 10m, gracee: 1h}", ("PXD-021", 12)),
        ("{ttl: 1.5s}", ("PXD-032", 7)),
        ("{ttl: none}", ("PXD-032", 7)),
        ("{ttl: {min: 2h, max: 1h}}", ("PXD-039", 22)),
        ("{ttl: {override: 2h, default: 1h}}", ("PXD-024", 22)),
        ("{ttl: {min: 2h, override: 1h}}", ("PXD-024", 8)),
        ("{ttl: {max: 4000d}}", ("PXD-033", 13)),
        ("{grace: {}}", ("PXD-022", 9)),
        ("{grace: 5}", ("PXD-031", 9)),
        ("{grace: {stale_if_error: 5}}", ("PXD-031", 26)),
        ("{negative: {statuses: 404}}", ("PXD-022", 2)),
        ("{negative: {ttl: 5s, statuses: 200}}", ("PXD-033", 32)),
        ("{heuristic: 10}", ("PXD-031", 13)),
        ("{heuristic: 0%}", ("PXD-033", 13)),
        ("{collapse: 0s}", ("PXD-033", 12)),
        ("{max_object: 0B}", ("PXD-033", 14)),
        ("{variants: 0}", ("PXD-033", 12)),
        ("{uncacheable: 2d}", ("PXD-033", 15)),
        ("{set_cookie: keep}", ("PXD-034", 14)),
        ("{client_directives: maybe}", ("PXD-030", 21)),
        ("{max_object: 1GiB}", ("PXD-039", 14)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{ROUTE}\n{text}}}]\n") == (expected[0], 3, expected[1])


@pytest.mark.parametrize("action", ["redirect: https", "respond: 404"])
def test_only_what_comes_from_a_server_is_stored(action: str) -> None:
    text = f"listen: ':1'\nroutes: [{{match: /a, {action},\ncache: on}}]\n"
    assert first_finding(text) == ("PXD-024", 3, 1)


def test_an_object_may_be_as_large_as_the_store() -> None:
    assert config_of(f"{ROUTE}{{max_object: 256MiB}}}}]").routes[0].cache is not None
    assert config_of(f"{ROUTE}{{max_object: 1GiB}}}}]\ncache: {{memory: 1GiB}}").routes[0].cache is not None
