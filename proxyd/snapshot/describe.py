"""Routes in words: what one matches and what it does, as `status`, `route` and the plan show them."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyd.config.model import Balance, Route


def action_text(route: Route) -> str:
    """`to api`, `to api 95, api-canary 5`, `redirect 308 to https://...`, `respond 404`, `respond with proxyd's readiness`."""
    if route.to is not None:
        if len(route.to) == 1:
            return f"to {next(iter(route.to))}"
        return "to " + ", ".join(f"{name} {weight}" for name, weight in route.to.items())
    if route.redirect is not None:
        return f"redirect {route.redirect.status} to {route.redirect.to}"
    if route.respond is not None and route.respond.probe is not None:
        return "respond with proxyd's " + {"ready": "readiness", "live": "liveness"}[route.respond.probe]
    return f"respond {route.respond.status}" if route.respond is not None else ""


def match_text(route: Route) -> str:
    """`GET,HEAD media.example.com/*`; `*` for a route that takes every request."""
    text = str(route.match)
    return "*" if text == "/*" else text


def balance_text(balance: Balance) -> str:
    """`round_robin`, `hash client.ip`."""
    return f"hash {balance.hash}" if balance.hash else balance.kind


def targets(route: Route) -> tuple[str, ...]:
    """The upstreams that it may send to."""
    return tuple(name for name, weight in (route.to or {}).items() if weight)
