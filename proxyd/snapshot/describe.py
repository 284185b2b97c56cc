"""Routes in words: what one matches and what it does, as `status`, `route` and the plan show them."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

ALL = 1_000_000     # of a million

if TYPE_CHECKING:
    from proxyd.config.model import Balance, Route
    from proxyd_ext.snapshot.spec import FlowRoute, UpstreamSpec


def action_text(route: Route) -> str:
    """`to api`, `to api 95, api-canary 5 (cached, else spare, copy of 1% to next)`, `redirect 308 to https://...`, `respond 404`."""
    if route.to is not None:
        names = next(iter(route.to)) if len(route.to) == 1 else ", ".join(f"{name} {weight}" for name, weight in route.to.items())
        return f"to {names}{_beside(route)}"
    if route.redirect is not None:
        return f"redirect {route.redirect.status} to {route.redirect.to}"
    if route.respond is not None and route.respond.probe is not None:
        return "respond with proxyd's " + {"ready": "readiness", "live": "liveness"}[route.respond.probe]
    return f"respond {route.respond.status}" if route.respond is not None else "serve the store to applications"


def _beside(route: Route) -> str:
    said = ["cached"] if route.cache is not None else []
    if route.sticky is not None:
        said.append("sticky by " + (f"cookie {route.sticky.cookie}" if route.sticky.cookie else f"header {route.sticky.header}"))
    if route.failover is not None:
        said.append(f"else {route.failover.to}")
    if route.mirror is not None:
        said.append(f"{'a copy' if int(route.mirror.sample) == ALL else f'a copy of {route.mirror.sample}'} to {route.mirror.to}")
    return f" ({', '.join(said)})" if said else ""


def match_text(route: Route) -> str:
    """`GET,HEAD media.example.com/*`; `*` for a route that takes every request."""
    text = str(route.match)
    return "*" if text == "/*" else text


def balance_text(balance: Balance) -> str:
    """`round_robin`, `hash client.ip`, `maglev header:X-User, at most 1.25 of the mean`."""
    if not balance.hash:
        return balance.kind
    return f"{balance.kind} {balance.hash}" + (f", at most {balance.bounded_load} of the mean" if balance.bounded_load else "")


def targets(route: Route) -> tuple[str, ...]:
    """The upstreams that it may choose."""
    return tuple(name for name, weight in (route.to or {}).items() if weight)


def reachable(route: Route) -> tuple[str, ...]:
    """The upstreams that its requests can reach, one way or another."""
    others = [other.to for other in (route.failover, route.mirror) if other is not None]
    return tuple(dict.fromkeys((*targets(route), *others)))


def flow_match_text(route: FlowRoute) -> str:
    """`*.internal`, `a.example, b.example offering h2`, `no name`; `*` for a route that takes every flow."""
    names = ", ".join(name or "no name" for name in route.names) or "*"
    return names + (f" offering {' or '.join(route.alpn)}" if route.alpn else "")


def flow_action_text(route: FlowRoute, upstreams: Sequence[UpstreamSpec]) -> str:
    """`to blue 90, green 10`, `refused`."""
    if not route.targets:
        return "refused"
    names = [(upstreams[target.upstream].name, target.weight) for target in route.targets]
    return f"to {names[0][0] if len(names) == 1 else ', '.join(f'{name} {weight}' for name, weight in names)}"
