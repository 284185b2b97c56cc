"""What the policies of a route say to one request, in the order in which they act.

Access is asked of the native filters themselves, one at a time, so that it is as in traffic. Limits tell what they have left for the
request's key where a daemon runs, and else their rule. What has to be asked of others (credentials, filters in Python) is told in words: a
dry run asks nobody.
"""
from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from proxyd.snapshot.build_policies import rank
from proxyd.snapshot.limit_texts import Request, key_texts
from proxyd.snapshot.policy_words import auth_text, cors_text, parts_text, python_text, request_text, rule_text
from proxyd.state import PolicyVerdict
from proxyd_ext.core.fault import faults
from proxyd_ext.io.listener import Listener
from proxyd_ext.route.stats import RouteStats
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    AuthFilter,
    BanFilter,
    CorsFilter,
    HeadersFilter,
    InflightFilter,
    LimitKeyPart,
    ListenerSpec,
    PlanFilter,
    PythonFilter,
    RateLimitFilter,
    RequestFilter,
    RespondAction,
    RouteSpec,
    SnapshotSpec,
)

if TYPE_CHECKING:
    from proxyd.config.model import Policy
    from proxyd_ext.snapshot.spec import Filter

UNSAID = "depends on the client's address (--client IP)"
UNKNOWN = "depends on who it is"
NOT_ASKED = "not asked"
PRIORITY_RANK, HEADERS_RANK, COMPRESS_RANK = -1, 8, 10     # of what is no filter with a name


class Said(Protocol):
    """What a limit says to a key; `proxyd.limits.views.KeyView` is one."""

    @property
    def text(self) -> str: ...

    @property
    def remaining(self) -> int | None: ...

    @property
    def banned_seconds(self) -> float: ...


class Meter(Protocol):
    """Knows what live limits say; `proxyd.limits.service.Limits.peek` is one. None: nothing is known."""

    def __call__(self, step: Filter, texts: Sequence[str]) -> Said | None: ...


def verdicts(
    policies: Sequence[tuple[str, Policy]], steps: Sequence[Filter], request: Request, meter: Meter | None = None
) -> tuple[PolicyVerdict, ...]:
    """`steps`: the filters of the route. Those behind a refusal are not asked."""
    found: list[PolicyVerdict] = []
    by_name = dict(policies)
    for name, step in _in_order(policies, steps):
        if any(verdict.refuses for verdict in found):
            found.append(PolicyVerdict(name, NOT_ASKED))
        elif step is None:
            found.append(PolicyVerdict(name, _plain_words(by_name[name])))
        else:
            found.append(_verdict(name, step, by_name.get(name), request, meter))
    return tuple(found)


def admission(step: AccessFilter, client: str, *, datagrams: bool = False) -> PolicyVerdict:
    """What `allow` and `deny` of a listener say, which are asked before anything is read."""
    if not client:
        return PolicyVerdict("allow/deny", UNSAID)
    if _alone(step).verdict(0, 0, client) is None:
        return PolicyVerdict("allow/deny", "the client may connect")
    return PolicyVerdict("allow/deny", f"refuses: {'its datagrams are dropped' if datagrams else 'the connection is closed at once'}", True)


def _in_order(policies: Sequence[tuple[str, Policy]], steps: Sequence[Filter]) -> Iterator[tuple[str, Filter | None]]:
    """Each step that has a name with it, and each policy that is no such step."""
    ranked: list[tuple[int, str, Filter | None]] = [
        (rank(step), step.policy, step) for step in steps if not isinstance(step, HeadersFilter)
    ]
    for name, policy in policies:
        if policy.headers is not None:
            ranked.append((HEADERS_RANK, name, None))
        elif policy.compress is not None:
            ranked.append((COMPRESS_RANK, name, None))
        elif policy.priority is not None:
            ranked.append((PRIORITY_RANK, name, None))
    for _, name, step in sorted(ranked, key=lambda entry: entry[0]):
        yield name, step


