"""The policy `access`: who may come in, by network and by country."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from proxyd.config.address import check_network
from proxyd.config.base import ONE_OR_MORE, Model
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
