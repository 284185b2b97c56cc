"""The policy `request`: what a request may be."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from proxyd.config.base import ONE_OR_MORE, Model
from proxyd.config.compress import check_once
from proxyd.config.match import known_method
from proxyd.config.units import Size, Within
from proxyd.diagnostics.fail import fail


def check_served(value: object) -> str:
    return known_method(value, "PXD-034", "cannot be served")


ServedMethod = Annotated[Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"], BeforeValidator(check_served)]


class RequestRules(Model):
    methods: Annotated[tuple[ServedMethod, ...], AfterValidator(check_once), ONE_OR_MORE] = Field(
        (), description="Methods that are served, others get 405; GET takes HEAD with it; empty: any.", examples=[["GET", "POST"]]
    )
    body_size: Annotated[Size, Within("1B", "8TiB", off=True)] = Field(
        Size(0),
        description="Largest request body, others get 413; `none`: no bound but `limits.body_size` of the listener, which holds anyway.",
        examples=["1MiB"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.methods and not self.body_size:
            raise fail("PXD-022", "`request` bounds nothing", "add `methods` or `body_size`")
        return self

    @property
    def served(self) -> frozenset[str]:
        """The methods, with HEAD where GET is one: whoever may have an answer may have its head (RFC 9110 §9.3.2), as nginx's limit_except
        and a route's match see it, too. Empty: any."""
        return frozenset((*self.methods, "HEAD")) if "GET" in self.methods else frozenset(self.methods)
