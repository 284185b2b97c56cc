from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path

import pytest

from proxyd.cachetier.settings import TierSettings
from proxyd.caching.keeper import SnapshotRule
from proxyd.caching.service import Wanted
from proxyd.governor.breaker import BreakerPolicy
from proxyd.governor.governor import GovernorPolicy
from proxyd.governor.gradient import AdaptivePolicy
from proxyd.health.check import Check, DnsCheck, HttpCheck, PostgresCheck, RedisCheck, TcpCheck, UdpCheck
from proxyd.health.expect import Test
from proxyd.health.outliers import Latency, OutlierPolicy, SuccessRate
from proxyd.health.preface import own_header
from proxyd.health.script import Expect, Pattern, Send
from proxyd.snapshot.explain import compile_unbound
from proxyd.upkeep import build_checks, cache_wanted, governor_policy, hedge_percentiles, outlier_policy
from proxyd_ext.snapshot.spec import CompressSpec
from tests.support.config import config_of, upstream_of


def test_checks_by_default() -> None:
    assert build_checks(upstream_of("health: none")) == ()
    assert build_checks(upstream_of("health: /healthz")) == (HttpCheck("/healthz"),)
    assert build_checks(upstream_of("health: tcp")) == (TcpCheck(),)


def test_every_option_of_a_check() -> None:
    upstream = upstream_of(
        "health: {active: [{path: /z, method: POST, host: a.example, headers: {X-Key: k}, expect: '200,301-302', body: {regex: '^ok'}, "
        "header: {X-Role: primary, X-Old: {present: false}}, port: 81, interval: 4s, interval_failing: 1s, interval_down: 9s, jitter: 20%, "
        "timeout: 500ms, rise: 4, fall: 5, initial: up}, {tcp: {send: \"PING\\r\\n\", expect: +PONG}}, {path: /b, body: ready}]}"
    )
    http, tcp, body = build_checks(upstream)
    assert http == HttpCheck(
        "/z", ((200, 200), (301, 302)), "a.example", "POST", (("X-Key", "k"),), Test("regex", "^ok"),
        (("X-Role", Test("exact", "primary")), ("X-Old", Test("present", negate=True))),
        port=81, interval=4, interval_failing=1, interval_down=9, jitter=0.2, timeout=0.5, rise=4, fall=5, initial="up",
    )
    assert tcp == TcpCheck((Send(b"PING\r\n"), Expect(b"+PONG")))
    assert body == HttpCheck("/b", body=Test("contains", "ready"))


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("tcp: {expect: hi}", TcpCheck((Expect(b"hi"),))),
        ("tcp: {send: ä, expect: {regex: '^b'}}", TcpCheck((Send("ä".encode()), Expect(Pattern("^b"))))),
        ('tcp: {send: "a\\x00b", expect_hex: 00FF}', TcpCheck((Send(b"a\0b"), Expect(b"\0\xff")))),
        (
            "tcp: {script: [{send: a}, {expect: c, not: true}, {expect: {regex: d}, not: true}, {expect: b, within: 4KiB}, {send_hex: 0a}, "
            "{expect_hex: '01'}]}",
            TcpCheck((Send(b"a"), Expect(b"b", 4096, (b"c", Pattern("d"))), Send(b"\n"), Expect(b"\1"))),
        ),
        ("udp: {send: a}", UdpCheck(b"a")),
        ("udp: {send_hex: 'ff 00', expect: {regex: x}}", UdpCheck(b"\xff\0", Pattern("x"))),
        ("udp: {send: a, expect_hex: '01'}", UdpCheck(b"a", b"\1")),
        ("udp: {dns: A.example.}", DnsCheck("a.example")),
        ("dns: .", DnsCheck("")),
        ("redis: replica", RedisCheck("replica")),
        ("redis: {role: any, user: u, password: p}", RedisCheck("any", "u", "p")),
        ("postgres: {role: any, user: u}", PostgresCheck("any", "u", "postgres")),
        ("postgres: {role: primary, user: u, database: d, password: p}", PostgresCheck("primary", "u", "d", "p")),
    ],
)
def test_kinds_of_checks(text: str, check: Check) -> None:
    assert build_checks(upstream_of(f"health: {{{text}}}")) == (check,)
    rhythm = "interval: 4s, interval_failing: 1s, interval_down: 9s, jitter: 20%, timeout: 500ms, rise: 4, fall: 5, initial: up, port: 81"
    timed = dataclasses.replace(
        check, interval=4, interval_failing=1, interval_down=9, jitter=0.2, timeout=0.5, rise=4, fall=5, initial="up", port=81)
    assert build_checks(upstream_of(f"health: {{active: [{{{text}, {rhythm}}}]}}")) == (timed,)


