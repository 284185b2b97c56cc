"""From a route of the config to its specification: conditions, filters, and what becomes of a request."""
from __future__ import annotations

from typing import TYPE_CHECKING

from proxyd.config.retry import statuses_of
from proxyd.config.units import Duration
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    Action,
    ConsultAction,
    Filter,
    HeadersFilter,
    HedgeSpec,
    ProxyAction,
    RedirectAction,
    RespondAction,
    RetrySpec,
    RouteSpec,
    TargetSpec,
)

if TYPE_CHECKING:
    from proxyd.config.model import Config, Headers, Hedge, Policy, Respond, Retry, Route


def build_route(config: Config, route: Route, index: dict[str, int]) -> RouteSpec:
    return RouteSpec(
        name=route.name,
        action=_action(config, route, index),
        host=route.match.host,
        path=route.match.path_text,
        path_exact=route.match.path_exact,
        methods=frozenset(route.match.method),
        filters=tuple(filter_ for _, policy in config.policies_of(route) for filter_ in build_filters(policy)),
    )


def _target(config: Config, route: Route, name: str, number: int, weight: int) -> TargetSpec:
    """One branch of a route: the upstream's connect timeout and retries, unless the route has its own."""
    upstream = config.upstreams[name]
    connect = upstream.timeout.connect if route.timeout.connect is None else route.timeout.connect
    return TargetSpec(number, weight, int(connect), build_retry(route.retry or upstream.retry))


def build_retry(retry: Retry) -> RetrySpec:
    backoff = retry.backoff
    return RetrySpec(
        attempts=retry.attempts,
        connect_failure="connect_failure" in retry.when,
        reset="reset" in retry.when,
        timeout="timeout" in retry.when,
        statuses=statuses_of(retry.when),
        idempotency_key=retry.idempotency_key,
        backoff_ms=int(backoff.base) if backoff else 0,
        factor_percent=int(backoff.factor) if backoff else 100,
        backoff_max_ms=int(backoff.max) if backoff else 0,
        jitter=backoff is not None and backoff.jitter == "full",
        retry_after_max_ms=int(retry.retry_after),
        budget_percent=int(retry.budget.percent),
        budget_min=retry.budget.min,
    )


def _hedge(hedge: Hedge) -> HedgeSpec:
    """A percentile is measured while proxyd runs: the control plane tells the upstream what it is (`set_hedge_ms`)."""
    return HedgeSpec(int(hedge.after) if isinstance(hedge.after, Duration) else 0, hedge.max)


def _action(config: Config, route: Route, index: dict[str, int]) -> Action:
    if route.to is not None:
        timeout = route.timeout
        return ProxyAction(
            targets=tuple(_target(config, route, name, index[name], weight) for name, weight in route.to.items()),
            first_byte_ms=int(timeout.first_byte),
            between_bytes_ms=int(timeout.between_bytes),
            total_ms=int(timeout.total),
            per_try_ms=int(timeout.per_try),
            tunnel_idle_ms=int(timeout.tunnel_idle),
            hedge=_hedge(route.hedge) if route.hedge else None,
        )
    if route.redirect is not None:
        return RedirectAction(route.redirect.status, route.redirect.to)
    if route.respond is None:
        raise ValueError(f"route {route.name} has no action")     # the model refuses it
    return _respond(route.respond)


def _respond(respond: Respond) -> Action:
    if respond.probe is not None:
        return ConsultAction(respond.probe)
    return RespondAction(respond.status, respond.body.encode(), respond.content_type, _field_lines(respond.headers))


def build_filters(policy: Policy) -> tuple[Filter, ...]:
    """The steps of the chain that a policy stands for."""
    if policy.access is not None:
        return (AccessFilter(policy.access.allow_networks, policy.access.deny_networks, policy.access.default_allow),)
    return (_headers(policy.headers),) if policy.headers is not None else ()


def _headers(headers: Headers) -> HeadersFilter:
    return HeadersFilter(_field_lines(headers.request.set), _field_lines(headers.response.set))


def _field_lines(fields: dict[str, str]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items())
