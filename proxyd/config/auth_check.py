"""What is wrong with `auth` policies as a whole config shows it: plans of keys that nobody has defined."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from proxyd.config.doubt import Doubt
from proxyd.config.model import Config
from proxyd.diagnostics.fail import shown
from proxyd.diagnostics.suggest import closest


def auth_mistakes(config: Config, plans: Collection[str]) -> Iterator[Doubt]:
    """`plans`: the names that the file defines, those whose definition was refused among them."""
    for name, policy in config.policies.items():
        if policy.auth is None or policy.auth.api_key is None:
            continue
        for user, key in policy.auth.api_key.keys.items():
            if key.plan is not None and key.plan not in plans:
                near = closest(key.plan, plans)
                help = (f"did you mean `{near}`? " if near else "") + f"defined in `plans`: {', '.join(sorted(plans)[:20]) or 'none'}"
                where = ("policies", name, "auth", "api_key", "keys", user, "plan")
                yield Doubt("PXD-088", f"the key of {shown(user)} has the plan {shown(key.plan)}, which is not defined", where, help)
