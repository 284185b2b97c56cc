"""What the policies of one route may not be together: kinds of which a route has one, and more of them than engines have room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from proxyd.config.builtin import BUILT_IN
from proxyd.config.doubt import Doubt
from proxyd.config.model import Config, Policy, Route
from proxyd.diagnostics.marked import Step

# Room in the engines: ext/proxyd_ext/filter/state.pxd.
FILTERS_MAX = 32
LIMITS_MAX = 16
AUTHS_MAX = 4
_ALONE = {
    "ban": "one address has one count of refusals; write the stricter one",
    "cors": "browsers take no answer that speaks twice of origins; write one list",
}


def policy_mistakes(config: Config, route: Route, here: tuple[Step, ...]) -> Iterator[Doubt]:
    names = dict.fromkeys((*config.defaults.use, *route.use))
    found = [(name, policy) for name in names if (policy := config.policies.get(name) or BUILT_IN.get(name)) is not None]
    if len(found) < 2:
        return      # of one policy there is enough room for everything
    for kind, help in _ALONE.items():
        same = [name for name, policy in found if getattr(policy, kind) is not None]
        if len(same) > 1:
            path = (*here, "use", route.use.index(same[1])) if same[1] in route.use else here
            yield Doubt("PXD-024", f"`{same[0]}` and `{same[1]}` exclude one another: a route has one `{kind}`", path, help)
    yield from _too_many(route, here, [policy for _, policy in found])


def _too_many(route: Route, here: tuple[Step, ...], policies: list[Policy]) -> Iterator[Doubt]:
    count: Counter[str] = Counter(kind for policy in policies for kind in type(policy).model_fields if getattr(policy, kind) is not None)
    plans = sum(_has_plans(policy) for policy in policies)
    # `auth` and `cors` change fields, too; at the end stand what every route may get, and its own changes.
    filters = count.total() - count["compress"] - count["priority"] + plans + count["auth"] + count["cors"] + 3
    for what, number, most in (
        ("`auth` policies", count["auth"], AUTHS_MAX),
        ("rate limits and usage plans", count["rate_limit"] + plans, LIMITS_MAX),
        ("`concurrency` policies", count["concurrency"], LIMITS_MAX),
        ("steps from its policies", filters, FILTERS_MAX),
    ):
        if number > most:
            yield Doubt("PXD-033", f"the route has {number} {what}", (*here, "use") if route.use else here, f"allowed: {most}")


def _has_plans(policy: Policy) -> bool:
    keys = policy.auth.api_key if policy.auth is not None else None
    return keys is not None and any(key.plan is not None for key in keys.keys.values())
