"""What a config asks of the parts beside the engines: active checks, tests for outliers, governors, what stands around the cache."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyd.cachetier.settings import TierSettings
from proxyd.caching.keeper import SnapshotRule
from proxyd.caching.service import Wanted
from proxyd.config.regex import Regex
from proxyd.governor.breaker import BreakerPolicy
from proxyd.governor.governor import GovernorPolicy
from proxyd.governor.gradient import AdaptivePolicy
from proxyd.health.check import Check, DnsCheck, HttpCheck, PostgresCheck, RedisCheck, TcpCheck, UdpCheck
from proxyd.health.expect import Test
from proxyd.health.outliers import Latency, OutlierPolicy, SuccessRate
from proxyd.health.preface import own_header
from proxyd.health.script import Expect, Pattern, Send, Step, What

if TYPE_CHECKING:
    from proxyd.config.active import Active
    from proxyd.config.cache import Cache
    from proxyd.config.circuit import Circuit
    from proxyd.config.health import Passive
    from proxyd.config.model import Config
    from proxyd.config.script import ScriptStep, Udp
    from proxyd.config.upstreams import Upstream
    from proxyd_ext.snapshot.spec import SnapshotSpec


def cache_wanted(config: Config, spec: SnapshotSpec) -> Wanted:
    """What the cache of a snapshot needs around it."""
    if spec.cache is None:
        return Wanted()
    snapshot = config.cache.memory.snapshot
    rule = SnapshotRule(Path(snapshot.file), snapshot.every.seconds) if snapshot is not None else None
    from proxyd.compress.compressor import routes_of  # here: a proxy that stores nothing does not load the libraries

    return Wanted(spec.cache, rule, tier_settings(config.cache), routes_of(spec))


def tier_settings(cache: Cache) -> TierSettings | None:
    """None where there is no shared tier."""
    shared = cache.shared
    if shared is None or not cache.is_shared:
        return None
    return TierSettings(
        redis=shared.redis.url if shared.redis is not None else "",
        memcached=",".join(map(str, shared.memcached or ())),
        prefix=shared.prefix,
        timeout_s=shared.timeout.seconds,
        circuit_failures=shared.circuit.failures,
        circuit_open_s=shared.circuit.open_for.seconds,
        max_object=int(shared.max_object),
    )


def build_checks(upstream: Upstream) -> tuple[Check, ...]:
    return tuple(_check(active, _rhythm(active) | {"preface": _preface(active, upstream)}) for active in upstream.health.active)


def _check(active: Active, rhythm: dict[str, Any]) -> Check:
    if active.tcp is not None:
        return TcpCheck(build_script(active.tcp.steps), **rhythm)
    if active.udp is not None:
        return _udp_check(active.udp, rhythm)
    if active.redis is not None:
        return RedisCheck(active.redis.role, active.redis.user or "", str(active.redis.password or ""), **rhythm)
    if active.postgres is not None:
        postgres = active.postgres
        return PostgresCheck(postgres.role, postgres.user, postgres.database, str(postgres.password or ""), **rhythm)
    body = active.body
    return HttpCheck(
        active.path or "/",
        active.expect.ranges,
        active.host or "",
        active.method,
        tuple(active.headers.items()),
        None if body is None else Test("regex", body.pattern) if isinstance(body, Regex) else Test("contains", body),
        tuple((name, Test(test.kind, test.value, test.negate)) for name, test in active.header.items()),
        **rhythm,
    )


def build_script(steps: tuple[ScriptStep, ...]) -> tuple[Step, ...]:
    """Steps with `not` become part of the `expect` behind them."""
    script: list[Step] = []
    unless: list[What] = []
    for step in steps:
        expected = step.expected
        if expected is None:
            script.append(Send(step.sent or b""))
        elif step.is_guard:
            unless.append(_what(expected))
        else:
            script.append(Expect(_what(expected), int(step.within), tuple(unless)))
            unless = []
    return tuple(script)


def _what(expected: bytes | Regex) -> What:
    return Pattern(expected.pattern) if isinstance(expected, Regex) else expected


def _udp_check(udp: Udp, rhythm: dict[str, Any]) -> Check:
    if udp.dns is not None:
        return DnsCheck(udp.dns.removesuffix("."), **rhythm)
    return UdpCheck(udp.sent or b"", None if udp.expected is None else _what(udp.expected), **rhythm)


def _preface(active: Active, upstream: Upstream) -> bytes:
    header = upstream.proxy_protocol
    return b"" if header is None else own_header(header.version, datagram=active.kind in ("udp", "dns"))


def _rhythm(active: Active) -> dict[str, Any]:
    """The fields of `proxyd.health.check.Rhythm` that a check's own options give."""
    failing, down = active.interval_failing, active.interval_down
    return {
        "interval": active.interval.seconds,
        "interval_failing": None if failing is None else failing.seconds,
        "interval_down": None if down is None else down.seconds,
        "jitter": int(active.jitter) / 100,
        "timeout": active.timeout.seconds,
        "rise": active.rise,
        "fall": active.fall,
        "initial": active.initial,
        "port": active.port or 0,
    }


def outlier_policy(passive: Passive | None) -> OutlierPolicy:
    if passive is None:
        return OutlierPolicy()
    rate, slow = passive.success_rate, passive.latency
    return OutlierPolicy(
        window=passive.window.seconds,
        eject=passive.eject.seconds,
        eject_max=passive.eject_max.seconds,
        max_ejected=int(passive.max_ejected) / 100,
        error_rate=None if passive.error_rate is None else int(passive.error_rate) / 100,
        min_requests=passive.min_requests,
        success_rate=None if rate is None else SuccessRate(float(rate.deviations.number), rate.min_servers, rate.min_requests),
        latency=None if slow is None else Latency(float(slow.factor.number), slow.min_servers, slow.min_requests),
    )


def governor_policy(circuit: Circuit, hedge: float | None) -> GovernorPolicy:
    """`hedge`: see `hedge_percentiles`."""
    ratio, adaptive = circuit.error_ratio, circuit.adaptive
    breaker = None
    if ratio is not None:
        breaker = BreakerPolicy(int(ratio) / 100, circuit.window.seconds, circuit.min_requests, circuit.open_for.seconds, circuit.probes)
    limit = None if adaptive is None else AdaptivePolicy(adaptive.min, adaptive.max, float(adaptive.tolerance.number))
    return GovernorPolicy(breaker, limit, hedge)


def hedge_percentiles(config: Config) -> dict[str, float]:
    """Upstream -> the percentile after which its routes hedge, for those that hedge by one. It has one delay, so of several percentiles the
    highest counts: rather a hedge too few."""
    found: dict[str, float] = {}
    for listener in config.listeners.values():
        for route in config.routes_of(listener):
            if route.hedge is None or not isinstance(route.hedge.after, str):
                continue
            share = int(route.hedge.after.removeprefix("p")) / 100
            for upstream in (*(route.to or ()), *((route.failover.to,) if route.failover else ())):
                found[upstream] = max(found.get(upstream, 0.0), share)
    return found
