"""From a policy to the steps of the chain that it stands for, and the order in which a route's steps act (design: ext/README.md,
Filters)."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxyd.snapshot.build_access import build_access, build_cors, build_deny_all, build_request
from proxyd.snapshot.build_auth import build_auth, identity_fields
from proxyd.snapshot.build_ban import build_ban
from proxyd.snapshot.build_headers import build_headers
from proxyd.snapshot.build_limits import build_inflight, build_rate_limit
from proxyd.snapshot.build_python import build_python
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    AuthFilter,
    BanFilter,
    CorsFilter,
    Filter,
    HeadersFilter,
    InflightFilter,
    PlanFilter,
    PythonFilter,
    RateLimitFilter,
    RequestFilter,
)

if TYPE_CHECKING:
    from proxyd.config.model import Config, Policy, Route
    from proxyd.snapshot.handles import Handles


def rank(filter_: Filter) -> int:
    """Filters run in this order; those of one rank in the order of `use`."""
    known = isinstance(filter_, RateLimitFilter | InflightFilter) and any(part.kind in ("user", "claim") for part in filter_.key)
    return 7 if known else _RANKS[type(filter_)]


_RANKS: dict[type, int] = {
    BanFilter: 0, AccessFilter: 1, CorsFilter: 2, RequestFilter: 3, RateLimitFilter: 4, InflightFilter: 4, AuthFilter: 5, PlanFilter: 6,
    HeadersFilter: 8, PythonFilter: 9,
}


def build_policy(config: Config, handles: Handles, name: str, policy: Policy) -> tuple[Filter, ...]:
    """The filters of one policy; () for those that are no step of the chain (`compress`, `priority`)."""
    if policy.ban is not None:
        return (build_ban(handles, name, policy.ban),)
    if policy.access is not None:
        return (build_access(config, handles, name, policy.access),)
    if policy.request is not None:
        return (build_request(name, policy.request),)
    if policy.cors is not None:
        return (build_cors(name, policy.cors),)
    if policy.rate_limit is not None:
        return (build_rate_limit(config, handles, name, policy.rate_limit),)
    if policy.concurrency is not None:
        return (build_inflight(handles, name, policy.concurrency),)
    if policy.auth is not None:
        return build_auth(config, handles, name, policy.auth)
    if policy.python is not None:
        return (build_python(handles, name, policy.python),)
    return (build_headers(policy.headers),) if policy.headers is not None else ()


def route_filters(config: Config, handles: Handles, route: Route) -> tuple[Filter, ...]:
    """All of a route, in the order in which they act: those of its policies, what `defaults.access: deny` adds (not to redirects, which
    give nothing away), and its own changes to fields behind everything else."""
    policies = config.policies_of(route)
    filters = [filter_ for name, policy in policies for filter_ in build_policy(config, handles, name, policy)]
    if config.defaults.access == "deny" and route.redirect is None and not any(policy.access or policy.auth for _, policy in policies):
        filters.append(build_deny_all())
    if stripped := identity_fields(config):
        filters.append(stripped)
    filters.sort(key=rank)
    if route.rewrite is not None and route.rewrite.headers.changes:
        filters.append(build_headers(route.rewrite.headers))
    return tuple(filters)


def route_priority(config: Config, route: Route) -> Any:
    """The class of a route's requests: of the first policy that names one, else the route's own."""
    return next((policy.priority for _, policy in config.policies_of(route) if policy.priority is not None), route.priority)
