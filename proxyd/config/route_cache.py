"""The cache of a route: which answers are stored, under which key, for how long, and what becomes of stale ones (RFC 9111)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxyd.config.base import NONE, ON, ONE_OR_MORE, STRING, Model, Short, listed
from proxyd.config.cache_keys import BypassField, KeyParts, TagField, split_part
from proxyd.config.statuses import FailureStatuses
from proxyd.config.text import Flag, Integer
from proxyd.config.units import Duration, Lifetime, Percent, Size, Within
from proxyd.diagnostics.fail import fail

LONGEST = "3650d"
Stored = Annotated[Lifetime, Within("1s", LONGEST)]
StoredOrNone = Annotated[Lifetime, Within("1s", LONGEST, off=True)]
DEFAULT_KEY = ("scheme", "host", "path", "query")
DEFAULT_TAGS = ("header:Surrogate-Key", "header:Cache-Tag")


def is_scalar(value: object) -> bool:
    """Text or a number, which stands for the main option of a mapping."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def expand_ttl(value: object) -> object:
    return {"default": value} if is_scalar(value) else value


class Ttl(Model):
    default: Stored | None = Field(
        None,
        description=(
            "Lifetime of answers that tell none (no max-age, s-maxage, Expires, CDN-Cache-Control); unset: those are not stored, unless "
            "`heuristic` or `negative` says so."
        ),
        examples=["10m"],
    )
    override: Stored | None = Field(
        None,
        description="Lifetime of all answers, whatever they tell. What must not be stored (no-store, private, Set-Cookie) still is not.",
        examples=["10m"],
    )
    min: Stored | None = Field(None, description="What answers tell counts as this much at least.", examples=["10s"])
    max: Stored | None = Field(None, description="And as this much at most.", examples=["1d"])

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("default", "min", "max"):
            if self.override is not None and getattr(self, name) is not None:
                help = "`override` holds for every answer; keep one of them"
                raise fail("PXD-024", f"`override` and `{name}` exclude one another", help, at=(name,), key=True)
        if self.min is not None and self.max is not None and self.max < self.min:
            raise fail("PXD-039", f"`max` {self.max} is less than `min` {self.min}", at=("max",))
        return self


def expand_grace(value: object) -> object:
    return {"stale_while_revalidate": value, "stale_if_error": value} if is_scalar(value) else value


