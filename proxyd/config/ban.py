"""The policy `ban`: who is refused again and again is refused at once for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from proxyd.config.base import Model, with_keyword
from proxyd.config.text import Integer
from proxyd.config.units import Duration, Within

BanTime = Annotated[Duration, Within("1s", "30d")]

if TYPE_CHECKING:

    class HasFor(Model): ...

else:
    HasFor = with_keyword("HasFor", "for", BanTime, Field(Duration("10m"), description="How long a ban lasts."))


class Ban(HasFor):
    """Refusals that count are the 401, 403 and 429 of the route's later steps."""

    after: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(20, description="So many refusals (401, 403, 429) ban the address.")
    within: Annotated[Duration, Within("1s", "1d")] = Field(Duration("1m"), description="In so much time.")
    ipv4: Annotated[Integer, Field(ge=8, le=32)] = Field(32, description="Addresses with so many leading bits in common are one client.")
    ipv6: Annotated[Integer, Field(ge=16, le=128)] = Field(64, description="The same for IPv6, where a client usually has a /64.")
    keys: Annotated[Integer, Field(ge=100, le=10_000_000)] = Field(
        100_000, description="Clients that are remembered at a time; more of them drive out others."
    )

    @property
    def lasts(self) -> Duration:
        return Duration(int(getattr(self, "for")))

    def in_force(self) -> tuple[str, ...]:
        return ("after", "within", "for", "ipv4", "ipv6", "keys")
