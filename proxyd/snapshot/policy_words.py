"""Limits and the gateway's policies in words, as `proxyd route` and `proxyd limit` show them."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyd.config.model import Policy
    from proxyd.config.rate_limit import RateLimit
    from proxyd_ext.snapshot.spec import LimitKeyPart


def seconds_text(seconds: float) -> str:
    """`50 ms`, `1.2 s`, `4 min`, `2 h`, `3 d`: one figure, for times that are about to come."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{max(round(seconds * 1000), 0)} ms"


def rate_text(limit: RateLimit) -> str:
    """`20/s, burst 40, by client.ip`, and what is not usual about it."""
    said = [str(limit.rate)]
    if limit.burst:
        said.append(f"burst {limit.burst}")
    if limit.mode == "delay":
        said.append(f"held beyond {limit.delay}" if limit.delay else "held instead of refused")
    if limit.scope == "cluster":
        said.append("of all proxies together")
    return ", ".join([*said, f"by {key_text(limit.key)}", *(["dry run"] if limit.dry_run else [])])


def key_text(words: Iterable[str]) -> str:
    return " and ".join(words)


def part_text(part: LimitKeyPart) -> str:
    """A part of a key as the config spells it."""
    if part.kind == "claim":
        return f"jwt.{part.name}"
    return f"{part.kind}:{part.name}" if part.name else part.kind


def parts_text(parts: Sequence[LimitKeyPart]) -> str:
    return key_text(map(part_text, parts))


def rule_text(policy: Policy) -> str:
    """What a policy that limits says, whoever asks; "" for others."""
    if policy.rate_limit is not None:
        return rate_text(policy.rate_limit)
    if policy.concurrency is not None:
        own = policy.concurrency
        return f"{own.max} in flight, by {key_text(own.key)}" + (", dry run" if own.dry_run else "")
    return ""
