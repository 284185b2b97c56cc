"""Shorthands of `health` that move things about (see lift.py): `{redis: primary, interval: 1s}` is an active check with these options, one
active check is a list of one, and `dns: NAME` is `udp: {dns: NAME}`."""

from __future__ import annotations

from proxyd.config.active import KINDS
from proxyd.config.health import Health
from proxyd.diagnostics.diagnostic import Diagnostic
from proxyd.diagnostics.marked import Map, Seq, Spot


def lift_health(health: object, found: list[Diagnostic]) -> None:
    """Bring the value of one `health` into its canonical shape, in place; what has the wrong shape is left as it stands."""
    if not isinstance(health, Map):
        return
    kinds = [name for name in health if name in KINDS]
    if kinds and "active" in health:
        for name in kinds:
            _, spot = health.take(name)
            message = f"`health` has both `active` and `{name}`, which is an active check too"
            found.append(Diagnostic("PXD-024", message, spot.key, "put it into the list of `active`"))
    elif kinds:
        _gather(health, kinds[0])
    active = health.get("active")
    if isinstance(active, Map):
        _, spot = health.take("active")
        health.put("active", Seq(spot.value).add(active, Spot(spot.value, spot.value)), spot)
        _lift_dns(active, found)
    for one in active if isinstance(active, Seq) else ():
        if isinstance(one, Map):
            _lift_dns(one, found)


def _gather(health: Map, kind: str) -> None:
    """All that is not an option of `health` itself belongs to the check."""
    at = Spot(health.spots[kind].key, health.span)
    check = Map(health.span)
    for name in [name for name in health if name not in Health.model_fields]:
        check.put(name, *health.take(name))
    health.put("active", check, at)


def _lift_dns(check: Map, found: list[Diagnostic]) -> None:
    if "dns" not in check:
        return
    value, spot = check.take("dns")
    if "udp" in check:
        found.append(Diagnostic("PXD-024", "`dns` stands for `udp: {dns: …}`, and `udp` is there too", spot.key, "keep one of them"))
    else:
        check.put("udp", Map(spot.key).put("dns", value, spot), spot)