def _verdict(name: str, step: Filter, policy: Policy | None, request: Request, meter: Meter | None) -> PolicyVerdict:
    match step:
        case AccessFilter():
            if not request.client:
                return PolicyVerdict(name, UNSAID)
            word = _alone(step).verdict(0, 0, request.client)
            return PolicyVerdict(name, _refusal(word), True) if word else PolicyVerdict(name, "lets the client pass")
        case RequestFilter():
            refused = bool(step.methods) and request.method not in step.methods
            return PolicyVerdict(name, _refusal("method_refused") if refused else request_text(step), refused)
        case BanFilter():
            return _ban(name, step, rule_text(policy) if policy is not None else "", request, meter)
        case RateLimitFilter() | InflightFilter():
            return _limit(name, step, rule_text(policy) if policy is not None else "", request, meter)
        case CorsFilter():
            return PolicyVerdict(name, cors_text(step, request))
        case AuthFilter():
            return PolicyVerdict(name, auth_text(step, request))
        case PlanFilter():
            return PolicyVerdict(name, f"the key's plan: {', '.join(plan.name for plan in step.plans)}")
        case PythonFilter():
            return PolicyVerdict(name, python_text(step, policy))
    return PolicyVerdict(name, "changes nothing")


def _ban(name: str, step: BanFilter, rule: str, request: Request, meter: Meter | None) -> PolicyVerdict:
    if not request.client:
        return PolicyVerdict(name, f"{rule}: {UNSAID}")
    said = meter(step, [request.client]) if meter is not None else None
    if said is None:
        return PolicyVerdict(name, rule)
    banned = said.banned_seconds > 0
    return PolicyVerdict(name, f"refuses: 403, {said.text} ({rule})" if banned else f"{rule}: {said.text}", banned)


def _limit(name: str, step: RateLimitFilter | InflightFilter, rule: str, request: Request, meter: Meter | None) -> PolicyVerdict:
    texts = key_texts(step.key, request)
    said = meter(step, texts) if meter is not None and texts is not None else None
    if said is not None:
        if said.remaining is not None and said.remaining <= 0 and not step.dry_run:
            return PolicyVerdict(name, f"refuses: {step.status}, {said.text} ({rule})", True)
        return PolicyVerdict(name, f"{rule}: {said.text}")
    if texts is not None and not any(texts):
        return PolicyVerdict(name, f"{rule}: does not count a request without {parts_text(step.key)}")
    if texts is None and meter is not None:
        return PolicyVerdict(name, f"{rule}: {_why_unknown(step.key, request)}")
    return PolicyVerdict(name, rule)


def _why_unknown(parts: Sequence[LimitKeyPart], request: Request) -> str:
    address = not request.client and any(part.kind == "client.ip" for part in parts)
    return UNSAID if address else UNKNOWN


def _alone(step: Filter) -> Snapshot:
    """A snapshot for questions, of one route with this filter."""
    listener = ListenerSpec(null_listener("", ""), "", 0, (RouteStats("", "0"), RouteStats("", "-")))
    return Snapshot(SnapshotSpec(0, "", (listener,), ((RouteSpec("0", RespondAction(204), filters=(step,)),),)))


def null_listener(name: str, address: str) -> Listener:
    """A listener for a snapshot that serves nowhere. It must own a descriptor; this one is nothing that anybody could connect to."""
    return Listener(name, address, [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)], True)


def _refusal(word: str) -> str:
    facts = faults()[word]
    return f"refuses: {facts['status']}, {facts['sentence']}"


def _plain_words(policy: Policy) -> str:
    """What a policy does that is no step of its own."""
    if policy.priority is not None:
        return f"requests are of class {policy.priority}"
    if policy.compress is not None:
        return f"compresses what the cache stores: {', '.join(policy.compress.encodings)} from {policy.compress.min_size}"
    changes = [
        f"sets {', '.join(fields)} on the {side}"
        for side, fields in (
            ("request", policy.headers.request.set if policy.headers else {}),
            ("answer", policy.headers.response.set if policy.headers else {}),
        )
        if fields
    ]
    return " and ".join(changes) or "changes nothing"
