"""How a server is chosen: the balancer, and which zone goes first."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from proxyd.config.base import STRING, Model, Short
from proxyd.config.factor import Factor
from proxyd.config.keys import Key
from proxyd.config.text import Flag
from proxyd.config.units import Percent, Within
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

Kind = Literal["round_robin", "least_conn", "p2c", "ewma", "random", "first", "hash", "maglev"]
KINDS = get_args(Kind)
HASHED = ("hash", "maglev")


def expand_balance(value: object) -> object:
    if value == "ip_hash":
        return {"kind": "hash", "hash": "client.net"}
    if value == "flow_hash":
        return {"kind": "maglev", "hash": "flow"}
    if isinstance(value, str):
        near = closest(value, ("ip_hash", "flow_hash")) if value not in KINDS else None
        if near is not None:
            raise fail("PXD-034", f"{shown(value)} is not a way to choose servers", f"did you mean `{near}`?")
        return {"kind": value}
    if not isinstance(value, dict) or "kind" in value:
        return value
    if "maglev" in value and "hash" not in value:
        return {"kind": "maglev", **{"hash" if name == "maglev" else name: entry for name, entry in value.items()}}
    return {"kind": "hash", **value} if "hash" in value else value


class Balance(Model):
    """Canonical form: `{kind: maglev, hash: client.ip}`; short: `round_robin`, `{hash: client.ip}`, `{maglev: client.ip}`."""

    kind: Kind = Field(
        "round_robin",
        description=(
            "`round_robin` (smooth, by weight), `least_conn` (fewest requests in flight), `p2c` (the better of two at random), `ewma` "
            "(the better of two by response time, peaks remembered), `random`, `first` (the first that is usable and has room), `hash` "
            "(ketama), `maglev`. `ip_hash` is short for `{hash: client.net}`, "
            "`flow_hash` for `{maglev: flow}`."
        ),
    )
    hash: Key | None = Field(
        None,
        description="With `hash` and `maglev`: which part of the request decides, or `flow`: the addresses and ports of both sides.",
        examples=["client.ip"],
    )
    bounded_load: Annotated[Factor, Within("1.01", "100")] | None = Field(
        None,
        description="With `hash` and `maglev`: how many times the mean load a server may have before the next takes over; unset: any.",
        examples=[1.25],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind in HASHED and self.hash is None:
            raise fail("PXD-022", f"`{self.kind}` needs a key", f"write `balance: {{{self.kind}: client.ip}}`")
        for name in ("hash", "bounded_load"):
            if self.kind not in HASHED and getattr(self, name) is not None:
                help = "it bounds what a key sends to one server: `{hash: client.ip, bounded_load: 1.25}`" if name == "bounded_load" else ""
                raise fail("PXD-024", f"`{name}` has no meaning with `{self.kind}`", help, at=(name,), key=True)
        return self


BalanceField = Annotated[
    Balance,
    Short(
        expand_balance,
        (
            {"enum": ["round_robin", "least_conn", "p2c", "ewma", "random", "first", "ip_hash", "flow_hash"]},
            {
                "type": "object",
                "properties": {"hash": STRING, "maglev": STRING, "bounded_load": {"type": ["number", "string"]}},
                "additionalProperties": False,
            },
        ),
    ),
]


def expand_zones(value: object) -> object:
    return {"prefer": value} if isinstance(value, str) else value


class Zones(Model):
    prefer: Literal["local", "none"] = Field(
        "local",
        description="`local`: servers of proxyd's own zone (`runtime.zone`), and those without one, go first. `none`: zones play no part.",
    )
    min_usable: Annotated[Percent, Within("1%", "100%")] = Field(
        Percent("70%"), description="How much of the local servers' weight must be usable for that; below it all zones share the load."
    )
    cross: Flag = Field(
        True, description="Whether servers of other zones may be used at all; false: never, even when no local one is usable."
    )

    def in_force(self) -> tuple[str, ...]:
        return super().in_force() if self.cross else ("prefer", "cross")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in () if self.cross else ("prefer", "min_usable"):
            if name in self.model_fields_set and (name != "prefer" or self.prefer == "none"):
                why = "zones play no part then" if name == "prefer" else "there are no other zones to share the load with"
                raise fail("PXD-024", f"`{name}` has no meaning with `cross: false`: {why}", "keep one of them", at=(name,), key=True)
        return self


ZonesField = Annotated[Zones, Short(expand_zones, ({"enum": ["local", "none"]},))]
