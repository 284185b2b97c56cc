"""From the cache settings of a route to their specification; and the one route of a listener that offers the store itself."""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from proxyd.config.cache_keys import split_part
from proxyd.config.routes import STORE_PREFIX
from proxyd_ext.snapshot.spec import AsideAction, CacheKeyPart, CacheSpec, CompressSpec, Condition

if TYPE_CHECKING:
    from proxyd.config.model import Cache, Compress, Config, Route
    from proxyd.config.units import Lifetime

UNSET = -1


def build_cache(config: Config, route: Route, sent: Sequence[object] = ()) -> CacheSpec | None:
    """None where the route has no cache. The zone is the first upstream of `to`, also when its weight is 0 at the time: to shift weights,
    or to add an upstream behind it, must not make all that is stored unreachable. `sent`: what the route makes of requests on their way; it
    is part of the zone, because another route to the same upstream may make something else of them and get other answers."""
    cache = route.cache
    if cache is None or route.to is None:
        return None
    ttl, grace, negative, heuristic = cache.ttl, cache.grace, cache.negative, cache.heuristic
    zone = next(iter(route.to))
    if sent:
        zone += "#" + hashlib.sha256(repr(sent).encode()).hexdigest()[:8]
    usual = CacheSpec(zone=zone)
    return replace(
        usual,
        key=tuple(CacheKeyPart(*split_part(part)) for part in cache.key),
        default_s=_seconds(ttl.default),
        override_s=_seconds(ttl.override),
        min_s=_seconds(ttl.min),
        max_s=_seconds(ttl.max),
        heuristic_percent=int(heuristic.percent) if heuristic else 0,
        heuristic_max_s=int(heuristic.max) if heuristic else usual.heuristic_max_s,
        negative_s=_seconds(negative.ttl) if negative else UNSET,
        negative=negative.statuses.ranges if negative else usual.negative,
        while_revalidate_s=_seconds(grace.stale_while_revalidate),
        if_error_s=_seconds(grace.stale_if_error),
        max_object=int(cache.max_object) if cache.max_object is not None else 0,
        variants=cache.variants,
        uncacheable_s=int(cache.uncacheable),
        collapse_ms=int(cache.collapse.timeout) if cache.collapse else 0,
        client_directives=cache.client_directives,
        strip_set_cookie=cache.set_cookie == "strip",
        bypass=tuple(Condition(*demand) for demand in cache.bypass.demands) if cache.bypass else (),
        tags=tuple(field.removeprefix("header:").lower() for field in cache.tags),
        share=config.cache.is_shared and cache.share,
        share_ms=_share_ms(config.cache),
        compress=_compress(config, route),
    )


def build_aside(cache: Cache) -> AsideAction:
    return AsideAction(
        prefix=STORE_PREFIX,
        max_value=int(cache.aside.max_value),
        default_ttl_s=int(cache.aside.ttl),
        share=cache.is_shared,
        share_ms=_share_ms(cache),
    )


def _seconds(lifetime: Lifetime | None) -> int:
    return UNSET if lifetime is None else int(lifetime)


def _share_ms(cache: Cache) -> int:
    return int(cache.shared.timeout) if cache.shared is not None else 0


def _compress(config: Config, route: Route) -> CompressSpec | None:
    """Of several policies the last holds, so that a route's own goes before those of `defaults`."""
    found: Compress | None = None
    for _, policy in config.policies_of(route):
        found = policy.compress or found
    return CompressSpec(found.encodings, int(found.min_size), found.types) if found is not None else None
