"""What `/metrics` may cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxyd.config.base import Model
from proxyd.config.text import Integer


class Metrics(Model):
    max_series: Annotated[Integer, Field(ge=1_000, le=1_000_000)] = Field(
        20_000,
        description=(
            "Series that `/metrics` may have. What is beyond, the least used first, is summed under the name `_other`. What has been shown "
            "stays, so a lower bound takes effect with the next start."
        ),
    )
