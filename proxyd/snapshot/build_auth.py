"""`auth`, as the engines take it: where the credential is, the verdicts that are remembered, the plans of keys."""
from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from proxyd.config.auth_fields import spellings
from proxyd.config.canonical import canonical
from proxyd.config.jwt_claims import claims_wanted
from proxyd.snapshot.build_headers import field_lines
from proxyd.snapshot.build_limits import plan_limit
from proxyd_ext.auth.verdict import Verdicts
from proxyd_ext.snapshot.spec import AuthFilter, Filter, HeadersFilter, Plan, PlanFilter

if TYPE_CHECKING:
    from proxyd.config.auth import Auth
    from proxyd.config.auth_forward import ForwardAuth
    from proxyd.config.model import Config
    from proxyd.config.plans import UsagePlan
    from proxyd.snapshot.handles import Handles


def build_auth(config: Config, handles: Handles, name: str, auth: Auth) -> tuple[Filter, ...]:
    verdicts = handles.get("verdicts", name, _definition(config, name, auth), lambda: Verdicts(name, capacity=auth.remembered))
    filter_ = _filter(name, auth, verdicts)
    if auth.api_key is None or all(key.plan is None for key in auth.api_key.keys.values()):
        return (filter_,)
    return filter_, PlanFilter(name, tuple(_plan(handles, plan, of) for plan, of in config.plans.items()))


def _definition(config: Config, name: str, auth: Auth) -> Hashable:
    """Everything that a verdict hangs on, so that a reload that changes any of it forgets what was remembered. Of the plans their places
    and the periods that usage is counted by; rates and sizes of quotas are not part of verdicts. Of tokens the keys in files, and the
    claims that limits ask for, which verdicts carry."""
    plans = tuple((name, plan.quota.period if plan.quota is not None else "") for name, plan in config.plans.items())
    tokens = (auth.jwt.definition, claims_wanted(config, name, auth.jwt)) if auth.jwt is not None else ()
    return json.dumps(canonical(auth, secrets=True)), plans if auth.api_key is not None else (), tokens


def _filter(name: str, auth: Auth, verdicts: Verdicts) -> AuthFilter:
    timeout, optional = int(auth.timeout), auth.optional
    if auth.api_key is not None:
        source, place = auth.api_key.source
        challenge = _challenge(auth.api_key.challenge(name))
        return AuthFilter(
            name, verdicts, source, place, challenge=challenge, optional=optional, timeout_ms=timeout, hide=auth.api_key.hide
        )
    if auth.basic is not None:
        challenge = _challenge(auth.basic.challenge)
        return AuthFilter(name, verdicts, "basic", challenge=challenge, optional=optional, timeout_ms=timeout, hide=auth.basic.hide)
    if auth.jwt is not None:
        source, place = auth.jwt.source
        challenge = _challenge(auth.jwt.challenge(name))
        return AuthFilter(name, verdicts, source, place, challenge=challenge, optional=optional, timeout_ms=timeout, hide=auth.jwt.hide)
    forward = auth.forward
    assert forward is not None
    return AuthFilter(
        name, verdicts, "fields", fields=_fields(forward), per_target=forward.per_target, optional=optional, timeout_ms=timeout
    )


def _fields(forward: ForwardAuth) -> tuple[str, ...]:
    """What verdicts are remembered under. The host belongs to the target, and the service is told it."""
    names = dict.fromkeys(name.lower() for name in forward.request_fields)
    return tuple(dict.fromkeys((*names, "host"))) if forward.per_target else tuple(names)


def _challenge(value: str) -> bytes:
    return field_lines({"WWW-Authenticate": value})


def _plan(handles: Handles, name: str, plan: UsagePlan) -> Plan:
    requests, period = (plan.quota.requests, plan.quota.period) if plan.quota is not None else (0, "day")
    if plan.rate is None:
        return Plan(name, quota_requests=requests, period=period)
    limit, quota, window = plan_limit(handles, name, plan.rate, plan.burst)
    return Plan(name, limit, quota_requests=requests, period=period, policy_quota=quota, policy_window_s=window)


def identity_fields(config: Config) -> HeadersFilter | None:
    """Removes the fields in which any `auth` policy tells servers who the client is: no client says that itself, on no route."""
    told = dict.fromkeys(name.lower() for policy in config.policies.values() if policy.auth is not None for name in _told(policy.auth))
    return HeadersFilter(request_remove=tuple(way for name in told for way in spellings(name))) if told else None


def _told(auth: Auth) -> Iterator[str]:
    """The fields that servers are sent because of a policy."""
    if auth.api_key is not None:
        if auth.api_key.forward:
            yield auth.api_key.forward
        for key in auth.api_key.keys.values():
            yield from key.forward
    if auth.basic is not None and auth.basic.forward is not None:
        yield auth.basic.forward.user
    if auth.jwt is not None:
        yield from auth.jwt.forward.values()
    if auth.forward is not None:
        yield from auth.forward.response_fields.values()
