"""The daemon's part for limits: it shares those with `scope: cluster` with the other proxies, and tells what every limit does.

It follows each config that is taken. Where no limit is shared there is no store, no task and no client library.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from proxyd import codes
from proxyd.clock import Clock
from proxyd.diagnostics.suggest import closest
from proxyd.limits.entries import limit_entries
from proxyd.limits.keys import USER, Found, HashKey, Places, Rate, found_of, key_view, limits_of
from proxyd.limits.leases import LeaseStore, SharedLimit, ShareSettings
from proxyd.limits.sharing import ShareCounters, Sharing
from proxyd.limits.views import Facts, KeyView, LimitsView, LimitView, ResetView, limit_views, limits_view
from proxyd.snapshot.policy_words import parts_text
from proxyd.state import LimitEntries, ShareEntry
from proxyd_ext.snapshot.spec import RateLimitFilter

if TYPE_CHECKING:
    from proxyd.config.cluster import SharedLimits
    from proxyd.config.model import Config, Policy
    from proxyd_ext.limit.gate import Gate
    from proxyd_ext.snapshot.spec import Filter, SnapshotSpec

SHOWN_MOST = 20                # limits that an error names

log = logging.getLogger("proxyd.limits")


def open_redis(settings: ShareSettings) -> LeaseStore:
    from proxyd.limits.redis_leases import RedisLeases  # here: a proxy that shares nothing does not load the client

    return RedisLeases(settings.redis, settings.prefix)


class LimitError(Exception):
    """A question or an order that makes no sense; nothing was changed. The message is a sentence for the operator."""

    def __init__(self, code: codes.Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class Limits:
    def __init__(
        self,
        clock: Clock,
        gate: Gate,
        now_us: Callable[[], int],
        hash_key: HashKey,
        *,
        consumer: Callable[[str], int | None] = lambda name: None,
        open_store: Callable[[ShareSettings], LeaseStore] = open_redis,
    ) -> None:
        """`now_us`: the engines' clock, `proxyd_ext.limit.rate.now_us`. `consumer`: under which hash the tables of usage plans know one."""
        self._clock, self._gate, self._now_us = clock, gate, now_us
        self._hash_key, self._consumer, self._open_store = hash_key, consumer, open_store
        self._sharing: Sharing | None = None
        self._config: Config | None = None
        self._spec: SnapshotSpec | None = None
        self.counters = ShareCounters()

    # ------------------------------------------------------------------ life
    async def follow(self, config: Config, spec: SnapshotSpec) -> None:
        """Share what the config that is being taken shares; before the engines get it. Never fails, and waits for no store."""
        self._config, self._spec = config, spec
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

    # ------------------------------------------------------------------ facts
    def entries(self) -> LimitEntries:
        """The handles, for the metrics."""
        if self._spec is None:
            return LimitEntries()
        sharing = self._sharing
        shared = ShareEntry(sharing.nodes, sharing.local, sharing.waiting, self.counters) if sharing is not None else None
        return limit_entries(self._spec, self._gate, self._now_us(), shared)

    def view(self) -> LimitsView:
        return limits_view(self._facts())

    def one(self, policy: str) -> LimitView:
        """LimitError: there is none."""
        self._find(policy)
        return next(view for view in limit_views(self._facts()) if view.policy == policy)

    def key(self, policy: str, texts: Sequence[str]) -> KeyView:
        """What a limit says to a key, one text for each of its parts. LimitError."""
        found = self._find(policy)
        return key_view(found, texts, self._hash(found, texts), self._now_us())

    def peek(self, step: Filter, texts: Sequence[str]) -> KeyView | None:
        """The same for a filter of a route; None where it counts by nothing that is known, or not at all."""
        found = next(iter(found_of(step)), None)
        if found is None or found.parts == USER:
            return None
        try:
            return key_view(found, texts, self._hash(found, texts), self._now_us())
        except LimitError:
            return None

    def _facts(self) -> Facts:
        found = limits_of(self._spec) if self._spec is not None else {}
        policies = dict(used_policies(self._config)) if self._config is not None else {}
        return Facts(policies, self.entries(), {name: limit.parts for name, limit in found.items()}, self._sharing)

    def _find(self, policy: str) -> Found:
        limits = limits_of(self._spec) if self._spec is not None else {}
        if policy in limits:
            return limits[policy]
        near = closest(policy, limits)
        known = ", ".join(sorted(limits)[:SHOWN_MOST]) or "none"
        meant = f"did you mean `{near}`? " if near else ""
        raise LimitError(codes.NO_LIMIT, f"no route uses a limit `{policy}`; {meant}there is: {known}")

    def _hash(self, found: Found, texts: Sequence[str]) -> int:
        if len(texts) != len(found.parts):
            wanted = "one text" if len(found.parts) == 1 else f"{len(found.parts)} texts, one for each part"
            raise LimitError(codes.LIMIT_KEY, f"`{found.name}` counts by {parts_text(found.parts)}: give {wanted}")
        if found.parts == USER and isinstance(found, Rate) and found.kind == "plan":
            consumer = self._consumer(texts[0])
            if consumer is None:
                raise LimitError(codes.LIMIT_KEY, f"there is no consumer `{texts[0]}`")
            return consumer
        try:
            hash_ = self._hash_key(found.parts, texts, found.salt)
        except ValueError as error:
            raise LimitError(codes.LIMIT_KEY, str(error)) from error
        if not hash_:
            raise LimitError(codes.LIMIT_KEY, "requests whose key is empty are not counted")
        return hash_

    # ------------------------------------------------------------------ orders
    async def reset(self, policy: str, texts: Sequence[str] = ()) -> ResetView:
        """Forget a key, or all keys: what it took is given back, a ban ends. LimitError."""
        found = self._find(policy)
        if isinstance(found, Places):
            raise LimitError(codes.LIMIT_KEPT, f"`{policy}` counts requests in flight; each is given back when it ends")
        hash_ = self._hash(found, texts) if texts else None
        if not isinstance(found, Rate):
            return ResetView(policy, tuple(texts), found.bans.reset(hash_), None)
        shares = self._sharing is not None and self._sharing.shares(found.limit)
        # The store first: a lease that is asked for anew finds the bucket full.
        everywhere = await self._sharing.forget(policy, hash_) is not None if self._sharing is not None and shares else None
        return ResetView(policy, tuple(texts), found.limit.reset(hash_), everywhere)


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
