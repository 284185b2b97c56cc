"""Upstreams: named services, their servers, how one is chosen, and how it is known to work."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from proxyd.config.address import Address
from proxyd.config.base import NONE, ONE_OR_MORE, STRING, Model, Short
from proxyd.config.keys import Key
from proxyd.config.match import check_host
from proxyd.config.routes import Retry
from proxyd.config.text import Flag, Integer, Text, as_text
from proxyd.config.units import Duration, Percent, Within
from proxyd.diagnostics.fail import fail, shown


def expand_server(value: object) -> object:
    return {"address": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


class Server(Model):
    later: ClassVar[frozenset[str]] = frozenset({"zone", "max_requests"})

    address: Address = Field(
        description="`10.0.0.1:8080`, `[::1]:8080`, `name:8080` (looked up again by TTL) or `unix:/path`.", examples=["127.0.0.1:9001"]
    )
    weight: Annotated[Integer, Field(ge=1, le=65535)] = Field(1, description="Share of the requests, against the other servers' weights.")
    backup: Flag = Field(False, description="Used only while no other server is usable.")


def expand_balance(value: object) -> object:
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, dict) and "hash" in value and "kind" not in value:
        return {"kind": "hash", **value}
    return value


class Balance(Model):
    """Canonical form: `{kind: hash, hash: client.ip}`; short: `round_robin`, `{hash: client.ip}`."""

    later: ClassVar[frozenset[str]] = frozenset({"maglev", "bounded_load", "ewma", "first"})

    kind: Literal["round_robin", "least_conn", "p2c", "random", "hash"] = Field(
        "round_robin",
        description=(
            "`round_robin` (smooth, by weight), `least_conn` (fewest requests in flight), `p2c` (the better of two at random), "
            "`random`, `hash` (ketama)."
        ),
    )
    hash: Key | None = Field(None, description="With `hash`: which part of the request decides.", examples=["client.ip"])

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "hash" and self.hash is None:
            raise fail("PXD-022", "`hash` needs a key", "write `balance: {hash: client.ip}`")
        if self.kind != "hash" and self.hash is not None:
            raise fail("PXD-024", f"`hash` has no meaning with `{self.kind}`", at=("hash",), key=True)
        return self


class StatusSet:
    """Statuses as `200-299` or `200,204,301-302`."""

    __slots__ = ("ranges",)

    def __init__(self, text: str) -> None:
        self.ranges: tuple[tuple[int, int], ...] = tuple(self._parse(part.strip(), text) for part in text.split(","))

    @staticmethod
    def _parse(part: str, text: str) -> tuple[int, int]:
        found = re.match(r"([0-9]{3})(?:-([0-9]{3}))?\Z", part)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 100 <= low <= high <= 599:
            raise fail(
                "PXD-038", f"{shown(part)} is not a status or a range of them, in {shown(text)}", "like `200`, `200-299` or `200,204`"
            )
        return low, high

    def __contains__(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.ranges)

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)

    def __repr__(self) -> str:
        return f"StatusSet({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StatusSet) and other.ranges == self.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    @classmethod
    def validate(cls, value: object) -> StatusSet:
        return value if isinstance(value, StatusSet) else cls(as_text(value))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": ["string", "integer"]}


def check_check_path(text: str) -> str:
    if not re.match(r"/[\x21-\x7e]*\Z", text):
        raise fail("PXD-038", f"{shown(text)} is not the path of a request", "begin with `/`, like `/healthz`")
    return text


class Active(Model):
    path: Annotated[Text, AfterValidator(check_check_path)] | None = Field(
        None, description="Path to GET on each server.", examples=["/healthz"]
    )
    tcp: Flag = Field(False, description="Instead of a path: a connection that opens is enough.")
    interval: Annotated[Duration, Within("100ms", "1d")] = Field(Duration("5s"), description="From one check of a server to the next.")
    timeout: Annotated[Duration, Within("10ms", "10m")] = Field(Duration("1s"), description="For a whole check; not more than `interval`.")
    expect: StatusSet = Field(StatusSet("200-299"), description="Statuses that pass.")
    rise: Annotated[Integer, Field(ge=1, le=100)] = Field(2, description="Passes in a row that bring a server back.")
    fall: Annotated[Integer, Field(ge=1, le=100)] = Field(3, description="Failures in a row that take a server out.")
    host: Annotated[Text, AfterValidator(check_host)] | None = Field(
        None, description="Host of the check; unset: the server's address.", examples=["app.internal"]
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.path is None and not self.tcp:
            raise fail("PXD-022", "an active check needs `path` or `tcp: true`", "write `health: /healthz`, or `health: tcp`")
        if self.path is not None and self.tcp:
            raise fail("PXD-024", "a check has `path` or `tcp`, not both", at=("tcp",), key=True)
        if self.timeout > self.interval:
            raise fail(
                "PXD-039",
                f"the check's timeout {self.timeout} is longer than its interval {self.interval}",
                at=("timeout",) if "timeout" in self.model_fields_set else ("interval",),
            )
        return self


class Passive(Model):
    later: ClassVar[frozenset[str]] = frozenset({"error_rate", "window"})

    consecutive_5xx: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        5, description="Failures in a row (5xx, or no answer) of real requests that eject a server."
    )
    eject: Annotated[Duration, Within("100ms", "1d")] = Field(Duration("30s"), description="How long an ejected server gets no requests.")
    max_ejected: Annotated[Percent, Within("0%", "100%")] = Field(
        Percent("50%"), description="Most of an upstream's servers that may be ejected at a time; one may always be, a lone one never."
    )


def expand_health(value: object) -> object:
    """`none`, `tcp` and `/path` all speak of the active check; passive ejection stays on."""
    if value == "none":
        return {"active": "none"}
    if value == "tcp" or (isinstance(value, str) and value.startswith("/")):
        return {"active": value}
    if isinstance(value, str):
        raise fail("PXD-034", f"{shown(value)} is not a health check", "write a path like `/healthz`, `tcp`, or `none`")
    return value


def expand_active(value: object) -> object:
    if value == "none":
        return None
    if value == "tcp":
        return {"tcp": True}
    return {"path": value} if isinstance(value, str) else value


def expand_none(value: object) -> object:
    return None if value == "none" else value


class Health(Model):
    later: ClassVar[frozenset[str]] = frozenset({"panic"})

    active: Annotated[Active | None, Short(expand_active, (NONE, STRING))] = Field(
        None, description="Requests of proxyd's own; a path, `tcp`, or `none`.", examples=[{"path": "/healthz"}]
    )
    passive: Annotated[Passive | None, Short(expand_none, (NONE,))] = Field(Passive(), description="What real requests tell; or `none`.")


class Pool(Model):
    max: Annotated[Integer, Field(ge=0, le=1_000_000)] = Field(256, description="Idle connections kept to each server, over all engines.")
    idle: Annotated[Duration, Within("1ms", "1d")] = Field(
        Duration("50s"), description="How long one may rest; keep it below the server's own limit."
    )


class UpstreamTimeout(Model):
    connect: Annotated[Duration, Within("1ms", "10m")] = Field(Duration("3s"), description="Opening a connection to a server.")


def expand_upstream(value: object) -> object:
    """Addresses alone are the servers."""
    return {"servers": value} if isinstance(value, str | list) else value


class Upstream(Model):
    later: ClassVar[frozenset[str]] = frozenset({"discover", "circuit", "slow_start", "sticky"})

    servers: Annotated[tuple[Annotated[Server, Short(expand_server, (STRING,))], ...], ONE_OR_MORE] = Field(
        description="Its servers.",
        examples=[["127.0.0.1:9001", {"address": "127.0.0.1:9002", "weight": 2}]],
        min_length=1,
    )
    balance: Annotated[
        Balance,
        Short(
            expand_balance,
            (
                {"enum": ["round_robin", "least_conn", "p2c", "random"]},
                {"type": "object", "properties": {"hash": STRING}, "required": ["hash"], "additionalProperties": False},
            ),
        ),
    ] = Field(Balance(), description="How a server is chosen.", examples=["least_conn"])
    health: Annotated[Health, Short(expand_health, (NONE, STRING))] = Field(
        Health(), description="How a server is known to work.", examples=["/healthz"]
    )
    pool: Pool = Field(Pool(), description="Idle connections to the servers.")
    timeout: UpstreamTimeout = Field(UpstreamTimeout(), description="How long to wait for a server.")
    retry: Retry = Field(Retry(), description="What to do when a server fails before its answer begins.")
