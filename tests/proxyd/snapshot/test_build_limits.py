from __future__ import annotations

from dataclasses import replace

import pytest

from proxyd.config.units import RequestRate
from proxyd.snapshot import build_limits
from proxyd.snapshot.build_limits import build_inflight, build_rate_limit, limit_key, plan_limit, policy_fields
from proxyd.snapshot.handles import Handles, HandleStore
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.snapshot.spec import InflightFilter, LimitKeyPart, RateLimitFilter
from tests.support.config import config_of

IP = LimitKeyPart("client.ip", ipv4_bits=32, ipv6_bits=64)


def rate(handles: Handles, text: str, name: str = "p") -> RateLimitFilter:
    config = config_of(f"{{listen: ':1', to: 'a:1', policies: {{{name}: {{rate_limit: {text}}}}}, defaults: {{use: {name}}}}}")
    limit = config.policies[name].rate_limit
    assert limit is not None
    return build_rate_limit(config, handles, name, limit)


def inflight(handles: Handles, text: str) -> InflightFilter:
    config = config_of(f"{{listen: ':1', to: 'a:1', policies: {{p: {{concurrency: {text}}}}}, defaults: {{use: p}}}}")
    concurrency = config.policies["p"].concurrency
    assert concurrency is not None
    return build_inflight(handles, "p", concurrency)


def test_keys() -> None:
    assert limit_key(("client.ip",), 24, 56) == (LimitKeyPart("client.ip", "", 24, 56),)
    assert limit_key(("header:X-A", "jwt.sub", "api_key", "cookie:S", "query:q", "route"), 24, 56) == (
        LimitKeyPart("header", "x-a"),
        LimitKeyPart("claim", "sub"),
        LimitKeyPart("user"),
        LimitKeyPart("cookie", "S"),
        LimitKeyPart("query", "q"),
        LimitKeyPart("route"),
    )


def test_a_rate_limit() -> None:
    handles = Handles(HandleStore())
    found = rate(handles, "{rate: 20/s, burst: 40, on_limit: 503, headers: always, dry_run: true}")
    assert isinstance(found.limit, RateLimit)
    assert found == RateLimitFilter("p", found.limit, (IP,), 503, "always", 41, 3, True)
    assert [kind for kind, _, _ in handles.keys] == ["rate"]


class Made:
    """Notes what a native table is asked to be."""

    def __init__(self, name: str, **options: object) -> None:
        self.name, self.options = name, options


def test_what_the_table_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_limits, "NativeRateLimit", Made)
    handles = Handles(HandleStore())

    def told(text: str) -> object:
        made = rate(handles, text).limit
        assert isinstance(made, Made)
        return made.options

    plain = {
        "requests": 5, "per_us": 10_000_000, "burst": 0, "algorithm": "token_bucket", "delay": -1, "capacity": 1_000_000, "leased": False,
    }
    assert told("{rate: 5/10s, burst: 0}") == plain
    assert told("{rate: 5/10s, burst: 9, mode: delay}") == {**plain, "burst": 9, "delay": 0}
    assert told("{rate: 5/10s, burst: 9, mode: delay, delay: 4, algorithm: leaky_bucket, keys: 5000}") == {
        **plain, "burst": 9, "delay": 4, "algorithm": "leaky_bucket", "capacity": 5000,
    }
    limit, quota, window_s = plan_limit(handles, "gold", RequestRate("100/m"), 20)
    assert isinstance(limit, Made)
    assert (limit.name, limit.options, quota, window_s) == ("gold", {"requests": 100, "per_us": 60_000_000, "burst": 20}, 21, 13)


BASE = "{rate: 20/s, burst: 40, key: client.ip}"


@pytest.mark.parametrize(
    "text",
    [
        "{rate: 20/s, burst: 40, on_limit: 503}",
        "{rate: 20/s, burst: 40, headers: none, dry_run: true}",
    ],
)
def test_state_goes_on_while_what_is_counted_stays_the_same(text: str) -> None:
    store = HandleStore()
    first, second = rate(Handles(store), BASE), rate(Handles(store), text)
    assert second.limit is first.limit
    assert second != first


@pytest.mark.parametrize(
    "text",
    [
        "{rate: 21/s, burst: 40}",
        "{rate: 1200/m, burst: 40}",
        "{rate: 20/s, burst: 41}",
        "{rate: 20/s, burst: 40, key: host}",
        "{rate: 20/s, burst: 40, ipv6: 56}",
        "{rate: 20/s, burst: 40, algorithm: leaky_bucket}",
        "{rate: 20/s, burst: 40, mode: delay}",
        "{rate: 20/s, burst: 40, keys: 2000}",
    ],
)
def test_a_limit_that_is_redefined_starts_anew(text: str) -> None:
    store = HandleStore()
    first = rate(Handles(store), BASE)
    assert rate(Handles(store), text).limit is not first.limit
    assert rate(Handles(store), BASE, name="q").limit is not first.limit
    assert rate(Handles(store), BASE).limit is first.limit


def test_bits_of_addresses_do_not_matter_to_other_keys() -> None:
    store = HandleStore()
    first = rate(Handles(store), "{rate: 1/s, burst: 2, key: host, ipv4: 24}")
    assert rate(Handles(store), "{rate: 1/s, burst: 2, key: host}").limit is first.limit


def test_in_flight() -> None:
    store = HandleStore()
    found = inflight(Handles(store), "10")
    assert isinstance(found.table, Inflight)
    assert found == InflightFilter("p", found.table, (IP,), 10, 429, False)
    assert inflight(Handles(store), "{max: 20, dry_run: true}") == replace(found, max=20, dry_run=True), "what is in flight stays counted"
    assert inflight(Handles(store), "{max: 10, key: host}").table is not found.table
    assert inflight(Handles(store), "{max: 10, keys: 2000}").table is not found.table


@pytest.mark.parametrize(
    ("text", "burst", "expected"),
    [
        ("20/s", 40, (41, 3)),
        ("1/s", 0, (1, 1)),
        ("1/h", 0, (1, 3600)),
        ("100/m", 9, (10, 6)),
        ("1000000/s", 0, (1, 1)),
        ("5/10s", 5, (6, 12)),
    ],
)
def test_what_rate_limit_policy_tells(text: str, burst: int, expected: tuple[int, int]) -> None:
    assert policy_fields(RequestRate(text), burst) == expected


def test_what_the_keys_of_shared_limits_are_hashed_with() -> None:
    def salt(url: str, prefix: str = "p:", scope: str = "cluster") -> int:
        config = config_of(
            f"{{listen: ':1', to: 'a:1', limits: {{redis: '{url}', prefix: '{prefix}'}}, defaults: {{use: p}}, "
            f"policies: {{p: {{rate_limit: {{rate: 1/s, scope: {scope}}}}}}}}}")
        limit = config.policies["p"].rate_limit
        assert limit is not None
        return build_rate_limit(config, Handles(HandleStore()), "p", limit).salt

    assert salt("redis://a", scope="local") == 0
    assert salt("redis://a/1") == salt("redis://b") != 0, "proxies may have other names for the same store"
    assert len({salt("redis://a"), salt("redis://:x@a"), salt("redis://:y@a"), salt("redis://a", "q:")}) == 4
