"""How a server is known to work: by checks of its own, and by what became of real requests."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from proxyd.config.active import KINDS, Active, expand_active, expand_one
from proxyd.config.base import NONE, NONE_OR_ON, STRING, Model, Short
from proxyd.config.factor import Factor
from proxyd.config.text import Count, Flag, Integer
from proxyd.config.units import Duration, Percent, Within
from proxyd.diagnostics.fail import fail, shown


class SuccessRate(Model):
    deviations: Annotated[Factor, Within("0.1", "10")] = Field(
        Factor("1.9"), description="A server is ejected whose success rate lies so many standard deviations below the mean of all."
    )
    min_servers: Annotated[Integer, Field(ge=2, le=10_000)] = Field(5, description="With fewer servers nothing is compared.")
    min_requests: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        100, description="Servers with fewer requests in a window are left out."
    )


class Latency(Model):
    factor: Annotated[Factor, Within("1.1", "100")] = Field(
        Factor("3"), description="A server is ejected whose mean response time is so many times the median of all servers."
    )
    min_servers: Annotated[Integer, Field(ge=2, le=10_000)] = Field(3, description="With fewer servers nothing is compared.")
    min_requests: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        100, description="Servers with fewer requests in a window are left out."
    )


class Passive(Model):
    consecutive_5xx: Count = Field(5, description="Failures in a row (5xx, or no answer) of real requests that eject a server; or `none`.")
    error_rate: Annotated[Percent, Within("1%", "100%")] | None = Field(
        None, description="Share of failures in a window that ejects a server; unset: none does.", examples=["50%"]
    )
    success_rate: Annotated[SuccessRate | None, NONE_OR_ON] = Field(
        None, description="Eject servers that fail more than the others; `on` or `none`.", examples=[{"deviations": 1.9}]
    )
    latency: Annotated[Latency | None, NONE_OR_ON] = Field(
        None, description="Eject servers that are slower than the others; `on` or `none`.", examples=[{"factor": 3}]
    )
    window: Annotated[Duration, Within("1s", "10m")] = Field(
        Duration("10s"), description="Time over which rates and response times are taken."
    )
    min_requests: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        20, description="With fewer requests in a window, `error_rate` decides nothing."
    )
    eject: Annotated[Duration, Within("100ms", "1d")] = Field(
        Duration("30s"), description="How long an ejected server gets no requests, times the number of ejections in a row."
    )
    eject_max: Annotated[Duration, Within("100ms", "1d")] = Field(Duration("5m"), description="The longest ejection.")
    max_ejected: Annotated[Percent, Within("0%", "100%")] = Field(
        Percent("50%"), description="Most of an upstream's servers that may be ejected at a time; one may always be, a lone one never."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.eject_max < self.eject:
            if "eject_max" in self.model_fields_set:
                raise fail("PXD-039", f"the longest ejection {self.eject_max} is shorter than the first, {self.eject}", at=("eject_max",))
            raise fail(
                "PXD-039",
                f"the first ejection {self.eject} is longer than the longest, {self.eject_max}",
                f"add `eject_max: {self.eject}`",
                at=("eject",),
            )
        return self


def expand_health(value: object) -> object:
    """`none`, `tcp` and `/path` all speak of the active check; passive ejection stays on."""
    if value == "none":
        return {"active": "none"}
    if value == "tcp" or (isinstance(value, str) and value.startswith("/")):
        return {"active": value}
    if isinstance(value, str):
        raise fail("PXD-034", f"{shown(value)} is not a health check", "write a path like `/healthz`, `tcp`, or `none`")
    return value


class Health(Model):
    active: Annotated[
        tuple[Annotated[Active, Short(expand_one, (STRING,))], ...],
        Short(expand_active, (NONE, STRING, {"type": "object"})),
    ] = Field(
        (),
        description="Checks of proxyd's own, all of which must pass: a path, `tcp`, a mapping, a list of them, or `none`.",
        examples=[[{"path": "/healthz"}]],
    )
    passive: Annotated[Passive | None, NONE_OR_ON] = Field(Passive(), description="What real requests tell; or `none`.")
    panic: Annotated[Percent, Within("0%", "100%")] = Field(
        Percent("0%"),
        description="When less than this of the servers' weight is usable, health is ignored and all get requests; 0%: never.",
        examples=["50%"],
    )
    fail_open: Flag = Field(
        False, description="When no server is usable: true sends requests to all of them all the same, false answers 503."
    )


ONE_CHECK: dict[str, Any] = {"type": "object", "anyOf": [{"required": [kind]} for kind in KINDS]}
"""`health: {redis: primary, interval: 1s}`: lift_health.py makes an active check of it."""

HealthField = Annotated[Health, Short(expand_health, (NONE, STRING, ONE_CHECK))]
