"""The shared tier of the cache: a Redis, or Memcached servers, that several proxies ask before they ask an origin."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from proxyd.config.address import Address
from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.extras import need
from proxyd.config.redis_url import RedisUrl
from proxyd.config.text import Integer, Text
from proxyd.config.units import Duration, Size, Within
from proxyd.diagnostics.fail import fail, shown

_PREFIX = re.compile(r"[\x21-\x7e]{0,64}\Z")  # Memcached's keys have no blanks


def check_key_prefix(text: str) -> str:
    if not _PREFIX.match(text):
        raise fail("PXD-038", f"{shown(text)} cannot begin a key", "up to 64 ASCII characters without blanks, like `proxyd:`")
    return text


class TierCircuit(Model):
    failures: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        5, description="After so many failed or timed out operations in a row the server is left alone, and memory works on."
    )
    open_for: Annotated[Duration, Within("100ms", "1h")] = Field(Duration("5s"), description="For how long; then one operation is a trial.")


def expand_shared(value: object) -> object:
    """The URL of a Redis; addresses are those of Memcached servers."""
    if isinstance(value, list):
        return {"memcached": value}
    if not isinstance(value, str):
        return value
    return {"redis": value} if re.match(r"rediss?:|unix://", value) else {"memcached": value}


class Shared(Model):
    """One of `redis` and `memcached`."""

    redis: RedisUrl | None = Field(
        None,
        description=(
            "A Redis server: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://…` with TLS, `unix:/PATH`. Purges spread through it."
        ),
        examples=["redis://127.0.0.1:6379/0"],
    )
    memcached: Annotated[tuple[Address, ...], ONE_OR_MORE] = Field(
        (),
        description="Memcached servers instead, which share the keys among them. Purges reach other proxies later than through a Redis.",
        examples=[["127.0.0.1:11211"]],
    )
    prefix: Annotated[Text, AfterValidator(check_key_prefix)] = Field(
        "proxyd:", description="Beginning of all keys there; proxies with the same one share their answers."
    )
    timeout: Annotated[Duration, Within("1ms", "10s")] = Field(
        Duration("50ms"), description="The longest that a request waits for it; then the origin is asked."
    )
    circuit: TierCircuit = Field(TierCircuit(), description="When the server is given up for a while.")
    max_object: Annotated[Size, Within("1KiB", "512MiB")] = Field(Size("1MiB"), description="Larger answers stay in memory only.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.redis is None and not self.memcached:
            raise fail("PXD-022", "`shared` says not where", "like `redis: redis://127.0.0.1:6379/0`, or `memcached: 127.0.0.1:11211`")
        if self.redis is not None and self.memcached:
            raise fail("PXD-024", "`redis` and `memcached` exclude one another", "there is one shared tier", at=("memcached",), key=True)
        return self

    @model_validator(mode="after")
    def _importable(self) -> Self:
        if self.redis is not None:
            need("redis", "cache.shared.redis", at=("redis",))
        if self.memcached:
            need("memcached", "cache.shared.memcached", at=("memcached",))
        return self


SharedField = Annotated[Shared, Short(expand_shared, (STRING, {"type": "array", "items": STRING}))]
