"""The store that several proxies share for limits with `scope: cluster`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from proxyd.config.base import Described, Model
from proxyd.config.extras import need
from proxyd.config.redis_url import RedisUrl
from proxyd.config.text import Text, as_integer
from proxyd.config.tiers import check_key_prefix
from proxyd.config.units import Duration, Within
from proxyd.diagnostics.fail import fail, shown

NODES_MAX = 1_000
LEASE_MAX = 500_000  # as in proxyd_ext/limit/lease.pxd


def _auto_or(value: object, most: int, noun: str) -> Literal["auto"] | int:
    if value == "auto":
        return "auto"
    if isinstance(value, str) and not re.match(r"[-+]?[0-9]{1,18}\Z", value):
        raise fail("PXD-034", f"{shown(value)} is not a number of {noun}", f"write `auto` or 1 to {most}")
    number = as_integer(value)
    if not isinstance(number, int | str) or not 1 <= int(number) <= most:
        raise fail("PXD-033", f"{shown(value)} is out of bounds", f"allowed: `auto`, or 1 to {most}")
    return int(number)


def check_lease(value: object) -> Literal["auto"] | int:
    return _auto_or(value, LEASE_MAX, "tokens")


def check_nodes(value: object) -> Literal["auto"] | int:
    return _auto_or(value, NODES_MAX, "proxies")


class SharedLimits(Model):
    redis: RedisUrl | None = Field(
        None,
        description="A Redis server: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://…` with TLS, `unix:/PATH`.",
        examples=["redis://127.0.0.1:6379/0"],
    )
    prefix: Annotated[Text, AfterValidator(check_key_prefix)] = Field(
        "proxyd:", description="Beginning of all keys there; proxies with the same one share their limits."
    )
    timeout: Annotated[Duration, Within("1ms", "10s")] = Field(
        Duration("100ms"), description="How long an answer may take; then each proxy admits its share. No request ever waits for it."
    )
    sync: Annotated[Duration, Within("10ms", "10s")] = Field(
        Duration("100ms"), description="How often a proxy fetches tokens of a key that is at its limit; a longer one means larger leases."
    )
    lease: Annotated[
        Literal["auto"] | int,
        PlainValidator(check_lease),
        Described(bounds=f"auto, or 1 to {LEASE_MAX}"),
        WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": LEASE_MAX}]}),
    ] = Field(
        "auto",
        description=(
            "Tokens that a proxy takes for a key at a time, half of them before the store is asked. `auto`: rate * sync / nodes, or 64 if "
            "that is more. Never more than (burst + 1) / nodes. At worst nodes * lease requests pass beyond the burst."
        ),
    )
    nodes: Annotated[
        Literal["auto"] | int,
        PlainValidator(check_nodes),
        Described(bounds=f"auto, or 1 to {NODES_MAX}"),
        WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": NODES_MAX}]}),
    ] = Field(
        "auto",
        description="How many proxies share. `auto`: those that the store has heard of lately. While it is away, each admits 1/nodes.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.redis is None:
            raise fail("PXD-022", "`limits` says not where", "like `redis: redis://127.0.0.1:6379/0`")
        need("redis", "limits.redis", at=("redis",))
        return self
