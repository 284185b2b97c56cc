"""The daemon's part for limits: it shares those with `scope: cluster` with the other proxies, and tells what every limit does.

It follows each config that is taken. Where no limit is shared there is no store, no task and no client library.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from proxyd.clock import Clock
from proxyd.limits.leases import LeaseStore, SharedLimit, ShareSettings
from proxyd.limits.sharing import ShareCounters, Sharing
from proxyd_ext.snapshot.spec import RateLimitFilter

if TYPE_CHECKING:
    from proxyd.config.cluster import SharedLimits
    from proxyd.config.model import Config, Policy
    from proxyd_ext.snapshot.spec import SnapshotSpec

log = logging.getLogger("proxyd.limits")


def open_redis(settings: ShareSettings) -> LeaseStore:
    from proxyd.limits.redis_leases import RedisLeases  # here: a proxy that shares nothing does not load the client

    return RedisLeases(settings.redis, settings.prefix)


class Limits:
    def __init__(
        self, clock: Clock, now_us: Callable[[], int], *, open_store: Callable[[ShareSettings], LeaseStore] = open_redis
    ) -> None:
        """`now_us`: the engines' clock, `proxyd_ext.limit.rate.now_us`."""
        self._clock, self._now_us, self._open_store = clock, now_us, open_store
        self._sharing: Sharing | None = None
        self.counters = ShareCounters()

    async def follow(self, config: Config, spec: SnapshotSpec) -> None:
        """Share what the config that is being taken shares; before the engines get it. Never fails, and waits for no store."""
        limits = list(shared_limits(config, spec))
        settings = share_settings(config.limits) if config.limits is not None and limits else None
        if self._sharing is not None and self._sharing.settings != settings:
            await self.close()
        if settings is None:
            return
        if self._sharing is not None:
            self._sharing.apply(limits)
            return
        try:
            sharing = Sharing(settings, self._clock, self._now_us, counters=self.counters, open_store=self._open_store)
        except Exception as error:
            log.error("limits are not shared with other proxies: %s", error)
            return
        self._sharing = sharing
        await sharing.start(limits)

    async def close(self) -> None:
        sharing, self._sharing = self._sharing, None
        if sharing is not None:
            await sharing.close()

    @property
    def sharing(self) -> Sharing | None:
        return self._sharing


def share_settings(shared: SharedLimits) -> ShareSettings:
    return ShareSettings(
        redis=shared.redis.url if shared.redis is not None else "",
        prefix=shared.prefix,
        timeout_s=shared.timeout.seconds,
        sync_s=shared.sync.seconds,
        lease=0 if shared.lease == "auto" else shared.lease,
        nodes=0 if shared.nodes == "auto" else shared.nodes,
    )


def shared_limits(config: Config, spec: SnapshotSpec) -> Iterator[SharedLimit]:
    """Each once, however many routes use it."""
    policies = dict(used_policies(config))
    seen = set[int]()
    for table in spec.tables:
        for route in table:
            for step in route.filters:
                if not isinstance(step, RateLimitFilter) or id(step.limit) in seen:
                    continue
                rule = policies[step.policy].rate_limit if step.policy in policies else None
                if rule is not None and rule.scope == "cluster":
                    seen.add(id(step.limit))
                    yield SharedLimit(step.policy, step.limit, rule.rate.requests, rule.rate.per_s * 1_000_000, rule.burst)


def used_policies(config: Config) -> Iterator[tuple[str, Policy]]:
    for routes in config.tables():
        for route in routes:
            yield from config.policies_of(route)
