"""`rate_limit` and `concurrency` by key, and the rates of usage plans, as the engines take them.

A limit's state (its native table) outlives reloads as long as all stays the same that the state depends on: what is counted, by which key,
at which rate. What becomes of those who are over it (status, fields, dry run, the most in flight) may change beside a table that goes on.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from proxyd.config.limit_keys import split_limit_key
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.rate import RateLimit as NativeRateLimit
from proxyd_ext.snapshot.spec import InflightFilter, LimitKeyPart, RateLimitFilter

if TYPE_CHECKING:
    from proxyd.config.cluster import SharedLimits
    from proxyd.config.concurrency import KeyConcurrency
    from proxyd.config.model import Config
    from proxyd.config.rate_limit import RateLimit
    from proxyd.config.units import RequestRate
    from proxyd.snapshot.handles import Handles

NODELAY = -1


def limit_key(words: Iterable[str], ipv4_bits: int, ipv6_bits: int) -> tuple[LimitKeyPart, ...]:
    """The parts of a key; the bits belong to those that are an address, so that other keys are the same whatever they say."""
    parts: list[LimitKeyPart] = []
    for word in words:
        kind, name = split_limit_key(word)
        parts.append(LimitKeyPart(kind, name, ipv4_bits, ipv6_bits) if kind == "client.ip" else LimitKeyPart(kind, name))
    return tuple(parts)


def build_rate_limit(config: Config, handles: Handles, name: str, limit: RateLimit) -> RateLimitFilter:
    key = limit_key(limit.key, limit.ipv4, limit.ipv6)
    rate, leased = limit.rate, limit.scope == "cluster"
    delay = limit.delay if limit.mode == "delay" else NODELAY

    def new() -> NativeRateLimit:
        return NativeRateLimit(
            name,
            requests=rate.requests,
            per_us=rate.per_us,
            burst=limit.burst,
            algorithm=limit.algorithm,
            delay=delay,
            capacity=limit.keys,
            leased=leased,
        )

    definition = (rate.key, limit.burst, limit.algorithm, delay, limit.keys, leased, key)
    quota, window_s = policy_fields(rate, limit.burst)
    salt = shared_salt(config.limits) if leased else 0
    return RateLimitFilter(
        name, handles.get("rate", name, definition, new), key, limit.on_limit.status, limit.headers, quota, window_s, limit.dry_run, salt
    )


def shared_salt(shared: SharedLimits | None) -> int:
    """What keys of shared limits are hashed with, so that all proxies mean the same by a hash: not 0. Where the store has a password,
    nobody else can look for another key that meets a certain one."""
    secret = f"{shared.prefix}\0{shared.redis.password}" if shared is not None and shared.redis is not None else ""
    return int.from_bytes(hashlib.sha256(f"limits\0{secret}".encode()).digest()[:8], "little") | 1


def policy_fields(rate: RequestRate, burst: int) -> tuple[int, int]:
    """What RateLimit-Policy tells of a limit: (q, w), all requests that pass at once, and the seconds in which so many flow off, rounded
    up: who has spent q and waits w finds the whole of it again."""
    return burst + 1, rate.seconds_for(burst + 1)


def build_inflight(handles: Handles, name: str, concurrency: KeyConcurrency) -> InflightFilter:
    key = limit_key(concurrency.key, concurrency.ipv4, concurrency.ipv6)
    table = handles.get("inflight", name, (concurrency.keys, key), lambda: Inflight(name, capacity=concurrency.keys))
    return InflightFilter(name, table, key, concurrency.max, concurrency.on_limit.status, concurrency.dry_run)


def plan_limit(handles: Handles, plan_name: str, rate: RequestRate, burst: int) -> tuple[NativeRateLimit, int, int]:
    """The rate of a usage plan, by consumer: its table, and what RateLimit-Policy tells of it (requests, in so many seconds)."""

    def new() -> NativeRateLimit:
        return NativeRateLimit(plan_name, requests=rate.requests, per_us=rate.per_us, burst=burst)

    return handles.get("plan", plan_name, (rate.key, burst), new), *policy_fields(rate, burst)
