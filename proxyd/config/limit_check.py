"""What limits ask of the rest of the config: places that can be reserved, somebody who tells identities, a store that is shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from proxyd.config.builtin import BUILT_IN
from proxyd.config.concurrency import effective
from proxyd.config.doubt import Doubt
from proxyd.config.limit_keys import identity_words
from proxyd.config.model import Config, Policy, Route
from proxyd.diagnostics.marked import Map, Step

_SHOWN = 12  # terms of a sum
Path = tuple[Step, ...]


def limit_mistakes(config: Config, data: Map, *, lost: frozenset[str]) -> Iterator[Doubt]:
    """Errors. `lost`: sections that are in the file in a form that could not be read, so that nothing is held against who needs them."""
    section = data.get("concurrency")
    if "concurrency" not in lost and not (isinstance(section, Map) and section.lost):
        yield from _reservations(config)
    for here, route in _routes(config):
        yield from _identities(config, route, here)
    if config.limits is None and "limits" not in lost:
        for name, policy in config.policies.items():
            if policy.rate_limit is not None and policy.rate_limit.scope == "cluster":
                help = "like `limits: {redis: redis://127.0.0.1:6379/0}`; `scope: local` needs none"
                message = "`scope: cluster` needs the store that the proxies share, and there is no `limits`"
                yield Doubt("PXD-022", message, ("policies", name, "rate_limit", "scope"), help)


def limit_doubts(config: Config) -> Iterator[Doubt]:
    """Warnings."""
    for name, policy in config.policies.items():
        limit = policy.rate_limit
        if limit is not None and "burst" not in limit.model_fields_set and limit.rate.requests > 1 and limit.mode == "refuse":
            message = f"without `burst`, the second of two requests that come within {_apart(*limit.rate.key)} is refused"
            help = f"write `burst: {limit.rate.requests - 1}` to let {limit.rate.requests} come at once, or `burst: 0` if that is meant"
            yield Doubt("PXD-114", message, ("policies", name, "rate_limit"), help)
    routes = [(here, route) for here, route in _routes(config) if route.concurrency is not None]
    whole = effective(config.concurrency, (route.concurrency for _, route in routes))
    for here, route in routes:
        assert route.concurrency is not None
        if route.concurrency.queue and not route.concurrency.max and (whole is None or not whole.total):
            help = "give `max`, or the bound of all routes, `concurrency.total`"
            yield Doubt("PXD-106", "`queue` has no effect: the route has as many places as it needs", (*here, "concurrency", "queue"), help)
        if route.concurrency.reserved and whole is not None and not whole.total:
            message = "`reserved` has no effect but that of `max`: with `concurrency.total: none` nobody takes places away"
            yield Doubt("PXD-106", message, (*here, "concurrency", "reserved"), "give `concurrency.total`, or write `max`")


def _routes(config: Config) -> Iterator[tuple[Path, Route]]:
    for index, route in enumerate(config.routes):
        yield ("routes", index), route
    for name, listener in config.listeners.items():
        for index, route in enumerate(listener.own_routes or ()):
            yield ("listeners", name, "routes", index), route


def _reservations(config: Config) -> Iterator[Doubt]:
    """All that is reserved must leave `unreserved` of `total` to the others. A table that several listeners share has its places once."""
    reserving = [
        (here, route.name, route.concurrency) for here, route in _routes(config) if route.concurrency and route.concurrency.reserved
    ]
    whole = effective(config.concurrency, (places for _, _, places in reserving))
    if whole is None or not whole.total:
        return
    sums = list(accumulate(places.reserved for _, _, places in reserving))
    first = next((number for number, reserved in enumerate(sums) if whole.total - reserved < whole.unreserved), None)
    if first is None:
        return
    left = whole.total - sums[-1]
    added = _some(" + ", [str(places.reserved) for _, _, places in reserving])
    shown = f"{added} = {sums[-1]}" if len(sums) > 1 else added
    if left < 0:
        message = (
            f"{shown} reserved is more than the {whole.total} of `concurrency.total`, and `concurrency.unreserved` wants {whole.unreserved}"
        )
    else:
        message = f"{shown} reserved of {whole.total} leaves {left}, and `concurrency.unreserved` wants {whole.unreserved}"
    given = config.concurrency is not None and "total" in config.concurrency.model_fields_set
    listed = _some(", ", [f"`{name}` {places.reserved}" for _, name, places in reserving])
    help = f"{listed}; reserve less, or raise `concurrency.total`{'' if given else ' (its default)'} to {sums[-1] + whole.unreserved}"
    yield Doubt("PXD-083", message, (*reserving[first][0], "concurrency", "reserved"), help)


def _some(join: str, items: Sequence[str]) -> str:
    return join.join(items[:_SHOWN]) + (f"{join}… ({len(items) - _SHOWN} more)" if len(items) > _SHOWN else "")


def _identities(config: Config, route: Route, here: Path) -> Iterator[Doubt]:
    """Who counts by user or claim needs somebody on the same route who tells them."""
    names = tuple(dict.fromkeys((*config.defaults.use, *route.use)))
    found = [(name, config.policies.get(name) or BUILT_IN.get(name)) for name in names]
    if any(policy is None or policy.auth is not None for _, policy in found):
        return  # one that is unknown, or was refused, may be the one
    for name, policy in found:
        assert policy is not None
        words = identity_words(_key_of(policy))
        if words:
            path = (*here, "use", route.use.index(name)) if name in route.use else here
            by = " and ".join(f"`{word}`" for word in words)
            message = f"the policy `{name}` counts by {by}, and no `auth` policy of the route tells who it is"
            yield Doubt("PXD-084", message, path, "add an `auth` policy to `use`; without one there is `client.ip`, or `header:NAME`")


def _key_of(policy: Policy) -> tuple[str, ...]:
    limit = policy.rate_limit or policy.concurrency
    return limit.key if limit is not None else ()


def _apart(requests: int, per_s: int) -> str:
    """The time between two requests at that rate."""
    ms = per_s * 1_000 / requests
    return f"{ms:.3g} ms" if ms < 1_000 else f"{ms / 1_000:.3g} s"
