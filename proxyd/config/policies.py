"""Policies: reusable behaviour that routes attach with `use`. Each has exactly one kind; a new kind is one more field here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxyd.config.access import Access
from proxyd.config.auth import AuthField
from proxyd.config.ban import Ban
from proxyd.config.base import ONE_OR_MORE, Model
from proxyd.config.compress import CompressField
from proxyd.config.concurrency import KeyConcurrencyField
from proxyd.config.cors import CorsField
from proxyd.config.error_pages import ErrorPages
from proxyd.config.headers import Headers
from proxyd.config.priority import PriorityWord
from proxyd.config.python_filter import PythonField
from proxyd.config.rate_limit import RateLimitField
from proxyd.config.request_rules import RequestRules
from proxyd.diagnostics.fail import fail


class Policy(Model):
    ban: Ban | None = Field(
        None, description="Refuse for a while who is refused again and again.", examples=[{"after": 20, "within": "1m", "for": "10m"}]
    )
    access: Access | None = Field(None, description="Allow or deny by the client's address, or its country.")
    request: RequestRules | None = Field(
        None, description="Methods that are served, and the largest body.", examples=[{"methods": ["GET", "HEAD"]}]
    )
    cors: CorsField | None = Field(
        None,
        description="What pages of other origins may do; in short the origins, or `*`.",
        examples=[{"origins": ["https://app.example.com"]}],
    )
    rate_limit: RateLimitField | None = Field(
        None, description="How often each key may come; in short the rate.", examples=[{"rate": "20/s", "burst": 40}]
    )
    concurrency: KeyConcurrencyField | None = Field(
        None, description="How many requests of each key may be in flight; in short the number.", examples=[{"max": 10}]
    )
    auth: AuthField | None = Field(None, description="Who is it, and may they? Exactly one of its kinds.")
    priority: PriorityWord | None = Field(None, description="Class of the requests, before that of the route.", examples=["high"])
    headers: Headers | None = Field(None, description="Remove, set and add header fields.")
    python: PythonField | None = Field(
        None, description="Ask a filter of your own; in short its file.", examples=[{"file": "filters/tenant.py"}]
    )
    compress: CompressField | None = Field(
        None,
        description="Compress what the cache stores for the routes; in short `on`, or a list of encodings.",
        examples=[{"encodings": ["br", "gzip"], "min_size": "1KiB"}],
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if not kinds:
            raise fail("PXD-080", "the policy has no kind", f"add one of: {', '.join(type(self).model_fields)}")
        if len(kinds) > 1:
            help = "split it in two and name both in `use`"
            raise fail("PXD-080", f"the policy has two kinds, `{kinds[0]}` and `{kinds[1]}`", help, at=(kinds[1],), key=True)
        return self


class Defaults(Model):
    use: Annotated[tuple[str, ...], ONE_OR_MORE] = Field(
        (), description="Policies that every route uses, before its own.", examples=[["office"]]
    )
    access: Literal["open", "deny"] = Field(
        "open",
        description=(
            "`deny`: routes that use neither an `access` nor an `auth` policy refuse everybody (403), but for redirects. `use: [public]` "
            "opens one."
        ),
    )
    error_pages: ErrorPages = Field(
        {},
        description="Bodies for answers with these statuses, on every route behind its own, and for requests without a route.",
        examples=[{"5xx": {"body": "<h1>Back soon</h1>"}}],
    )
