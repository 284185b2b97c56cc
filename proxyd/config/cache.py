"""The cache as a whole: how much memory it has, what lies behind it, who may purge it, and what it offers to applications."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxyd.config.address import Network
from proxyd.config.base import NONE, ONE_OR_MORE, STRING, Model, Short
from proxyd.config.text import Text
from proxyd.config.tiers import SharedField
from proxyd.config.units import Duration, Lifetime, Size, Within
from proxyd.diagnostics.fail import fail, shown


def check_snapshot_file(text: str) -> str:
    if not text.startswith("/") or text.endswith("/") or "\0" in text:
        help = "the daemon writes it, wherever it was started: write `/var/lib/proxyd/cache.snapshot`"
        raise fail("PXD-038", f"{shown(text)} is not the absolute path of a file", help)
    return text


def expand_snapshot(value: object) -> object:
    if value == "none":
        return None
    return {"file": value} if isinstance(value, str) else value


class SnapshotFile(Model):
    file: Annotated[Text, AfterValidator(check_snapshot_file)] = Field(
        description="File that the stored answers are written to when proxyd ends, and read from when it starts.",
        examples=["/var/lib/proxyd/cache.snapshot"],
    )
    every: Annotated[Duration, Within("10s", "30d", off=True)] = Field(
        Duration("15m"), description="It is also written this often, for the case that proxyd ends without notice; `none`: only at the end."
    )


def expand_memory(value: object) -> object:
    return {"size": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


class Memory(Model):
    size: Annotated[Size, Within("4MiB", "16TiB")] = Field(
        Size("256MiB"), description="Memory for stored answers, all of their overhead included. It is taken as it fills."
    )
    snapshot: Annotated[SnapshotFile | None, Short(expand_snapshot, (NONE, STRING))] = Field(
        None, description="Where the stored answers outlive a restart; unset: they do not.", examples=["/var/lib/proxyd/cache.snapshot"]
    )


class Purge(Model):
    allow: Annotated[tuple[Network, ...], ONE_OR_MORE] = Field(
        (),
        description="Networks whose PURGE requests are obeyed; empty: nobody's (there are the admin API and `proxyd cache purge`).",
        examples=[["127.0.0.1"]],
    )


class Aside(Model):
    max_value: Annotated[Size, Within("1KiB", "1GiB")] = Field(Size("1MiB"), description="Largest value that is taken.")
    ttl: Annotated[Lifetime, Within("1s", "3650d")] = Field(Lifetime("1h"), description="How long a value is kept whose PUT does not say.")


class Cache(Model):
    memory: Annotated[Memory, Short(expand_memory, (STRING,))] = Field(Memory(), description="The store; in short its size.")
    tiers: Annotated[tuple[Literal["memory", "shared"], ...], ONE_OR_MORE] = Field(
        ("memory",),
        min_length=1,
        description="Where answers are looked up, in order; unset: `memory`, and `shared` behind it where that is set up.",
        examples=[["memory", "shared"]],
    )
    shared: SharedField | None = Field(
        None,
        description="A tier that several proxies share; unset: there is none. In short the URL of a Redis, or addresses of Memcacheds.",
        examples=["redis://127.0.0.1:6379/0"],
    )
    purge: Purge = Field(Purge(), description="Removing stored answers by the HTTP method PURGE.")
    aside: Aside = Field(Aside(), description="What listeners with `mode: cache` offer to applications: GET, PUT, DELETE of /cache/KEY.")

    @property
    def is_shared(self) -> bool:
        return self.shared is not None and "shared" in self.tiers

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tiers not in (("memory",), ("memory", "shared")):
            help = "memory comes first, and always: write `[memory]` or `[memory, shared]`"
            raise fail("PXD-039", "there is no such order of tiers", help, at=("tiers",))
        if "shared" in self.tiers and self.shared is None:
            help = "add `shared: {redis: redis://127.0.0.1:6379/0}`"
            raise fail("PXD-053", "the tier `shared` is not set up", help, at=("tiers", self.tiers.index("shared")))
        return self
