"""From a route of the config to its specification: conditions, filters, and what becomes of a request."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from proxyd.config.retry import statuses_of
from proxyd.config.routes import FULL_WEIGHT, RouteTimeout
from proxyd.config.sticky import StickyCookie
from proxyd.config.units import Duration
from proxyd.snapshot.build_cache import build_aside, build_cache
from proxyd.snapshot.build_headers import field_lines
from proxyd.snapshot.build_policies import route_filters, route_priority
from proxyd_ext.snapshot.spec import (
    Action,
    Condition,
    ConsultAction,
    ErrorPage,
    FailoverSpec,
    Filter,
    HeadersFilter,
    HedgeSpec,
    MirrorSpec,
    ProxyAction,
    RedirectAction,
    RespondAction,
    RetrySpec,
    RewriteSpec,
    RouteSpec,
    SplitSpec,
    TargetSpec,
)

if TYPE_CHECKING:
    from proxyd.config.model import Config, Failover, Hedge, Mirror, Pin, Respond, Retry, Route
    from proxyd.config.model import ErrorPage as Page
    from proxyd.config.statuses import FailureStatuses
    from proxyd.snapshot.handles import Handles
    from proxyd_ext.limit.gate import Lane


def build_route(config: Config, route: Route, index: dict[str, int], handles: Handles, lane: Lane | None) -> RouteSpec:
    filters = route_filters(config, handles, route)
    return RouteSpec(
        name=route.name,
        action=_action(config, route, index, filters),
        host=route.match.host_text,
        path=route.match.path_text,
        path_exact=route.match.path_exact,
        methods=frozenset(route.match.method),
        conditions=tuple(Condition(*demand) for demand in route.match.demands),
        filters=filters,
        error_pages=build_pages(route.error_pages, config.defaults.error_pages),
        lane=lane,
        priority=route_priority(config, route),
    )


def build_pages(*sources: Mapping[FailureStatuses, Page]) -> tuple[ErrorPage, ...]:
    """The pages of each source, earlier ones first; within one, the narrower before the wider, so that 404 goes before 4xx."""
    pages: list[ErrorPage] = []
    for source in sources:
        for statuses, page in sorted(source.items(), key=lambda item: sum(high - low + 1 for low, high in item[0].ranges)):
            pages.append(ErrorPage(statuses.ranges, page.content, page.content_type, page.intercept))
    return tuple(pages)


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


def _split(pin: Pin) -> SplitSpec:
    if pin.cookie is not None:
        return SplitSpec("cookie", pin.cookie, StickyCookie().attributes)
    return SplitSpec("header", (pin.header or "").lower())


def _failover(config: Config, route: Route, failover: Failover, index: dict[str, int]) -> FailoverSpec:
    when = failover.when
    return FailoverSpec(
        _target(config, route, failover.to, index[failover.to], FULL_WEIGHT),
        no_server="no_server" in when,
        connect_failure="connect_failure" in when,
        reset="reset" in when,
        timeout="timeout" in when,
        statuses=statuses_of(when),
    )


def _mirror(config: Config, route: Route, mirror: Mirror, index: dict[str, int]) -> MirrorSpec:
    """Nobody waits for a copy, but it must end: where the route sets no bound on the answer, the default one holds."""
    answer = int(route.timeout.first_byte) or int(RouteTimeout().first_byte)
    return MirrorSpec(
        index[mirror.to], int(mirror.sample), int(config.upstreams[mirror.to].timeout.connect), answer, mirror.max_in_flight
    )


def _rewrite(route: Route) -> RewriteSpec | None:
    """None where only fields are changed, which is a filter's work."""
    rewrite = route.rewrite
    if rewrite is None:
        return None
    host = rewrite.host or ""
    if rewrite.strip_prefix is not None:
        return RewriteSpec("{rest}", rewrite.strip_prefix, host)
    if rewrite.replace_prefix is not None:
        return RewriteSpec(f"{rewrite.replace_prefix.new}{{rest}}", rewrite.replace_prefix.old, host)
    if rewrite.path is not None:
        return RewriteSpec(rewrite.path, route.match.path_text if "{rest}" in rewrite.path else "", host)
    return RewriteSpec(host=host) if host else None


def _hedge(hedge: Hedge) -> HedgeSpec:
    """A percentile is measured while proxyd runs: the control plane tells the upstream what it is (`set_hedge_ms`)."""
    if isinstance(hedge.after, Duration):
        return HedgeSpec(int(hedge.after), hedge.max)
    return HedgeSpec(0, hedge.max, int(hedge.after.removeprefix("p")))


def _sent(route: Route, filters: Sequence[Filter]) -> tuple[object, ...]:
    """What the route changes in requests: empty, or something that is the same for the same changes."""
    changes = [
        (filter_.request_set, filter_.request_add, tuple(filter_.request_remove))
        for filter_ in filters
        if isinstance(filter_, HeadersFilter) and (filter_.request_set or filter_.request_add or filter_.request_remove)
    ]
    rewrite = _rewrite(route) if route.rewrite else None
    return (*changes, *([rewrite] if rewrite is not None else []))


def _action(config: Config, route: Route, index: dict[str, int], filters: Sequence[Filter]) -> Action:
    if route.to is not None:
        timeout = route.timeout
        return ProxyAction(
            targets=tuple(_target(config, route, name, index[name], weight) for name, weight in route.to.items()),
            first_byte_ms=int(timeout.first_byte),
            between_bytes_ms=int(timeout.between_bytes),
            total_ms=int(timeout.total),
            per_try_ms=int(timeout.per_try),
            tunnel_idle_ms=int(timeout.tunnel_idle),
            split=_split(route.sticky) if route.sticky else None,
            failover=_failover(config, route, route.failover, index) if route.failover else None,
            hedge=_hedge(route.hedge) if route.hedge else None,
            mirror=_mirror(config, route, route.mirror, index) if route.mirror else None,
            rewrite=_rewrite(route) if route.rewrite else None,
            cache=build_cache(config, route, _sent(route, filters)),
        )
    if route.redirect is not None:
        return RedirectAction(route.redirect.status, route.redirect.to)
    return _respond(route.respond) if route.respond is not None else build_aside(config.cache)


def _respond(respond: Respond) -> Action:
    if respond.probe is not None:
        return ConsultAction(respond.probe)
    return RespondAction(respond.status, respond.body.encode(), respond.content_type, field_lines(respond.headers))
