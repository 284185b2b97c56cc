from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxyd.config import load_text
from proxyd.config.canonical import canonical
from proxyd.config.rate_limit import RateLimit
from proxyd.config.units import RequestRate
from tests.support.config import config_of, first_finding


def limit(text: str) -> RateLimit:
    found = (
        config_of(f"{{listen: ':1', to: 'a:1', policies: {{p: {{rate_limit: {text}}}}}, defaults: {{use: p}}}}").policies["p"].rate_limit
    )
    assert isinstance(found, RateLimit)
    return found


def test_defaults_are_those_that_users_of_nginx_expect() -> None:
    found = limit("{rate: 20/s}")
    assert (found.rate, found.burst, found.key, found.ipv4, found.ipv6) == (RequestRate("20/s"), 0, ("client.ip",), 32, 64)
    assert (found.algorithm, found.mode, found.delay, found.on_limit.status) == ("token_bucket", "refuse", 0, 429)
    assert (found.headers, found.dry_run, found.keys, found.scope) == ("refused", False, 1_000_000, "local")
    assert limit("20/s") == found, "in short the rate"


def test_in_full() -> None:
    found = limit(
        "{rate: 5/10s, burst: 20, key: [client.ip, path], ipv4: 24, ipv6: 56, algorithm: leaky_bucket, mode: delay, delay: 10, "
        "on_limit: 503, headers: always, dry_run: true, keys: 5000}"
    )
    assert (found.rate.requests, found.rate.per_s, found.burst, found.delay, found.on_limit.status) == (5, 10, 20, 10, 503)
    assert (found.key, found.ipv4, found.ipv6, found.headers, found.dry_run, found.keys) == (
        ("client.ip", "path"),
        24,
        56,
        "always",
        True,
        5000,
    )


def test_the_canonical_form_shows_what_has_an_effect() -> None:
    assert canonical(limit("{rate: 60/60s, burst: 3, key: host}")) == {
        "rate": "60/m",
        "burst": 3,
        "key": ["host"],
        "algorithm": "token_bucket",
        "mode": "refuse",
        "on_limit": {"status": 429},
        "headers": "refused",
        "dry_run": False,
        "keys": 1_000_000,
        "scope": "local",
    }
    assert {"delay", "ipv4", "ipv6"} <= canonical(limit("{rate: 1/s, burst: 3, mode: delay}")).keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ("PXD-022", 16)),
        ("20", ("PXD-031", 28)),
        ("{rate: 20}", ("PXD-031", 35)),
        ("{rate: 20r/s}", ("PXD-032", 35)),
        ("{rate: 0/s}", ("PXD-033", 35)),
        ("{rate: [1/s]}", ("PXD-030", 35)),
        ("{rat: 20/s}", ("PXD-021", 29)),
        ("{rate: 1/s, burst: -1}", ("PXD-033", 47)),
        ("{rate: 1/s, burst: 5s}", ("PXD-030", 47)),
        ("{rate: 1/s, algorithm: sliding_window}", ("PXD-034", 51)),
        ("{rate: 1/s, mode: nodelay}", ("PXD-034", 46)),
        ("{rate: 1/s, burst: 5, delay: 2}", ("PXD-024", 50)),
        ("{rate: 1/s, mode: delay}", ("PXD-022", 46)),
        ("{rate: 1/s, mode: delay, burst: 5, delay: 6}", ("PXD-039", 70)),
        ("{rate: 1/m, burst: 14400, algorithm: leaky_bucket}", ("PXD-033", 47)),
        ("{rate: 1/s, burst: 200000, algorithm: leaky_bucket}", ("PXD-033", 47)),
        ("{rate: 1/h, algorithm: leaky_bucket}", ("PXD-033", 35)),
        ("{rate: 1/s, on_limit: {status: 200}}", ("PXD-033", 59)),
        ("{rate: 1/s, headers: on}", ("PXD-034", 49)),
        ("{rate: 1/s, keys: 10}", ("PXD-033", 46)),
        ("{rate: 1/s, ipv4: 0}", ("PXD-033", 46)),
        ("{rate: 1/s, ipv6: 129}", ("PXD-033", 46)),
        ("{rate: 1/s, dry_run: on}", ("PXD-030", 49)),
        ("{rate: 1/s, scope: global}", ("PXD-034", 47)),
        ("{rate: 1/s, scope: cluster}", ("PXD-022", 47)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"policies: {{p: {{rate_limit: {text}}}}}\nlisten: :1\nto: 'a:1'\ndefaults: {{use: p}}\n")
    assert found == (expected[0], 1, expected[1])


@pytest.mark.parametrize("other", ["algorithm: leaky_bucket", "mode: delay"])
def test_a_shared_limit_is_a_token_bucket_that_refuses(other: str) -> None:
    with pytest.raises(ValidationError, match=f"`scope: cluster` and `{other}` exclude one another"):
        RateLimit.model_validate({"rate": "1/s", "burst": 5, "scope": "cluster", **dict([other.split(": ")])})


def test_the_slowest_leaky_bucket_is_what_nginx_can_count() -> None:
    assert limit("{rate: 1/m, algorithm: leaky_bucket}").rate.requests == 1
    assert limit("{rate: 1/1000s, algorithm: leaky_bucket}").rate.per_s == 1000
    assert limit("{rate: 1/m, burst: 14399, algorithm: leaky_bucket}").burst == 14_399, "ten days until it has drained"
    assert limit("{rate: 1/d, burst: 1000000}").burst == 1_000_000, "a token bucket has no such bounds"


def test_a_rate_that_is_missing_shows_how_it_is_written() -> None:
    [found] = load_text("policies: {p: {rate_limit: {burst: 2}}}\nlisten: :1\nto: 'a:1'\ndefaults: {use: p}\n").diagnostics
    assert (found.code, found.help) == ("PXD-022", "like `rate: 20/s`")