class Grace(Model):
    """How long beyond its lifetime a stored answer may be used."""

    stale_while_revalidate: StoredOrNone | None = Field(
        None,
        description="It is served at once while a new one is fetched behind it (RFC 5861 §3); `none`: never; unset: as the answer says.",
        examples=["30s"],
    )
    stale_if_error: StoredOrNone | None = Field(
        None,
        description="It is served when the server fails: no answer, or 500, 502, 503, 504 (RFC 5861 §4); `none`: never; unset: as the "
        "answer says.",
        examples=["1d"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise fail("PXD-022", "`grace` says not how long", "like `grace: 1h`, or give `stale_while_revalidate` or `stale_if_error`")
        return self


def expand_negative(value: object) -> object:
    if value == "none":
        return None
    return {"ttl": value} if is_scalar(value) else value


class Negative(Model):
    ttl: Stored = Field(description="Lifetime of such answers where they tell none.", examples=["10s"])
    statuses: FailureStatuses = Field(FailureStatuses("404,410"), description="Which answers.")


def expand_heuristic(value: object) -> object:
    if value == "none":
        return None
    return {"percent": value} if is_scalar(value) else value


class Heuristic(Model):
    percent: Annotated[Percent, Within("1%", "100%")] = Field(
        Percent("10%"), description="Lifetime as a share of the time since Last-Modified, of answers that tell none (RFC 9111 §4.2.2)."
    )
    max: Stored = Field(Lifetime("1d"), description="But not more than this.")


def expand_collapse(value: object) -> object:
    if value == "none":
        return None
    return {"timeout": value} if is_scalar(value) else value


class Collapse(Model):
    timeout: Annotated[Duration, Within("1ms", "10m")] = Field(
        Duration("5s"), description="How long a request waits for the fetch of another; then it asks the server itself."
    )


def expand_cache(value: object) -> object:
    if value == "none" or value is False:
        return None
    if value == "on" or value is True:
        return {}
    return {"ttl": value} if is_scalar(value) else value


class RouteCache(Model):
    ttl: Annotated[Ttl, Short(expand_ttl, (STRING,))] = Field(
        Ttl(), description="How long answers are fresh; unset: as they tell themselves.", examples=[{"default": "10m", "max": "1d"}]
    )
    grace: Annotated[Grace, Short(expand_grace, (STRING,))] = Field(
        Grace.model_construct(),
        description="How long stale answers may be used; unset: as they tell themselves. In short one time for both.",
        examples=["1h"],
    )
    negative: Annotated[Negative | None, Short(expand_negative, (NONE, STRING))] = Field(
        None,
        description="Lifetime of answers that tell of a failure and tell none; unset: they are treated as all others.",
        examples=["10s"],
    )
    heuristic: Annotated[Heuristic | None, Short(expand_heuristic, (NONE, STRING))] = Field(
        None, description="Guessing the lifetime of answers that tell none; unset: no guess.", examples=["10%"]
    )
    key: Annotated[KeyParts, ONE_OR_MORE] = Field(
        DEFAULT_KEY,
        min_length=1,
        description=(
            "What tells answers apart, beside Vary: `scheme`, `host`, `path`, `query` (the whole of it), `query:a,b` (only these, in any "
            "order), `header:NAME`, `cookie:NAME`. The upstream always does."
        ),
        examples=[["host", "path", "query:w,h"]],
    )
    bypass: BypassField | None = Field(
        None,
        description="Requests that go past the cache: nothing is looked up or stored for them. In short a list of what is there.",
        examples=[["header:Authorization", "cookie:session"]],
    )
    tags: Annotated[tuple[TagField, ...], Short(lambda value: [] if value == "none" else listed(value), (NONE, STRING))] = Field(
        DEFAULT_TAGS,
        description="Fields of the answer that name its tags, by which it can be purged; or `none`.",
        examples=["header:Surrogate-Key"],
    )
    set_cookie: Literal["refuse", "strip"] = Field(
        "refuse", description="An answer with Set-Cookie is not stored (`refuse`), or is stored and served without it (`strip`)."
    )
    client_directives: Flag = Field(True, description="Whether Cache-Control of requests (no-cache, max-age, …) is obeyed.")
    collapse: Annotated[Collapse | None, Short(expand_collapse, (NONE, STRING))] = Field(
        Collapse(), description="Of several requests for what is not stored one asks the server, and the others wait; or `none`."
    )
    max_object: Annotated[Size, Within("1B", "1TiB")] | None = Field(
        None, description="Largest body that is stored; unset: an eighth of `cache.memory.size`.", examples=["10MiB"]
    )
    variants: Annotated[Integer, Field(ge=1, le=1000)] = Field(
        32, description="Answers under one key that differ by Vary; the oldest goes."
    )
    uncacheable: Annotated[Lifetime, Within("1s", "1d", off=True)] = Field(
        Lifetime("2m"),
        description="How long it is kept in mind that a key's answers are not stored, so that requests for it do not wait for one another.",
    )
    share: Flag = Field(True, description="Whether its answers go to the shared tier too, where there is one.")

    def has_key(self, kind: str, name: str = "") -> bool:
        """Whether the key has a part of that kind, and with that name where one is given."""
        return any(kind == known and (not name or name in names) for known, names in map(split_part, self.key))


# Not NONE: that a route has no cache is the default, and is not written.
RouteCacheField = Annotated[RouteCache | None, Short(expand_cache, ({"enum": ["none"]}, ON, STRING))]
