from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from proxyd.snapshot.build_upstreams import build_upstream, sticky_id
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd_ext.snapshot.spec import StickySpec, UpstreamSpec
from tests.support.config import config_of

KEY = b"k" * 32
SERVERS = "[10.0.0.1:80, {address: '10.0.0.2:80', zone: a}, {address: '10.0.0.3:80', zone: b, weight: 4, priority: 2, max_requests: 6}]"


def build(text: str, zone: str = "") -> UpstreamSpec:
    config = config_of(f"{{listen: ':80', to: app, upstreams: {{app: {{servers: {SERVERS}, {text}}}}}}}")
    return build_upstream("app", config.upstreams["app"], members_of(config, {})["app"], Store(), zone=zone, sticky_key=KEY)


def test_members() -> None:
    assert [(member.weight, member.tier, member.max_requests, member.local) for member in build("").members] == [
        (1, 0, 0, True),
        (1, 0, 0, True),
        (4, 2, 6, True),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "key", "name", "bound"),
    [
        ("ewma", "ewma", "client.ip", "", 0),
        ("ip_hash", "hash", "client.net", "", 0),
        ("flow_hash", "maglev", "flow", "", 0),
        ("{maglev: 'cookie:Sid', bounded_load: 1.25}", "maglev", "cookie", "Sid", 125),
        ("{hash: 'header:X-User'}", "hash", "header", "x-user", 0),
    ],
)
def test_balancers(text: str, kind: str, key: str, name: str, bound: int) -> None:
    spec = build(f"balance: {text}")
    assert (spec.balance, spec.hash_key, spec.hash_name, spec.bounded_load) == (kind, key, name, bound)


def test_zones_count_where_the_proxy_knows_its_own() -> None:
    near = build("zones: {min_usable: 60%}", zone="a")
    assert (near.zone_min, [member.local for member in near.members]) == (60, [True, True, False])
    for spec in (build(""), build("zones: none", zone="a")):
        assert (spec.zone_min, [member.local for member in spec.members]) == (0, [True, True, True])


def test_zones_apart() -> None:
    """Where the proxy knows its own zone, and its servers tell theirs."""
    far = build("zones: {cross: false}", zone="a")
    assert (far.zone_only, far.zone_min, [member.local for member in far.members]) == (True, 0, [True, True, False])
    assert not build("zones: {cross: false}").zone_only
    assert not build("", zone="a").zone_only


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, False, False, False)),
        ("proxy_protocol: v1", (1, False, False, False)),
        ("proxy_protocol: {crc32c: true}, on_down: close", (2, True, False, True)),
        ("proxy_protocol: {unique_id: true}, on_down: keep", (2, False, True, False)),
    ],
)
def test_what_flows_ask_for(text: str, expected: tuple[int, bool, bool, bool]) -> None:
    spec = build(text)
    assert (spec.proxy, spec.proxy_crc, spec.proxy_unique_id, spec.on_down_close) == expected


def test_without_zones_of_servers_there_is_no_preference() -> None:
    config = config_of("{listen: ':80', to: app, upstreams: {app: 10.0.0.1:80}}")
    spec = build_upstream("app", config.upstreams["app"], members_of(config, {})["app"], Store(), zone="a", sticky_key=KEY)
    assert (spec.zone_min, spec.members[0].local) == (0, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cookie", StickySpec("cookie", "pxd_server", "; Path=/; HttpOnly; SameSite=Lax")),
        ("{cookie: {name: s, secure: true}}", StickySpec("cookie", "s", "; Path=/; Secure; HttpOnly; SameSite=Lax")),
        ("{app_cookie: SID}", StickySpec("app_cookie", "pxd_server", "; Path=/; HttpOnly; SameSite=Lax", follows="SID")),
        ("{header: X-Session}", StickySpec("key", hash_key="header", hash_name="x-session")),
        ("source", StickySpec("key", hash_key="client.ip")),
    ],
)
def test_stickiness(text: str, expected: StickySpec) -> None:
    spec = build(f"sticky: {text}")
    assert spec.sticky == expected
    assert all(bool(member.sticky_id) == (expected.kind != "key") for member in spec.members)


def test_sticky_ids() -> None:
    """By the formula; with the config's secret where there is one."""
    digest = base64.urlsafe_b64encode(hmac.digest(KEY, b"app\0" + b"10.0.0.1:80", hashlib.sha256))
    assert sticky_id(KEY, "app", "10.0.0.1:80") == digest[:22] == build("sticky: cookie").members[0].sticky_id
    ids = {member.sticky_id for member in build("sticky: cookie").members}
    assert len(ids) == 3
    own = build("sticky: {cookie: {secret: 0123456789abcdef}}").members[0].sticky_id
    assert own == sticky_id(b"0123456789abcdef", "app", "10.0.0.1:80") != digest[:22]
    assert sticky_id(KEY, "other", "10.0.0.1:80") not in ids


def test_load_and_health() -> None:
    spec = build(
        "slow_start: 30s, health: {panic: 40%, fail_open: true, passive: {eject: 10s, eject_max: 1m, max_ejected: 30%, "
        "consecutive_5xx: 7}}, circuit: {max_requests: 9, max_pending: 5, queue_timeout: 3s}"
    )
    assert (spec.slow_start_ms, spec.panic, spec.fail_open) == (30_000, 40, True)
    assert (spec.passive_failures, spec.eject_ms, spec.eject_max_ms, spec.max_ejected_percent) == (7, 10_000, 60_000, 30)
    assert (spec.max_requests, spec.max_pending, spec.queue_ms) == (9, 5, 3_000)


def test_without_passive_health_nothing_ejects() -> None:
    assert build("health: {passive: none}").passive_failures == 0
    assert build("health: {passive: {consecutive_5xx: none}}").passive_failures == 0
