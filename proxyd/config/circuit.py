"""How much an upstream may be asked: limits on requests at a time, a wait queue, and a breaker that opens when too much fails."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from proxyd.config.base import NONE_OR_ON, Model
from proxyd.config.factor import Factor
from proxyd.config.text import Count, Integer
from proxyd.config.units import Duration, Percent, Within
from proxyd.diagnostics.fail import fail


class Adaptive(Model):
    min: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(10, description="The limit never falls below this.")
    max: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(1000, description="Nor rises above this.")
    tolerance: Annotated[Factor, Within("1", "10")] = Field(
        Factor("2"), description="Response times up to so many times the usual ones count as without queueing."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max < self.min:
            at = "max" if "max" in self.model_fields_set else "min"
            raise fail("PXD-039", f"`max` {self.max} is less than `min` {self.min}", at=(at,))
        return self


class Circuit(Model):
    max_requests: Count = Field(
        0, description="Requests at a time on the whole upstream, over all engines; `none`: no bound.", examples=[1000]
    )
    max_pending: Count = Field(
        0, description="Requests that may wait until a server has room; `none`: what finds no room is refused at once.", examples=[200]
    )
    queue_timeout: Annotated[Duration, Within("1ms", "10m")] = Field(Duration("1s"), description="How long one may wait; then it gets 503.")
    error_ratio: Annotated[Percent, Within("1%", "100%")] | None = Field(
        None,
        description="Share of failed requests (5xx, or no answer) that opens the circuit: everything gets 503; unset: never.",
        examples=["50%"],
    )
    window: Annotated[Duration, Within("1s", "10m")] = Field(Duration("10s"), description="Time over which `error_ratio` is taken.")
    min_requests: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(20, description="Fewer than these in a window decide nothing.")
    open_for: Annotated[Duration, Within("100ms", "1h")] = Field(
        Duration("10s"), description="How long it stays open before some requests are let through for a trial (half open)."
    )
    probes: Annotated[Integer, Field(ge=1, le=1000)] = Field(
        3, description="Requests of the trial; when all succeed the circuit closes, with the first failure it opens again."
    )
    adaptive: Annotated[Adaptive | None, NONE_OR_ON] = Field(
        None,
        description=(
            "Finds the limit on requests at a time by itself, from how response times grow with it (gradient); or `none`. With "
            "`max_requests` too, the lower one holds."
        ),
        examples=[{"min": 10, "max": 1000}],
    )
