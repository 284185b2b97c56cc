"""Which claims of a token the rest of the config asks for: the verdict on it carries those, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxyd.config.auth_jwt import MAX_CLAIMS, Jwt
from proxyd.config.limit_keys import split_limit_key

if TYPE_CHECKING:
    from proxyd.config.model import Config, Policy


def claims_wanted(config: Config, name: str, jwt: Jwt) -> tuple[str, ...]:
    """Claims that verdicts of the policy `name` carry: those of keys `jwt.CLAIM` of limits that share a route with it, then those that
    filters are told. At most MAX_CLAIMS; those of limits come first, so that what is left out changes no limit."""
    wanted: dict[str, None] = {}
    for routes in config.tables():
        for route in routes:
            policies = config.policies_of(route)
            if any(used == name for used, _ in policies):
                for _, policy in policies:
                    wanted |= dict.fromkeys(_claims(policy))
    return tuple([*sorted(wanted), *(claim for claim in jwt.told if claim not in wanted)][:MAX_CLAIMS])


def _claims(policy: Policy) -> list[str]:
    words = [word for limit in (policy.rate_limit, policy.concurrency) if limit is not None for word in limit.key]
    return [name for kind, name in map(split_limit_key, words) if kind == "claim"]