def test_checks_of_servers_that_want_a_proxy_header() -> None:
    """Version 1 is not for datagrams; the options of version 2 are for connections of clients."""
    kinds = "[/z, tcp, {redis: any}, {postgres: {role: any, user: u}}, {udp: {send: a}}, {dns: a.example}]"
    local = own_header("v2", datagram=False)
    for header, streams, datagrams in (
        ("none", b"", b""), ("v1", b"PROXY UNKNOWN\r\n", b""), ("v2", local, local), ("{crc32c: true, unique_id: true}", local, local)
    ):
        checks = build_checks(upstream_of(f"health: {{active: {kinds}}}, proxy_protocol: {header}"))
        assert [check.preface for check in checks] == [streams] * 4 + [datagrams] * 2
        assert [check.title for check in checks] == ["GET /z", "tcp", "redis any", "postgres any", "udp", "dns a.example"]


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ("health: {passive: none}", OutlierPolicy()),
        ("health: none", OutlierPolicy()),
        ("health: {passive: {success_rate: on, latency: on}}", OutlierPolicy(success_rate=SuccessRate(), latency=Latency())),
        (
            "health: {passive: {error_rate: 55%, window: 20s, min_requests: 7, eject: 5s, eject_max: 1m, max_ejected: 29%, "
            "success_rate: {deviations: 2.5, min_servers: 3, min_requests: 50}, latency: {factor: 4, min_servers: 6, min_requests: 70}}}",
            OutlierPolicy(20, 5, 60, 0.29, 0.55, 7, SuccessRate(2.5, 3, 50), Latency(4, 6, 70)),
        ),
    ],
)
def test_outliers(options: str, policy: OutlierPolicy) -> None:
    assert outlier_policy(upstream_of(options).health.passive) == policy


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ("circuit: {max_requests: 5}", GovernorPolicy()),
        ("circuit: {error_ratio: 50%, adaptive: on}", GovernorPolicy(BreakerPolicy(0.5), AdaptivePolicy())),
        (
            "circuit: {error_ratio: 10%, window: 5s, min_requests: 9, open_for: 3s, probes: 2, "
            "adaptive: {min: 5, max: 50, tolerance: 1.5}}",
            GovernorPolicy(BreakerPolicy(0.1, 5, 9, 3, 2), AdaptivePolicy(5, 50, 1.5)),
        ),
    ],
)
def test_governors(options: str, policy: GovernorPolicy) -> None:
    assert governor_policy(upstream_of(options).circuit, None) == policy


def test_an_upstream_has_one_hedge_delay() -> None:
    config = config_of(
        "listen: :8080\n"
        "upstreams: {a: {servers: ['127.0.0.1:1']}, b: {servers: ['127.0.0.1:2']}, c: {servers: ['127.0.0.1:3']}, spare: '127.0.0.1:4'}\n"
        "routes:\n"
        "- {match: /1, to: a, hedge: p90}\n"
        "- {match: /2, to: {a: 1, b: 1}, hedge: p99}\n"
        "- {match: /3, to: {a: 1, b: 1}, hedge: p50}\n"
        "- {match: /4, to: c, hedge: 200ms}\n"
        "- {match: /5, to: c}\n"
        "- {match: /6, to: c, failover: spare, hedge: {after: p50}}\n"
    )
    assert hedge_percentiles(config) == {"a": 0.99, "b": 0.99, "c": 0.5, "spare": 0.5}
    assert governor_policy(config.upstreams["a"].circuit, 0.99) == GovernorPolicy(hedge=0.99)


# ---------------------------------------------------------------------- the cache
def wanted(text: str) -> Wanted:
    config = config_of(textwrap.dedent(text))
    spec = compile_unbound(config).spec
    found = cache_wanted(config, spec)
    assert found.store is spec.cache
    return found


def test_where_nothing_is_stored_nothing_is_wanted() -> None:
    assert wanted("listen: 127.0.0.1:8080\nto: [127.0.0.1:1]\n") == Wanted()


def test_what_stands_around_the_cache() -> None:
    found = wanted("""
        listen: 127.0.0.1:8080
        cache:
          memory: {snapshot: {file: /var/lib/proxyd/s, every: 1m}}
          shared:
            {redis: "redis://:secret@127.0.0.1:1/2", prefix: "p:", timeout: 20ms, circuit: {failures: 3, open_for: 2s}, max_object: 2KiB}
        policies: {small: {compress: {encodings: [br], min_size: 2KiB, types: [text/css]}}}
        upstreams: {app: {servers: [127.0.0.1:1]}}
        routes: [{name: media, match: /a, to: app, cache: 10m, use: [small]}, {name: plain, to: app, cache: 10m}]
    """)
    assert found.snapshot == SnapshotRule(Path("/var/lib/proxyd/s"), 60.0)
    assert found.tier == TierSettings(
        redis="redis://:secret@127.0.0.1:1/2", prefix="p:", timeout_s=0.02, circuit_failures=3, circuit_open_s=2.0, max_object=2048)
    assert found.compress == {"media": CompressSpec(("br",), 2048, ("text/css",))}


@pytest.mark.parametrize(("cache", "snapshot", "tier"), [
    ("{memory: {snapshot: {file: /s, every: none}}}", SnapshotRule(Path("/s"), 0), None),
    ("{shared: 127.0.0.1:11211}", None, TierSettings(memcached="127.0.0.1:11211")),
    ("{shared: {memcached: [127.0.0.1:1, 'unix:/m']}}", None, TierSettings(memcached="127.0.0.1:1,unix:/m")),
    ("{shared: 127.0.0.1:11211, tiers: [memory]}", None, None),
])
def test_parts_of_it(cache: str, snapshot: SnapshotRule | None, tier: TierSettings | None) -> None:
    text = "listen: 127.0.0.1:8080\nupstreams: {app: {servers: [127.0.0.1:1]}}\nroutes: [{to: app, cache: 1m}]\n"
    found = wanted(f"cache: {cache}\n{text}")
    assert (found.snapshot, found.tier, found.compress) == (snapshot, tier, {})
