"""What the admin API shows of `auth`: policies with what they remember and decided, and who has used what of a quota."""
from __future__ import annotations

from dataclasses import dataclass

from proxyd.config.auth import AuthKind
from proxyd.config.plans import Period
from proxyd.gateway.usage import UsageView


@dataclass(frozen=True, slots=True)
class KeysView:
    """For status and metrics. age_s: seconds since the keys were confirmed; None: there are none."""

    place: str
    keys: int
    age_s: float | None
    fetches: int
    failures: int
    last_error: str


@dataclass(frozen=True, slots=True)
class PolicyView:
    """Counters as in `Verdicts.stats`; `keys`: of a `jwt` policy, where its issuers' keys come from."""

    policy: str
    kind: AuthKind
    entries: int
    capacity: int
    evictions: int
    allowed: int
    denied: int
    missing: int
    asked: int
    failed: int
    keys: tuple[KeysView, ...]


@dataclass(frozen=True, slots=True)
class AuthView:
    policies: tuple[PolicyView, ...]


@dataclass(frozen=True, slots=True)
class ConsumerUsage:
    name: str
    period: Period
    used: int


@dataclass(frozen=True, slots=True)
class UsageOfQuotas:
    """`file`: where it outlives a restart; None: it does not."""

    consumers: tuple[ConsumerUsage, ...]
    file: UsageView | None
