"""The policy `rate_limit`: how often each key may come.

Where nginx's `limit_req` has a word or a default for it, they are the same here: no burst, so that the next request passes no sooner than
the rate says; `burst` is what may come beyond the rate, `mode: delay` a `limit_req` without `nodelay`, `delay` its parameter of that name.
`leaky_bucket` is its arithmetic with its milliseconds, `token_bucket` (GCRA) the same bucket without its rounding.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxyd.config.base import STRING, Described, Model, Short
from proxyd.config.limit_keys import Ipv4Bits, Ipv6Bits, LimitKey
from proxyd.config.on_limit import OnLimit, OnLimitField
from proxyd.config.text import Flag, Integer
from proxyd.config.units import RequestRate
from proxyd.diagnostics.fail import fail

LEAKY_BURST = 100_000  # thousandths of it have 27 bits in a key's word
LEAKY_DRAIN_S = 10 * 86_400  # how long a full one may take to drain: its milliseconds have 31 bits there, half of them for the past


class RateLimit(Model):
    rate: Annotated[RequestRate, Described("1/d to 1000000/s")] = Field(
        description="Requests of one key in a time: `20/s`, `100/m`, `5/10s`.", examples=["20/s"]
    )
    burst: Annotated[Integer, Field(ge=0, le=1_000_000)] = Field(
        0,
        description=(
            "Requests that may come beyond the rate; they flow off with it. 0, as in nginx: the next request passes no sooner than the "
            "rate says, 50 ms after the last one at `20/s`."
        ),
        examples=[40],
    )
    key: LimitKey = Field(
        ("client.ip",),
        min_length=1,
        description=(
            "What is counted by: `client.ip`, `host`, `path`, `method`, `header:NAME`, `cookie:NAME`, `query:NAME`, `route`, `listener`; "
            "with an `auth` policy on the route `user` (or `api_key`) and `jwt.CLAIM`; or a list of these, taken together. A request in "
            "which all of it is empty is not counted."
        ),
        examples=[["client.ip", "path"]],
    )
    ipv4: Ipv4Bits = Field(32, description="So many leading bits of an IPv4 address are one client.")
    ipv6: Ipv6Bits = Field(64, description="The same for IPv6, where one line commonly has 2^64 addresses.")
    algorithm: Literal["token_bucket", "leaky_bucket"] = Field(
        "token_bucket", description="`token_bucket`: GCRA, in microseconds; `leaky_bucket`: nginx's arithmetic, in its milliseconds."
    )
    mode: Literal["refuse", "delay"] = Field(
        "refuse",
        description=(
            "What becomes of requests within `burst`: with `refuse` they pass at once (nginx: nodelay), with `delay` they are held until "
            "the rate allows them. What is beyond it is refused by both."
        ),
    )
    delay: Annotated[Integer, Field(ge=0, le=1_000_000)] = Field(
        0, description="With `mode: delay`: so many requests of the burst pass at once, the others are held.", examples=[10]
    )
    on_limit: OnLimitField = Field(
        OnLimit(), description="The answer for what is refused; in short its status.", examples=[{"status": 503}]
    )
    headers: Literal["refused", "always", "none"] = Field(
        "refused", description="Which answers tell the limit in RateLimit and RateLimit-Policy. Retry-After is in every refusal."
    )
    dry_run: Flag = Field(False, description="Count and log what would be refused or held, and let it pass.")
    keys: Annotated[Integer, Field(ge=1_000, le=50_000_000)] = Field(
        1_000_000,
        description="Keys that are remembered, at up to 32 bytes each; for one more, that which is nearest to being empty is forgotten.",
    )
    scope: Literal["local", "cluster"] = Field(
        "local", description="`cluster`: the proxies that share the store of `limits` share the rate; `local`: each has all of it."
    )

    def in_force(self) -> tuple[str, ...]:
        idle = {"delay"} if self.mode != "delay" else set()
        idle |= {"ipv4", "ipv6"} if "client.ip" not in self.key else set()
        return tuple(name for name in super().in_force() if name not in idle)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_delay()
        if self.algorithm == "leaky_bucket":
            self._check_leaky()
        if self.scope == "cluster" and (self.algorithm == "leaky_bucket" or self.mode == "delay"):
            other = "algorithm" if self.algorithm == "leaky_bucket" else "mode"
            help = "proxies that share a limit take tokens in advance: there is nothing to wait for, and no place for nginx's arithmetic"
            message = f"`scope: cluster` and `{other}: {getattr(self, other)}` exclude one another"
            raise fail("PXD-024", message, help, at=(other,), key=True)
        return self

    def _check_delay(self) -> None:
        if self.mode != "delay" and self.delay:
            raise fail("PXD-024", "`delay` has no meaning with `mode: refuse`", "add `mode: delay`", at=("delay",), key=True)
        if self.mode == "delay" and not self.burst:
            help = "what is beyond the rate is held as far as it fits the burst; like `burst: 40`"
            raise fail("PXD-022", "`mode: delay` holds what fits `burst`, and that is 0", help, at=("mode",))
        if self.delay > self.burst:
            message = f"`delay` {self.delay} is more than `burst` {self.burst}, of which it is a part"
            raise fail("PXD-039", message, "raise `burst`, or lower `delay`", at=("delay",))

    def _check_leaky(self) -> None:
        if self.burst > LEAKY_BURST:
            message = f"a `leaky_bucket` has no room for a burst of {self.burst}"
            raise fail("PXD-033", message, f"allowed: up to {LEAKY_BURST}", at=("burst",))
        if self.rate.requests * 1_000 < self.rate.per_s:
            help = "nginx counts in thousandths of a request a second; `algorithm: token_bucket` does not"
            raise fail("PXD-033", f"{self.rate} is too slow for a `leaky_bucket`", help, at=("rate",))
        days = -(-self.rate.seconds_for(self.burst + 1) // 86_400)
        if days * 86_400 > LEAKY_DRAIN_S:
            help = "a full `leaky_bucket` must drain within 10 days; `algorithm: token_bucket` has no such bound"
            raise fail("PXD-033", f"at {self.rate} a burst of {self.burst} takes {days} days to drain", help, at=("burst",))


def expand_rate_limit(value: object) -> object:
    """`rate_limit: 20/s` is `rate_limit: {rate: 20/s}`."""
    return {"rate": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


RateLimitField = Annotated[RateLimit, Short(expand_rate_limit, (STRING,))]
