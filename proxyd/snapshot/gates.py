"""The places of routes: which routes have a lane, and what the gate is told when a config takes effect.

The queues for places (and those for room on an upstream) shed by CoDel where there are bounds for all routes together, which say how
(`concurrency.target` and `.interval`). A route's own `queue` and `queue_timeout` alone hold without: who asks for those wants requests to
wait so long.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from proxyd.config.concurrency import RouteConcurrency

if TYPE_CHECKING:
    from proxyd.config.model import Config, Route
    from proxyd.snapshot.store import Store
    from proxyd_ext.limit.gate import Lane

UNBOUNDED = RouteConcurrency()


def needs_lane(config: Config, route: Route) -> bool:
    """Whether anything bounds the requests of the route: its own `concurrency`, or a total."""
    return route.concurrency is not None or config.places is not None


def lane_name(config: Config, listener: str, route: Route) -> str:
    """Routes that several listeners share have their places once."""
    return route.name if config.listeners[listener].own_routes is None else f"{listener}/{route.name}"


def configure_gate(store: Store, config: Config) -> None:
    """`config` serves from now on: its bounds hold, also for what is in flight."""
    whole = config.places
    target_us = int(whole.target) * 1000 if whole is not None else 0
    interval_us = int(whole.interval) * 1000 if whole is not None else 0
    bounds: dict[str, tuple[Lane, int, int, int, int]] = {}
    for name, listener in config.listeners.items():
        for route in config.routes_of(listener):
            lane = store.lanes.get(lane_name(config, name, route))
            if lane is not None:
                own = route.concurrency or UNBOUNDED
                bounds[lane.name] = (lane, own.reserved, own.max, own.queue, int(own.queue_timeout))
    store.gate.configure(whole.total if whole is not None else 0, list(bounds.values()), target_us=target_us, interval_us=interval_us)
    for upstream in store.upstreams.values():
        upstream.set_shedding(target_us, interval_us)
