"""One key of one limit: what its table knows of it, and how it is forgotten."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxyd.limits.entries import PLAN, steps
from proxyd.limits.views import KeyView, Kind
from proxyd.snapshot.policy_words import seconds_text
from proxyd_ext.snapshot.spec import BanFilter, InflightFilter, LimitKeyPart, PlanFilter, RateLimitFilter

if TYPE_CHECKING:
    from proxyd_ext.limit.ban import Bans
    from proxyd_ext.limit.inflight import Inflight
    from proxyd_ext.limit.rate import RateLimit
    from proxyd_ext.snapshot.spec import Filter, SnapshotSpec

USER = (LimitKeyPart("user"),)


class HashKey(Protocol):
    """`proxyd_ext.filter.key.hash_key`: the hash under which a table knows a key, from one text a part; 0: it is not counted. ValueError
    where a text is no address."""

    def __call__(self, parts: Sequence[LimitKeyPart], texts: Sequence[str], salt: int = 0) -> int: ...


@dataclass(frozen=True, slots=True)
class Rate:
    name: str
    limit: RateLimit
    parts: tuple[LimitKeyPart, ...]
    salt: int = 0
    burst: int = 0                 # as RateLimit-Policy tells: all that pass at once; 0: not known

    @property
    def kind(self) -> Kind:
        return "plan" if self.name.startswith(PLAN) else "rate"


@dataclass(frozen=True, slots=True)
class Places:
    name: str
    table: Inflight
    parts: tuple[LimitKeyPart, ...]
    max: int
    salt: int = 0


@dataclass(frozen=True, slots=True)
class Ban:
    name: str
    bans: Bans
    parts: tuple[LimitKeyPart, ...]
    salt: int = 0


Found = Rate | Places | Ban


def found_of(step: Filter) -> tuple[Found, ...]:
    """The limits by key of one filter."""
    match step:
        case RateLimitFilter():
            return (Rate(step.policy, step.limit, tuple(step.key), step.salt, step.quota),)
        case InflightFilter():
            return (Places(step.policy, step.table, tuple(step.key), step.max),)
        case BanFilter():
            return (Ban(step.policy, step.bans, (LimitKeyPart("client.ip", "", step.ipv4_bits, step.ipv6_bits),)),)
        case PlanFilter():
            limited = [(plan, plan.limit) for plan in step.plans if plan.limit is not None]
            return tuple(Rate(f"{PLAN}{plan.name}", limit, USER, 0, plan.policy_quota) for plan, limit in limited)
    return ()


def limits_of(spec: SnapshotSpec) -> dict[str, Found]:
    return {found.name: found for step in steps(spec) for found in found_of(step)}


def key_view(found: Found, texts: Sequence[str], hash_: int, now_us: int) -> KeyView:
    """`hash_` is not 0."""
    key = tuple(texts)
    match found:
        case Rate():
            return _rate_view(found, key, found.limit.peek(hash_, now_us))
        case Places():
            count = found.table.count(hash_)
            return KeyView(found.name, "concurrency", key, f"{count} of {found.max} in flight", count > 0, in_flight=count)
    left = found.bans.left_us(hash_, now_us) / 1e6
    return KeyView(found.name, "ban", key, f"banned for {seconds_text(left)} more" if left else "not banned", left > 0, banned_seconds=left)


def _rate_view(found: Rate, key: tuple[str, ...], peeked: dict[str, int] | None) -> KeyView:
    if peeked is None:
        left = f"all {found.burst} left" if found.burst else "nothing taken"
        return KeyView(found.name, found.kind, key, left, False, remaining=found.burst or None)
    remaining, retry, reset = peeked["remaining"], peeked["retry_us"] / 1e6, peeked["reset_us"] / 1e6
    if remaining > 0:
        text = f"{remaining} left" + (f", all {found.burst} in {seconds_text(reset)}" if found.burst > remaining else "")
    else:
        text = f"none left, the next in {seconds_text(retry)}"
    return KeyView(found.name, found.kind, key, text, True, remaining, retry if remaining <= 0 else 0.0, reset)
