"""Bounds and times that never act, because another one is always reached before."""

from __future__ import annotations

from collections.abc import Iterator

from proxyd.config.doubt import Doubt
from proxyd.config.model import Config, Route, Upstream
from proxyd.config.units import Duration
from proxyd.diagnostics.marked import Step

Path = tuple[Step, ...]


def bound_doubts(config: Config) -> Iterator[Doubt]:
    for index, route in enumerate(config.routes):
        yield from _route(config, route, ("routes", index))
    for name, listener in config.listeners.items():
        for index, route in enumerate(listener.own_routes or ()):
            yield from _route(config, route, ("listeners", name, "routes", index))
        limits = listener.limits
        if "per_client" in limits.model_fields_set and 0 < limits.connections < limits.per_client:
            message = f"`per_client` {limits.per_client} is never reached: the listener takes {limits.connections} connections in all"
            yield Doubt("PXD-122", message, ("listeners", name, "limits", "per_client"), "lower it, or raise `connections`")
    for name, upstream in config.upstreams.items():
        yield from _upstream(upstream, ("upstreams", name))


def _route(config: Config, route: Route, here: Path) -> Iterator[Doubt]:
    if route.to is None:
        return
    yield from _times(route, here)
    whole = config.places
    own = route.concurrency
    if own is not None and whole is not None and 0 < whole.total < own.max and own.reserved <= whole.total:
        message = f"`max` {own.max} is never reached: all routes together have {whole.total} places"
        yield Doubt("PXD-122", message, (*here, "concurrency", "max"), "lower it, or raise `concurrency.total`")


def _times(route: Route, here: Path) -> Iterator[Doubt]:
    """Only what is written: the defaults are for routes that say nothing else."""
    timeout, total = route.timeout, route.timeout.total
    for name in ("connect", "per_try", "first_byte", "between_bytes"):
        value = getattr(timeout, name)
        if name in timeout.model_fields_set and value and 0 < total <= value:
            message = f"`{name}` {value} has no effect: `total` {total} ends the request before"
            yield Doubt("PXD-121", message, (*here, "timeout", name), f"make it shorter than `total`, or leave `{name}` out")
    if route.hedge is None or not isinstance(route.hedge.after, Duration):
        return
    after = route.hedge.after
    for name, bound in (("total", total), ("first_byte", timeout.first_byte)):
        if 0 < bound <= after:
            message = f"`hedge` has no effect: it waits {after}, and `{name}` {bound} ends the try before"
            yield Doubt("PXD-121", message, (*here, "hedge"), f"hedge earlier, or raise `timeout.{name}`")
            return


def _upstream(upstream: Upstream, here: Path) -> Iterator[Doubt]:
    circuit = upstream.circuit
    known = [server.max_requests for server in upstream.servers]
    named = any(not (server.address.is_ip or server.address.is_unix) for server in upstream.servers)    # a name may have several addresses
    if circuit.max_requests and all(known) and not named and sum(known) < circuit.max_requests:
        message = f"`max_requests` {circuit.max_requests} is never reached: the servers take {sum(known)} together"
        yield Doubt("PXD-122", message, (*here, "circuit", "max_requests"), "lower it, or raise `max_requests` of the servers")
    if circuit.adaptive is not None and circuit.max_requests and circuit.adaptive.min >= circuit.max_requests:
        message = f"`adaptive` has no effect: its `min` {circuit.adaptive.min} is no less than `max_requests` {circuit.max_requests}"
        yield Doubt("PXD-122", message, (*here, "circuit", "adaptive"), "lower `min`, or raise `max_requests`")
