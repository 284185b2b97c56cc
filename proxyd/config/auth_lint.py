"""What is doubtful about `auth` and `plans`: secrets in the file, quotas that a restart forgets, settings that cannot act."""

from __future__ import annotations

from collections.abc import Iterator

from proxyd.config.auth import Auth
from proxyd.config.auth_keys import DEFAULT_HEADER, ApiKeys, WrittenSecret
from proxyd.config.doubt import Doubt
from proxyd.config.model import Config
from proxyd.diagnostics.marked import Step


def auth_doubts(config: Config) -> Iterator[Doubt]:
    used: set[str] = set()
    for name, policy in config.policies.items():
        here: tuple[Step, ...] = ("policies", name, "auth")
        if policy.auth is not None and policy.auth.api_key is not None:
            keys = policy.auth.api_key
            if keys.query is not None:
                help = f"leave `query` out for the field {DEFAULT_HEADER}, or write `cookie: NAME`"
                yield Doubt("PXD-118", f"`{name}` takes keys from the URL, which others keep and share", (*here, "api_key", "query"), help)
            yield from _written(keys, (*here, "api_key", "keys"))
            used |= {key.plan for key in keys.keys.values() if key.plan is not None}
        if policy.auth is not None and policy.auth.forward is not None:
            yield from _forward(policy.auth, here)
    yield from _plans(config, used)


def _forward(auth: Auth, here: tuple[Step, ...]) -> Iterator[Doubt]:
    if auth.optional:
        message = "`optional` has no effect: the service is asked about requests without a credential, too"
        yield Doubt("PXD-106", message, (*here, "optional"), "let it answer 2xx to those")


def _written(keys: ApiKeys, here: tuple[Step, ...]) -> Iterator[Doubt]:
    for name, key in keys.keys.items():
        if isinstance(key.sha256, WrittenSecret):
            help = "write `${env:NAME}`, `sha256: …` (of the key: `printf %s KEY | sha256sum`), or keep keys in a `file` of their own"
            yield Doubt("PXD-113", f"the API key of `{name}` stands in the file", (*here, name, "key"), help)


def _plans(config: Config, used: set[str]) -> Iterator[Doubt]:
    for name, plan in config.plans.items():
        if name not in used:
            yield Doubt("PXD-106", f"the plan `{name}` has no effect: no API key has it", ("plans", name), f"give some key `plan: {name}`")
        elif plan.quota is not None and config.usage is None:
            message = f"the quota of `{name}` begins anew when proxyd is started again: usage is not kept"
            yield Doubt("PXD-116", message, ("plans", name, "quota"), "add `usage: /var/lib/proxyd/usage.json`")
    if config.usage is not None and all(plan.quota is None for plan in config.plans.values()):
        yield Doubt("PXD-106", "`usage` has no effect: no plan has a quota", ("usage",), "add `quota: 10000/day` to a plan")
