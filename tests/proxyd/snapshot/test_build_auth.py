from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxyd.config import Config
from proxyd.snapshot.build import build_spec
from proxyd.snapshot.build_auth import identity_fields
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd.snapshot.verdicts import null_listener
from proxyd_ext.snapshot.spec import AuthFilter, Filter, HeadersFilter, PlanFilter
from tests.support.config import config_of

DIGEST = "a" * 64
HASH = "$2y$04$" + "a" * 53
KEYS = f"{{api_key: {{keys: {{shop: {{sha256: {DIGEST}, plan: gold}}}}}}}}"


def text_of(policies: str, use: str, more: str = "") -> str:
    return f"listen: ':1'\nroutes: [{{use: [{use}], respond: 200}}]\npolicies: {{{policies}}}\n{more}"


def filters(auth: str, more: str = "", store: Store | None = None) -> Sequence[Filter]:
    """Of a route that uses one `auth` policy, p."""
    return filters_of(config_of(text_of(f"p: {{auth: {auth}}}", "p", more)), store)


def filters_of(config: Config, store: Store | None = None) -> Sequence[Filter]:
    """Of the first route."""
    spec = build_spec(
        config, members_of(config, {}), lambda name, bind: null_listener(name, str(bind)), store or Store(), generation=1, config_hash=""
    )
    return spec.tables[0][0].filters


def auth(policy: str, more: str = "", store: Store | None = None) -> AuthFilter:
    (found,) = [filter_ for filter_ in filters(policy, more, store) if isinstance(filter_, AuthFilter)]
    return found


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", ("header", "X-API-Key", b'WWW-Authenticate: ApiKey realm="p"\r\n')),
        ("header: Authorization, ", ("bearer", "", b'WWW-Authenticate: Bearer realm="p"\r\n')),
        ("query: key, ", ("query", "key", b'WWW-Authenticate: ApiKey realm="p"\r\n')),
        ("cookie: key, ", ("cookie", "key", b'WWW-Authenticate: ApiKey realm="p"\r\n')),
    ],
)
def test_where_an_api_key_is(place: str, expected: tuple[str, str, bytes]) -> None:
    found = auth(f"{{api_key: {{{place}keys: {{shop: {{sha256: {DIGEST}}}}}}}}}")
    assert (found.source, found.name, found.challenge) == expected
    assert (found.policy, found.hide, found.optional, found.timeout_ms) == ("p", True, False, 5_000)


def test_a_password() -> None:
    found = auth(f"{{basic: {{users: {{ann: {HASH}}}, realm: Staff, hide: false}}, optional: true, timeout: 1s}}")
    assert (found.source, found.name, found.challenge) == ("basic", "", b'WWW-Authenticate: Basic realm="Staff", charset="UTF-8"\r\n')
    assert (found.hide, found.optional, found.timeout_ms) == (False, True, 1_000)


def test_a_service_is_asked_by_fields_and_target_and_host() -> None:
    found = auth("{forward: {url: 'http://a/', request_fields: [Cookie, X-Key, cookie]}}")
    assert (found.source, found.fields, found.per_target, found.challenge) == ("fields", ("cookie", "x-key", "host"), True, b"")
    found = auth("{forward: {url: 'http://a/', per_target: false}}")
    assert (found.fields, found.per_target) == (("authorization", "cookie"), False)


def test_plans_stand_behind_the_keys_in_the_order_of_the_config() -> None:
    more = "plans: {tin: {rate: 5/s, burst: 2}, gold: {rate: 100/m, quota: 7/week}}\n"
    found = filters(KEYS, more)
    (plans,) = [filter_ for filter_ in found if isinstance(filter_, PlanFilter)]
    assert [type(filter_) for filter_ in found][:2] == [AuthFilter, PlanFilter]
    tin, gold = plans.plans
    assert (tin.name, tin.quota_requests, tin.policy_quota, tin.policy_window_s) == ("tin", 0, 3, 1)
    assert (gold.name, gold.quota_requests, gold.period) == ("gold", 7, "week")
    assert tin.limit is not None
    assert gold.limit is not None
    found = filters(KEYS, "plans: {gold: {quota: 7/month}}\n")
    (quota_only,) = [plan for filter_ in found if isinstance(filter_, PlanFilter) for plan in filter_.plans]
    assert (quota_only.limit, quota_only.quota_requests, quota_only.period) == (None, 7, "month")


def test_keys_without_plans_have_none() -> None:
    found = filters(f"{{api_key: {{keys: {{shop: {{sha256: {DIGEST}}}}}}}}}", "plans: {gold: {rate: 1/s}}\n")
    assert not [filter_ for filter_ in found if isinstance(filter_, PlanFilter)]


def test_verdicts_live_as_long_as_their_policy_is_the_same() -> None:
    store = Store()
    more = "plans: {gold: {quota: 7/day}}\n"
    first = auth(KEYS, more, store).verdicts
    assert auth(KEYS, "plans: {gold: {quota: 8/day, rate: 5/s}}\n", store).verdicts is first
    assert auth(KEYS, "plans: {gold: {quota: 7/week}}\n", store).verdicts is not first
    assert auth(KEYS, "plans: {tin: {rate: 1/s}, gold: {quota: 7/day}}\n", store).verdicts is not first
    assert auth(KEYS.replace(DIGEST, "b" * 64), more, store).verdicts is not first
    basic = auth(f"{{basic: {{users: {{ann: {HASH}}}}}}}", store=store).verdicts
    assert auth(f"{{basic: {{users: {{ann: {HASH}}}}}}}", more, store).verdicts is basic       # plans are no matter of passwords


# ------------------------------------------------------------------ fields that clients cannot send
def test_what_any_policy_tells_servers_is_taken_from_clients_on_every_route() -> None:
    policies = (
        f"k: {{auth: {{api_key: {{keys: {{shop: {{sha256: {DIGEST}, forward: {{X-Tenant-Id: t}}}}}}}}}}}}, "
        f"b: {{auth: {{basic: {{users: {{ann: {HASH}}}}}}}}}, "
        "f: {auth: {forward: {url: 'http://a/', response_fields: {Remote-User: X-Name}}}}, "
        "j: {auth: {jwt: {issuer: 'https://id.example.com', audience: shop, forward: {sub: X-Sub}}}}"
    )
    config = config_of(text_of(policies, ""))
    found = identity_fields(config)
    assert found is not None
    assert set(found.request_remove) == {
        "x-consumer", "x_consumer", "x-tenant-id", "x_tenant-id", "x-tenant_id", "x_tenant_id", "x-user", "x_user", "x-name", "x_name",
        "x-sub", "x_sub",
    }
    assert found in filters_of(config)       # the route uses none of them


def test_without_auth_nothing_is_taken() -> None:
    assert identity_fields(config_of(text_of("p: {headers: {request: {set: {X-User: x}}}}", "p"))) is None
    assert identity_fields(config_of(text_of(f"p: {{auth: {{basic: {{users: {{ann: {HASH}}}, forward: none}}}}}}", "p"))) is None
    found = filters(f"{{api_key: {{keys: {{a: {{sha256: {DIGEST}}}}}, forward: none}}}}")
    assert not [filter_ for filter_ in found if isinstance(filter_, HeadersFilter)]
