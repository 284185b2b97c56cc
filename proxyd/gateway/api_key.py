"""API keys: whose is it? They are looked up by their SHA-256, so that the time of a lookup tells nothing of how near a guess was."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from proxyd.gateway.authority import DENIED_TTL, Asked, Decided
from proxyd.snapshot.build_headers import field_lines
from proxyd_ext.auth.verdict import Verdict

if TYPE_CHECKING:
    from proxyd.config.auth_keys import ApiKey, ApiKeys
    from proxyd.gateway.parts import Parts
    from proxyd_ext.auth.verdict import Consumer


def build(parts: Parts) -> ApiKeyAuthority:
    keys = parts.auth.api_key
    assert keys is not None
    return ApiKeyAuthority(parts, keys)


class ApiKeyAuthority:
    def __init__(self, parts: Parts, keys: ApiKeys) -> None:
        plans = list(parts.config.plans)
        self._ttl = parts.auth.ttl_s
        self._unknown = Verdict(allow=False, status=401, head=field_lines({"WWW-Authenticate": keys.challenge(parts.policy)}))
        self._disabled = Verdict(allow=False, status=403)
        self._verdicts: Mapping[bytes, Verdict] = {
            bytes.fromhex(key.sha256): self._verdict(name, key, keys.forward, parts, plans) for name, key in keys.keys.items()
        }

    def _verdict(self, name: str, key: ApiKey, forward: str | None, parts: Parts, plans: list[str]) -> Verdict:
        if not key.enabled:
            return self._disabled
        lines = field_lines(({forward: name} if forward else {}) | key.forward)
        if key.plan is None:
            return Verdict(allow=True, user=name, lines=lines)
        return Verdict(
            allow=True, user=name, lines=lines, attributes={"plan": key.plan}, plan=plans.index(key.plan),
            consumer=_consumer(parts, name, key.plan),
        )

    async def decide(self, asked: Asked) -> Decided:
        return self.decide_now(asked)

    def decide_now(self, asked: Asked) -> Decided:
        verdict = self._verdicts.get(hashlib.sha256(asked.credential.encode("latin-1")).digest(), self._unknown)
        return Decided(verdict, self._ttl if verdict.allow else DENIED_TTL)

    async def close(self) -> None:
        """There is nothing to let go of."""


def _consumer(parts: Parts, name: str, plan: str) -> Consumer:
    quota = parts.config.plans[plan].quota
    return parts.consumers.get(name, quota.period if quota is not None else "day")
