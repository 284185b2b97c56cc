"""The admin API's own families: who connects to it."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from proxyd.metrics.families import Family, counter, gauge

Kind = Literal["tcp", "unix"]
Reason = Literal["limit", "room", "head", "stalled"]
KINDS: tuple[Kind, ...] = ("tcp", "unix")
REASONS: tuple[Reason, ...] = ("limit", "room", "head", "stalled")


@dataclass(slots=True)
class AdminCounts:
    """Connections to the admin API since the start, by kind of socket."""

    accepted: Counter[Kind] = field(default_factory=Counter)
    open: Counter[Kind] = field(default_factory=Counter)
    rejected: Counter[tuple[Kind, Reason]] = field(default_factory=Counter)


def admin_families(counts: AdminCounts) -> Iterable[Family]:
    accepted = counter("admin_connections_accepted_total", "Connections to the admin API.", ("socket",))
    is_open = gauge("admin_connections_open", "Connections to the admin API that are open now.", ("socket",))
    rejected = counter(
        "admin_connections_rejected_total",
        "Connections to the admin API that were refused (limit), or cut off: they rested while others wanted their place (room), their "
        "request did not arrive in time (head), or they did not take the answer (stalled).", ("socket", "reason"))
    for kind in KINDS:
        accepted.add((kind,), counts.accepted[kind])
        is_open.add((kind,), counts.open[kind])
        for reason in REASONS:
            rejected.add((kind, reason), counts.rejected[kind, reason])
    return accepted, is_open, rejected
