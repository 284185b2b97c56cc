"""Policies: reusable behaviour that routes attach with `use`. Each has exactly one kind; a new kind is one more field here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from proxyd.config.address import check_network
from proxyd.config.base import ONE_OR_MORE, Model
from proxyd.config.compress import CompressField
from proxyd.config.error_pages import ErrorPages
from proxyd.config.headers import Headers
from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail


def check_client(value: object) -> str:
    text = as_text(value).strip()
    return text if text == "all" else check_network(text)


Clients = Annotated[tuple[Annotated[str, BeforeValidator(check_client), WithJsonSchema({"type": "string"})], ...], ONE_OR_MORE]


class Access(Model):
    allow: Clients = Field(
        (), description="Networks that may pass, or `all`. The longest matching prefix of both lists decides.", examples=[["192.0.2.0/24"]]
    )
    deny: Clients = Field((), description="Networks that get 403, or `all`. With `allow` alone, everyone else is denied.", examples=["all"])

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.allow and not self.deny:
            raise fail("PXD-022", "`access` allows and denies nothing", "add `allow` or `deny`")
        both = [client for client in self.deny if client in self.allow]
        if both:
            raise fail("PXD-039", f"`{both[0]}` is both allowed and denied", at=("deny",))
        return self

    @property
    def default_allow(self) -> bool:
        """What becomes of a client that no network names."""
        return "all" in self.allow or ("all" not in self.deny and not self.allow)

    @property
    def allow_networks(self) -> tuple[str, ...]:
        return tuple(client for client in self.allow if client != "all")

    @property
    def deny_networks(self) -> tuple[str, ...]:
        return tuple(client for client in self.deny if client != "all")


class Policy(Model):
    later: ClassVar[frozenset[str]] = frozenset({"rate_limit", "auth", "python"})

    access: Access | None = Field(None, description="Allow or deny by the client's address.")
    headers: Headers | None = Field(None, description="Remove, set and add header fields.")
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
    error_pages: ErrorPages = Field(
        {},
        description="Bodies for answers with these statuses, on every route behind its own, and for requests without a route.",
        examples=[{"5xx": {"body": "<h1>Back soon</h1>"}}],
    )
