"""What the policies of a route say to one client: the native filters are asked, one policy at a time, so that it is as in traffic."""
from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxyd.state import PolicyVerdict
from proxyd_ext.core.fault import faults
from proxyd_ext.io.listener import Listener
from proxyd_ext.route.stats import RouteStats
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import ListenerSpec, RespondAction, RouteSpec, SnapshotSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxyd.config.model import Policy
    from proxyd_ext.snapshot.spec import Filter

UNSAID = "depends on the client's address (--client IP)"


def verdicts(
    policies: Sequence[tuple[str, Policy]], client: str, build_filters: Callable[[str, Policy], Sequence[Filter]]
) -> tuple[PolicyVerdict, ...]:
    """In the order in which they act; those behind a refusal are not asked. `client`: an IP literal, or "" for an unknown one."""
    found: list[PolicyVerdict] = []
    native = _each_alone([build_filters(name, policy) for name, policy in policies]) if client and policies else None
    for number, (name, policy) in enumerate(policies):
        if found and found[-1].refuses:
            found.append(PolicyVerdict(name, "not asked"))
            continue
        word = native.verdict(0, number, client) if native is not None else None
        found.append(PolicyVerdict(name, _refusal(word), refuses=True) if word else PolicyVerdict(name, _words(policy, client)))
    return tuple(found)


def _each_alone(filters: Sequence[Sequence[Filter]]) -> Snapshot:
    """A snapshot for questions whose route number N has the filters of policy number N."""
    names = [str(number) for number in range(len(filters))]
    routes = tuple(RouteSpec(name, RespondAction(204), filters=tuple(own)) for name, own in zip(names, filters, strict=True))
    stats = tuple(RouteStats("", name) for name in (*names, "-"))
    listener = ListenerSpec(null_listener("", ""), "", 0, stats)
    return Snapshot(SnapshotSpec(0, "", (listener,), (routes,)))


def null_listener(name: str, address: str) -> Listener:
    """A listener for a snapshot that serves nowhere. It must own a descriptor; this one is nothing that anybody could connect to."""
    return Listener(name, address, [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)], True)


def _refusal(word: str) -> str:
    facts = faults()[word]
    return f"refuses: {facts['status']}, {facts['sentence']}"


def _words(policy: Policy, client: str) -> str:
    """What a policy does that lets the request pass."""
    if policy.access is not None:
        return "lets the client pass" if client else UNSAID
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
