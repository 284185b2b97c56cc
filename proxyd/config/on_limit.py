"""The answer for requests over a limit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxyd.config.base import INTEGER, Model, Short
from proxyd.config.text import Integer


class OnLimit(Model):
    status: Annotated[Integer, Field(ge=400, le=599)] = Field(429, description="Status of the answer: 400 to 599.", examples=[503])


def expand_on_limit(value: object) -> object:
    return {"status": value} if isinstance(value, int) and not isinstance(value, bool) else value


OnLimitField = Annotated[OnLimit, Short(expand_on_limit, (INTEGER,))]
