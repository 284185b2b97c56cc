"""Limits and the gateway's policies in words, as `proxyd route` and `proxyd limit` show them."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyd.config.model import Policy
    from proxyd.config.rate_limit import RateLimit
    from proxyd.snapshot.limit_texts import Request
    from proxyd_ext.snapshot.spec import AuthFilter, CorsFilter, LimitKeyPart, PythonFilter, RequestFilter


def seconds_text(seconds: float) -> str:
    """`50 ms`, `1.2 s`, `4.5 min`, `20 h`, `3 d`: two digits, for times that are about to come."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= (2 * size if size > 1 else 1):
            return f"{seconds / size:.0f} {unit}" if seconds >= 9.5 * size else f"{seconds / size:.2g} {unit}"
    return f"{max(round(seconds * 1000), 0)} ms"


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
    if policy.ban is not None:
        refusals = "one refusal bans" if policy.ban.after == 1 else f"{policy.ban.after} refusals in {policy.ban.within} ban"
        return f"{refusals} for {policy.ban.lasts}"
    return ""


# ---------------------------------------------------------------------- filters that do not limit
def request_text(step: RequestFilter) -> str:
    """`takes GET and HEAD, bodies up to 1 MiB`."""
    parts = [f"takes {' and '.join(sorted(step.methods))}"] if step.methods else []
    return ", ".join([*parts, *([f"bodies up to {size_text(step.body_size)}"] if step.body_size else [])])


def size_text(size: int) -> str:
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.3g} {unit}"
    return f"{size} B"


def cors_text(step: CorsFilter, request: Request) -> str:
    who = "every origin" if tuple(step.origins) == ("*",) else ", ".join(step.origins)
    if request.field("Origin") is None:
        return f"answers pages of {who}; the request names no Origin"
    if request.method == "OPTIONS" and request.field("Access-Control-Request-Method") is not None:
        return f"answers this preflight, for pages of {who}"
    return f"adds what pages of {who} may do"


CREDENTIALS = {
    "bearer": "a token in `Authorization: Bearer`", "basic": "a name and a password in `Authorization: Basic`",
    "header": "a key in the field `{}`", "query": "a key in the parameter `{}`", "cookie": "a key in the cookie `{}`",
}


def auth_text(step: AuthFilter, request: Request) -> str:
    """What it wants, and whether the request has it; whether it is good would have to be asked."""
    if step.source == "fields":
        return f"asks a service, with the request's {key_text(step.fields) or 'head'}"
    has, wants = _credential(step, request) is not None, CREDENTIALS[step.source].format(step.name)
    if has:
        return "checks " + re.sub(r"\ba ", "the ", wants)
    return f"wants {wants}: without one " + ("a request passes as nobody" if step.optional else "it is refused with 401")


def _credential(step: AuthFilter, request: Request) -> str | None:
    match step.source:
        case "header":
            return request.field(step.name)
        case "query":
            return request.parameter(step.name)
        case "cookie":
            return request.cookie(step.name)
        case _:
            scheme, _, rest = (request.field("Authorization") or "").partition(" ")
            return rest if scheme.lower() == step.source and rest else None


def python_text(step: PythonFilter, policy: Policy | None) -> str:
    file = getattr(policy.python, "file", "") if policy is not None and policy.python is not None else ""
    failed = "passes" if step.fail_open else "is refused with 503"
    return f"asks {file or 'a filter'}, for {seconds_text(step.timeout_ms / 1000)} at most; when it fails, the request {failed}"
