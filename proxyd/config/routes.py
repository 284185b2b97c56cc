"""Routes: what becomes of a request. The first that matches wins; each has exactly one action: `to`, `redirect` or `respond`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.branches import FailoverField, MirrorField, Pin
from proxyd.config.concurrency import RouteConcurrencyField
from proxyd.config.error_pages import ErrorPages
from proxyd.config.headers import HeaderValue, SettableName
from proxyd.config.match import Match, MatchField
from proxyd.config.priority import PriorityWord
from proxyd.config.retry import HedgeField, RetryField
from proxyd.config.rewrite import Rewrite
from proxyd.config.route_cache import RouteCacheField
from proxyd.config.text import Integer, Name, Text, check_body
from proxyd.config.units import Duration, Within
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = ("scheme", "host", "path", "query")
FULL_WEIGHT = 100
MAX_PARTS = 16  # of a redirect: the pieces of text and the placeholders between them


def expand_targets(value: object) -> object:
    """`to: app` is `to: {app: 100}`. Addresses have become upstreams of their own before (lift.py)."""
    return {value: FULL_WEIGHT} if isinstance(value, str) else value


def check_targets(value: dict[str, int]) -> dict[str, int]:
    if not value:
        raise fail("PXD-022", "`to` names no upstream", "write `to: NAME`, or a list of addresses")
    if not any(value.values()):
        raise fail("PXD-039", "the weights of `to` add up to 0, so no request could be sent", "give at least one a weight above 0")
    return value


Weight = Annotated[Integer, Field(ge=0, le=10_000_000)]
TargetsField = Annotated[
    dict[Name, Weight],
    AfterValidator(check_targets),
    Short(expand_targets, (STRING, {"type": "array", "items": {}})),
]


def expand_redirect(value: object) -> object:
    """`redirect: https` is the usual move to the encrypted site; other text is the place to go to."""
    if value == "https":
        return {"to": "https://{host}{path}{query}"}
    return {"to": value} if isinstance(value, str) else value


def check_location(text: str) -> str:
    for name in _PLACEHOLDER.findall(text):
        if name not in _PLACEHOLDERS:
            near, allowed = closest(name, _PLACEHOLDERS), ", ".join(f"`{{{known}}}`" for known in _PLACEHOLDERS)
            help = (f"did you mean `{{{near}}}`? " if near else "") + f"allowed: {allowed}"
            raise fail("PXD-038", f"`{{{name[:40]}}}` is not a part of the request that can be put in", help)
    if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
        raise fail("PXD-038", f"a brace without its partner in {shown(text)}")
    if not re.match(r"(https?://|\{scheme\}://|/|\{path\})", text):
        raise fail("PXD-038", f"{shown(text)} is not a place to redirect to", "begin with `https://`, `http://` or `/`")
    if len([part for part in _PLACEHOLDER.split(text) if part]) > MAX_PARTS:
        raise fail("PXD-038", f"more than {MAX_PARTS} parts in {shown(text)}")
    if not re.match(r"[\x21-\x7e]+\Z", text) or len(text) > 4096:
        raise fail("PXD-038", f"{shown(text)} has characters that a URL cannot have", "write them as `%XX`")
    return text


class Redirect(Model):
    to: Annotated[Text, AfterValidator(check_location)] = Field(
        description="Where to: a URL in which `{scheme}`, `{host}`, `{path}` and `{query}` (with its `?`) are replaced.",
        examples=["https://{host}{path}{query}"],
    )
    status: Annotated[Integer, Field(json_schema_extra={"enum": [301, 302, 303, 307, 308]})] = Field(
        308, description="301, 302, 303, 307 or 308; 307 and 308 keep the method."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.status not in (301, 302, 303, 307, 308):
            raise fail("PXD-034", f"{self.status} is not a redirect's status", "allowed: 301, 302, 303, 307, 308", at=("status",))
        return self


def expand_respond(value: object) -> object:
    return {"status": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Respond(Model):
    status: Annotated[Integer, Field(ge=200, le=599)] = Field(200, description="Status of the answer.")
    body: Annotated[Text, AfterValidator(check_body)] = Field("", description="Body of the answer, up to 1 MiB.", examples=["hello\n"])
    content_type: HeaderValue = Field("text/plain; charset=utf-8", description="Content-Type of the answer.")
    headers: dict[SettableName, HeaderValue] = Field(
        {}, description="Further fields of the answer.", examples=[{"Cache-Control": "no-store"}]
    )
    probe: Literal["ready", "live"] | None = Field(
        None, description="Instead of all this: proxyd's own readiness or liveness, 200 or 503.", examples=["ready"]
    )

    def in_force(self) -> tuple[str, ...]:
        return ("probe",) if self.probe else super().in_force()

    @model_validator(mode="after")
    def _check(self) -> Self:
        others = sorted(self.model_fields_set - {"probe"})
        if self.probe and others:
            raise fail("PXD-024", f"`probe` makes the whole answer: `{others[0]}` cannot stand beside it", at=(others[0],), key=True)
        if self.body and self.status in (204, 205, 304):
            raise fail("PXD-039", f"an answer with status {self.status} has no body", "leave `body` out", at=("body",))
        for name in self.headers:
            if name.lower() == "content-type":
                raise fail("PXD-024", "the content type has an option of its own", "write `content_type`", at=("headers", name), key=True)
        return self


class RouteTimeout(Model):
    connect: Annotated[Duration, Within("1ms", "10m")] | None = Field(
        None, description="Opening a connection to a server; unset: the upstream's `timeout.connect`.", examples=["3s"]
    )
    first_byte: Annotated[Duration, Within("1ms", "1d", off=True)] = Field(
        Duration("30s"), description="From the request sent to the first byte of the answer; `none`: no bound."
    )
    per_try: Annotated[Duration, Within("1ms", "1d", off=True)] = Field(
        Duration(0), description="From the choice of a server to the head of its answer, for each try; `none`: no bound.", examples=["2s"]
    )
    between_bytes: Annotated[Duration, Within("1ms", "1d", off=True)] = Field(
        Duration("60s"), description="Between two reads from, or writes to, the server; `none`: no bound."
    )
    total: Annotated[Duration, Within("1ms", "1d", off=True)] = Field(
        Duration(0), description="The whole exchange, tries included; `none`: no bound.", examples=["30s"]
    )
    tunnel_idle: Annotated[Duration, Within("1s", "30d", off=True)] = Field(
        Duration("1h"), description="Silence on an upgraded connection (WebSocket); `none`: no bound."
    )


class Route(Model):
    moved: ClassVar[Mapping[str, str]] = {
        "status": "write `redirect: {to: …, status: 301}`, or `respond: {status: 404}`",
        "body": "write `respond: {body: …}`",
        "upstream": "write `to: NAME`",
        "backend": "write `to: NAME`",
        "service": "write `to: NAME`",
        "proxy_pass": "write `to: NAME`, or `to: HOST:PORT`",
        "headers": "write `rewrite: {headers: {request: {set: {NAME: VALUE}}}}`",
        "policies": "write `use: [NAME]`",
        "limit": "write `use: [NAME]`, with a policy `NAME: {rate_limit: …}`",
    }

    name: Name = Field("", description="Name in logs, metrics and `status`; made from `match` where it is missing.", examples=["shop-api"])
    match: MatchField = Field(
        Match(), description="Which requests; unset: every one. Also as text: `GET,HEAD example.com/api/*`.", examples=["/api/*"]
    )
    use: Annotated[tuple[Name, ...], ONE_OR_MORE] = Field(
        (), description="Policies, in order, after those of `defaults.use`.", examples=[["office"]]
    )
    to: TargetsField | None = Field(
        None,
        description="Upstream, upstreams with weights, or addresses (which make an upstream of their own).",
        examples=[{"app": 95, "canary": 5}],
    )
    sticky: Pin | None = Field(
        None,
        description="Clients keep the branch of `to` that they got first; unset: each request is drawn anew.",
        examples=[{"cookie": "pxd_split"}],
    )
    failover: FailoverField | None = Field(
        None, description="Another upstream for when those of `to` cannot answer; in short its name.", examples=[{"to": "canary"}]
    )
    mirror: MirrorField | None = Field(
        None, description="A copy of the requests goes to another upstream; in short its name.", examples=[{"to": "canary", "sample": "1%"}]
    )
    redirect: Annotated[Redirect, Short(expand_redirect, (STRING,))] | None = Field(
        None, description="Answer with a redirect.", examples=["https"]
    )
    respond: Annotated[Respond, Short(expand_respond, ({"type": "integer"},))] | None = Field(
        None, description="Answer from the config.", examples=[{"status": 404}]
    )
    rewrite: Rewrite | None = Field(None, description="What is changed on the way to the server.", examples=[{"strip_prefix": "/api"}])
    error_pages: ErrorPages = Field(
        {},
        description="Bodies for answers with these statuses, before those of `defaults`.",
        examples=[{"5xx": {"body": "<h1>Back soon</h1>"}}],
    )
    timeout: RouteTimeout = Field(RouteTimeout(), description="How long to wait; a timeout that passes is a 504.")
    retry: RetryField | None = Field(
        None, description="In place of the upstream's `retry`; in short a number of tries, or `none`.", examples=[2]
    )
    hedge: HedgeField | None = Field(
        None, description="A second try beside a slow first one; unset: none. In short `p95`, or a duration.", examples=[{"after": "p95"}]
    )

    concurrency: RouteConcurrencyField | None = Field(
        None,
        description="Places for requests of this route that are on servers at a time; in short the most.",
        examples=[{"reserved": 50, "max": 200}],
    )
    priority: PriorityWord = Field(
        "normal", description="Class of its requests: who waits is served, and who is too much is shed, by class."
    )
    cache: RouteCacheField = Field(
        None,
        description="Answers are stored and served from memory; unset: never. In short `on`, or a lifetime for answers that tell none.",
        examples=[{"ttl": "10m"}],
    )

    @property
    def serves_store(self) -> bool:
        """Whether it is the route of a listener with `mode: cache`: it has none of the actions that a file can give."""
        return self.to is None and self.redirect is None and self.respond is None

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        actions = [name for name in ("to", "redirect", "respond") if getattr(self, name) is not None]
        if not actions:
            raise fail("PXD-022", "the route has no action", "add `to`, `redirect` or `respond`")
        if len(actions) > 1:
            raise fail(
                "PXD-024", f"the route has both `{actions[0]}` and `{actions[1]}`", "a route has one action", at=(actions[1],), key=True
            )
        for name in ("sticky", "failover", "mirror", "hedge", "concurrency", "cache"):
            if self.to is None and getattr(self, name) is not None:
                raise fail("PXD-024", f"`{name}` has no meaning with `{actions[0]}`", "it needs `to`", at=(name,), key=True)
        return self

    @model_validator(mode="after")
    def _rewritten(self) -> Self:
        """A rewrite speaks of the path that the route matches."""
        rewrite, path = self.rewrite, self.match.path
        if rewrite is None:
            return self
        for name in ("strip_prefix", "replace_prefix", "path", "host"):
            if self.to is None and getattr(rewrite, name) is not None:
                raise fail(
                    "PXD-024", f"`{name}` changes what a server is asked, and no server is", "it needs `to`", at=("rewrite", name), key=True
                )
        if rewrite.path is not None and "{rest}" in rewrite.path and not (isinstance(path, str) and (path == "" or path.endswith("/*"))):
            help = 'like `match: {path: "/api/*"}`'
            raise fail("PXD-039", "`{rest}` is what the `/*` of `match.path` stands for, and there is none", help, at=("rewrite", "path"))
        return self


# Of a listener with `mode: cache`; no file can write it, so it is not validated.
STORE_PREFIX = "/cache/"
STORE_ROUTES: tuple[Route, ...] = (Route.model_construct(name="cache", match=Match(path=f"{STORE_PREFIX}*")),)

RedirectField = Annotated[Redirect, Short(expand_redirect, (STRING,))]
RespondField = Annotated[Respond, Short(expand_respond, ({"type": "integer"},))]
