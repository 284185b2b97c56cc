"""Where else requests go: the branch of a split that a client is pinned to, a copy of them, and an upstream that steps in."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.cookies import CookieName
from proxyd.config.factor import Share
from proxyd.config.headers import HeaderName
from proxyd.config.retry import FailoverTrigger
from proxyd.config.text import Integer, Name
from proxyd.config.units import Within
from proxyd.diagnostics.fail import fail


def expand_to(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


class Pin(Model):
    """Exactly one of its options."""

    cookie: CookieName | None = Field(None, description="A cookie with this name holds the branch.", examples=["pxd_split"])
    header: HeaderName | None = Field(
        None, description="Requests with the same value of this field take the same branch.", examples=["X-User"]
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cookie is None and self.header is None:
            raise fail("PXD-022", "`sticky` says not by what", "write `sticky: {cookie: pxd_split}`")
        if self.cookie is not None and self.header is not None:
            raise fail("PXD-024", "`cookie` and `header` exclude one another", at=("header",), key=True)
        return self


class Mirror(Model):
    to: Name = Field(
        description="Upstream that gets the copies, one without `proxy_protocol`; nobody waits for its answers.", examples=["next"]
    )
    sample: Annotated[Share, Within("0.0001%", "100%")] = Field(Share("100%"), description="How many of the requests are copied.")
    max_in_flight: Annotated[Integer, Field(ge=1, le=65_536)] = Field(
        256, description="Copies under way at a time, on each engine; beyond that none is made."
    )


class Failover(Model):
    to: Name = Field(description="Upstream that steps in.", examples=["spare"])
    when: Annotated[tuple[FailoverTrigger, ...], ONE_OR_MORE] = Field(
        ("no_server", "connect_failure"),
        min_length=1,
        description=(
            "After which failures, when no retry is left: `no_server` (none usable, circuit open, queue full), `connect_failure`, `reset`, "
            "`timeout`, and statuses. What a server may have begun to do is repeated for idempotent methods only."
        ),
        examples=[["no_server", "connect_failure", "502-504"]],
    )


MirrorField = Annotated[Mirror, Short(expand_to, (STRING,))]
FailoverField = Annotated[Failover, Short(expand_to, (STRING,))]
