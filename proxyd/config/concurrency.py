"""Requests in flight: by key (a policy), by route, and all together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from proxyd.config.base import INTEGER, Model, Short
from proxyd.config.limit_keys import Ipv4Bits, Ipv6Bits, LimitKey
from proxyd.config.on_limit import OnLimit, OnLimitField
from proxyd.config.text import Count, Flag, Integer
from proxyd.config.units import Duration, Within
from proxyd.diagnostics.fail import fail

MOST = 1_000_000  # the upper bound of Count


class KeyConcurrency(Model):
    max: Annotated[Integer, Field(ge=1, le=MOST)] = Field(
        description="Most requests of one key in flight, from their arrival to the end of the answer, over all engines.", examples=[10]
    )
    key: LimitKey = Field(
        ("client.ip",), min_length=1, description="What is counted by, as in `rate_limit`.", examples=[["client.ip", "route"]]
    )
    ipv4: Ipv4Bits = Field(32, description="So many leading bits of an IPv4 address are one client.")
    ipv6: Ipv6Bits = Field(64, description="The same for IPv6.")
    on_limit: OnLimitField = Field(
        OnLimit(), description="The answer for what is refused; in short its status.", examples=[{"status": 503}]
    )
    dry_run: Flag = Field(False, description="Count and log what would be refused, and let it pass.")
    keys: Annotated[Integer, Field(ge=1_000, le=10_000_000)] = Field(
        65_536, description="Keys that can have requests in flight at a time; those of further ones are refused, and counted."
    )

    def in_force(self) -> tuple[str, ...]:
        idle = {"ipv4", "ipv6"} if "client.ip" not in self.key else set()
        return tuple(name for name in super().in_force() if name not in idle)


def expand_most(value: object) -> object:
    """A number is the most."""
    return {"max": value} if isinstance(value, int) and not isinstance(value, bool) else value


KeyConcurrencyField = Annotated[KeyConcurrency, Short(expand_most, (INTEGER,))]


class RouteConcurrency(Model):
    """Places of a route, as Lambda's reserved concurrency: what is reserved is guaranteed, and is all there is unless `max` says more."""

    reserved: Annotated[Integer, Field(ge=0, le=MOST)] = Field(
        0, description="Places that only this route can have, of those in `concurrency.total`.", examples=[50]
    )
    max: Count = Field(
        0,
        description=(
            "Most of its requests that are on servers at a time, those in reserved places included; `none`: as many as find a place; "
            "unset: `reserved`, where something is reserved, else `none`."
        ),
        examples=[200],
    )
    queue: Count = Field(0, description="Requests that may wait for a place; `none`: what finds none is refused at once.", examples=[100])
    queue_timeout: Annotated[Duration, Within("1ms", "10m")] = Field(Duration("1s"), description="How long one may wait; then it gets 503.")

    @model_validator(mode="before")
    @classmethod
    def _capped(cls, data: Any) -> Any:
        """What is reserved is the most, too, where `max` is not given. A count that is no count is told of once, as `reserved`."""
        reserved = data.get("reserved") if isinstance(data, dict) and "max" not in data else None
        if isinstance(reserved, int) and not isinstance(reserved, bool) and 0 < reserved <= MOST:
            return {**data, "max": reserved}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max and self.reserved > self.max:
            help = "`max` includes the reserved places; raise it, or leave it out to have exactly those that are reserved"
            raise fail("PXD-039", f"`reserved` {self.reserved} is more than `max` {self.max}", help, at=("reserved",))
        return self


RouteConcurrencyField = Annotated[RouteConcurrency, Short(expand_most, (INTEGER,))]


class Concurrency(Model):
    """The places of all routes together, and when the queue for them sheds (CoDel)."""

    total: Count = Field(1000, description="Requests that are on servers at a time, over all routes and engines; `none`: no bound.")
    unreserved: Annotated[Integer, Field(ge=0, le=MOST)] = Field(
        100, description="Places of `total` that routes must leave unreserved, for all others."
    )
    target: Annotated[Duration, Within("1ms", "10s")] = Field(
        Duration("20ms"), description="A wait for a place that is good; those who waited longer are shed while the queue stands."
    )
    interval: Annotated[Duration, Within("1ms", "1m")] = Field(
        Duration("100ms"), description="How long the queue may go without being empty before it counts as standing."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.interval < self.target:
            at = "interval" if "interval" in self.model_fields_set else "target"
            raise fail("PXD-039", f"`interval` {self.interval} is shorter than `target` {self.target}", at=(at,))
        return self


def effective(concurrency: Concurrency | None, routes: Iterable[RouteConcurrency | None]) -> Concurrency | None:
    """The bounds that hold for all routes together: those of the file, else the defaults as soon as a route reserves places, else none."""
    if concurrency is None and any(route is not None and route.reserved for route in routes):
        return Concurrency()
    return concurrency
