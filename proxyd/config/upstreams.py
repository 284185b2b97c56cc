"""Upstreams: named services, their servers, how one is chosen, and what holds on the way to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from proxyd.config.address import Address
from proxyd.config.balance import Balance, BalanceField, Zones, ZonesField
from proxyd.config.base import NONE, ONE_OR_MORE, STRING, Model, Short
from proxyd.config.circuit import Circuit
from proxyd.config.health import Health, HealthField
from proxyd.config.retry import Retry, RetryField
from proxyd.config.sticky import StickyField
from proxyd.config.text import Count, Flag, Integer, Name
from proxyd.config.units import Duration, Within
from proxyd.diagnostics.fail import fail


def expand_server(value: object) -> object:
    return {"address": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


_OF_PASSIVE = "write `health: {passive: {consecutive_5xx: 3, eject: 30s}}` in the upstream"


class Server(Model):
    moved: ClassVar[Mapping[str, str]] = {  # words of nginx and HAProxy
        "max_fails": _OF_PASSIVE,
        "fail_timeout": _OF_PASSIVE,
        "max_conns": "write `max_requests`",
        "maxconn": "write `max_requests`",
        "check": "write `health: tcp`, or `health: /healthz`, in the upstream",
        "down": "leave the server out, or take it out at run time with `proxyd upstream maint`",
    }

    address: Address = Field(
        description="`10.0.0.1:8080`, `[::1]:8080`, `name:8080` (looked up again by TTL) or `unix:/path`.", examples=["127.0.0.1:9001"]
    )
    weight: Annotated[Integer, Field(ge=1, le=65535)] = Field(1, description="Share of the requests, against the other servers' weights.")
    backup: Flag = Field(False, description="Used only while no other server is usable: the same as `priority: 1`.")
    priority: Annotated[Integer, Field(ge=0, le=15)] = Field(
        0, description="Servers of the lowest number get the requests, as long as one of them is usable."
    )
    zone: Name | None = Field(None, description="Where it stands, see `zones`; a server without one counts as near.", examples=["b"])
    max_requests: Count = Field(0, description="Requests at a time on this server, over all engines; `none`: no bound.", examples=[100])

    @property
    def tier(self) -> int:
        return max(self.priority, int(self.backup))


class Pool(Model):
    max: Annotated[Integer, Field(ge=0, le=1_000_000)] = Field(256, description="Idle connections kept to each server, over all engines.")
    idle: Annotated[Duration, Within("1ms", "1d")] = Field(
        Duration("50s"), description="How long one may rest; keep it below the server's own limit."
    )


def expand_proxy_header(value: object) -> object:
    if value == "none":
        return None
    return {"version": value} if isinstance(value, str) else value


class ProxyHeader(Model):
    version: Literal["v1", "v2"] = Field("v2", description="`v1`: a line of text. `v2`: binary; the only one for UDP.")
    crc32c: Flag = Field(False, description="With a checksum of the header (TLV 0x03); of `v2`.")
    unique_id: Flag = Field(False, description="With the id that logs have for the flow or connection (TLV 0x05); of `v2`.")

    def in_force(self) -> tuple[str, ...]:
        return ("version",) if self.version == "v1" else super().in_force()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("crc32c", "unique_id"):
            if self.version == "v1" and getattr(self, name):
                raise fail("PXD-024", f"`{name}` has no meaning with `version: v1`", "write `version: v2`", at=(name,), key=True)
        return self


class UpstreamTimeout(Model):
    connect: Annotated[Duration, Within("1ms", "10m")] = Field(Duration("3s"), description="Opening a connection to a server.")


def expand_upstream(value: object) -> object:
    """Addresses alone are the servers."""
    return {"servers": value} if isinstance(value, str | list) else value


class Upstream(Model):
    later: ClassVar[frozenset[str]] = frozenset({"discover"})
    moved: ClassVar[Mapping[str, str]] = {
        "keepalive": "write `pool: {max: 32}`",
        "max_fails": _OF_PASSIVE,
        "fail_timeout": _OF_PASSIVE,
        "max_conns": "write `max_requests` in a server, or `circuit: {max_requests: …}`",
        "option": "write `health: /healthz` for what `option httpchk` does",
        "loadBalancer": "write `servers`, `balance` and `health` here",
    }

    servers: Annotated[tuple[Annotated[Server, Short(expand_server, (STRING,))], ...], ONE_OR_MORE] = Field(
        description="Its servers.",
        examples=[["127.0.0.1:9001", {"address": "127.0.0.1:9002", "weight": 2}]],
        min_length=1,
    )
    balance: BalanceField = Field(Balance(), description="How a server is chosen.", examples=["least_conn"])
    sticky: StickyField | None = Field(
        None,
        description="Requests of one client stay with one server while it is usable: by a cookie, a field or its address.",
        examples=[{"cookie": {"name": "pxd_server"}}],
    )
    zones: ZonesField = Field(Zones(), description="What the servers' zones mean.", examples=[{"prefer": "local"}])
    slow_start: Annotated[Duration, Within("1s", "1h", off=True)] = Field(
        Duration(0),
        description="How long a server that comes back, or comes anew, takes to its full weight (not when proxyd starts); or `none`.",
        examples=["30s"],
    )
    health: HealthField = Field(Health(), description="How a server is known to work.", examples=["/healthz"])
    circuit: Circuit = Field(Circuit(), description="How much it may be asked, and when to stop asking.")
    retry: RetryField = Field(
        Retry(), description="What to do when a server fails before its answer begins; in short a number of tries, or `none`.", examples=[2]
    )
    on_down: Literal["keep", "close"] = Field(
        "keep",
        description=(
            "What becomes of connections (`mode: tcp`, `tls_passthrough`) on a server that checks or `maint` take out: `keep` lets them "
            "end by themselves, `close` ends them at once. UDP flows always end: the client's next datagram goes to another server."
        ),
    )
    proxy_protocol: Annotated[ProxyHeader | None, Short(expand_proxy_header, (NONE, {"enum": ["v1", "v2"]}))] = Field(
        None,
        description=(
            "The PROXY header that its servers are sent first, with the client's address: `v1`, `v2`, a mapping, or `none`. Connections "
            "that carry requests are not used for another client then. Health checks send one as well, of no client (`UNKNOWN`, `LOCAL`), "
            "unless they ask another port; those by UDP in `v2` only."
        ),
        examples=["v2"],
    )
    timeout: UpstreamTimeout = Field(UpstreamTimeout(), description="How long to wait for a server.")
    pool: Pool = Field(Pool(), description="Idle connections to the servers.")
