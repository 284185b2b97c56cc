"""The policy `access`: who may come in, by network and by country."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from proxyd.config.address import check_network
from proxyd.config.base import ONE_OR_MORE, Model
from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail, shown

COUNTRY = "country:"
_ELSEWHERE = {"UK": "GB", "EL": "GR"}  # what others call them; no database does


def check_client(value: object) -> str:
    if isinstance(value, dict) and [*value] == ["country"]:
        raise fail("PXD-030", "expected a network, got a mapping", "a country is written without a blank: `country:SE`")
    text = as_text(value).strip()
    if text.lower().startswith(COUNTRY):
        return COUNTRY + check_country(text[len(COUNTRY) :])
    return text if text == "all" else check_network(text)


def check_country(text: str) -> str:
    """ISO 3166-1 alpha-2, as far as the form goes: which of them occur is up to the database."""
    code = text.strip().upper()
    if not re.match(r"[A-Z]{2}\Z", code):
        raise fail("PXD-038", f"{shown(text)} is not the code of a country", "two letters (ISO 3166-1), like `country:SE`")
    if code in _ELSEWHERE:
        raise fail("PXD-038", f"{shown(text)} is not the code of a country", f"did you mean `country:{_ELSEWHERE[code]}`?")
    return code


Clients = Annotated[tuple[Annotated[str, BeforeValidator(check_client), WithJsonSchema({"type": "string"})], ...], ONE_OR_MORE]


class Access(Model):
    allow: Clients = Field(
        (),
        description="Networks and countries that may pass, or `all`. The longest matching prefix of both lists decides, else the country.",
        examples=[["192.0.2.0/24"]],
    )
    deny: Clients = Field(
        (), description="Networks and countries that get 403, or `all`. With `allow` alone, everyone else is denied.", examples=["all"]
    )

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
        """What becomes of a client that neither a network nor a country names."""
        return "all" in self.allow or ("all" not in self.deny and not self.allow)

    @property
    def allow_networks(self) -> tuple[str, ...]:
        return _networks(self.allow)

    @property
    def deny_networks(self) -> tuple[str, ...]:
        return _networks(self.deny)

    @property
    def allow_countries(self) -> frozenset[str]:
        return _countries(self.allow)

    @property
    def deny_countries(self) -> frozenset[str]:
        return _countries(self.deny)

    @property
    def needs_countries(self) -> bool:
        return bool(self.allow_countries or self.deny_countries)


def _networks(clients: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(client for client in clients if client != "all" and not client.startswith(COUNTRY))


def _countries(clients: tuple[str, ...]) -> frozenset[str]:
    return frozenset(client.removeprefix(COUNTRY) for client in clients if client.startswith(COUNTRY))
