"""When proxyd sheds requests to protect itself."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxyd.config.base import ON, STRING, Model, Short
from proxyd.config.units import Duration, Lifetime, Percent, Within
from proxyd.diagnostics.fail import fail


class Overload(Model):
    memory: Annotated[Percent, Within("1%", "100%", off=True)] = Field(
        Percent("90%"),
        description="Share of the memory that the process may have (its control group's bound, else the machine's) from which on it sheds; "
        "`none`: never.",
    )
    queue_delay: Annotated[Duration, Within("1ms", "10m", off=True)] = Field(
        Duration("1s"), description="How late an engine may be, or a request wait for its place, before it sheds; `none`: any."
    )
    action: Literal["shed"] = Field(
        "shed", description="`shed`: 503 for the lowest class of requests, and for one class more with each tick that it lasts."
    )
    retry_after: Annotated[Lifetime, Within("1s", "1h")] = Field(
        Lifetime("1s"), description="What those that are shed are told in Retry-After; those of the class `critical` never are."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.memory and not self.queue_delay:
            raise fail("PXD-022", "`overload` says not when", "give `memory` or `queue_delay`, or leave `overload` out")
        return self


def expand_overload(value: object) -> object:
    """`on` is all the defaults; a percentage is that of the memory."""
    if value == "on" or value is True:
        return {}
    return {"memory": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


OverloadField = Annotated[Overload, Short(expand_overload, (ON, STRING))]
