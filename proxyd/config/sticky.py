"""Requests of one client that stay with one server."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxyd.config.base import STRING, Model, Short
from proxyd.config.cookies import CookieDomain, CookieName, CookiePath
from proxyd.config.headers import HeaderName
from proxyd.config.text import Flag, Text
from proxyd.config.units import Duration, Within
from proxyd.diagnostics.fail import fail

SHORTEST_SECRET = 16
LONGEST_ATTRIBUTES = 256  # the engine's room for them


def check_secret(text: str) -> str:
    if len(text) < SHORTEST_SECRET:
        raise fail(
            "PXD-033", "the secret is too short", f"at least {SHORTEST_SECRET} characters, from outside of this file: `${{file:PATH}}`"
        )
    return text


class StickyCookie(Model):
    name: CookieName = Field("pxd_server", description="Name of the cookie.")
    max_age: Annotated[Duration, Within("1s", "400d", off=True)] = Field(
        Duration(0), description="How long clients keep it; `none`: until they are closed.", examples=["1d"]
    )
    path: CookiePath = Field("/", description="Paths that it is sent with.")
    domain: CookieDomain | None = Field(
        None, description="Domain that it is sent to, with the names below it; unset: the host that was asked.", examples=["example.com"]
    )
    secure: Flag = Field(False, description="Sent over TLS only.")
    http_only: Flag = Field(True, description="Not to be seen by scripts.")
    same_site: Literal["lax", "strict", "none"] = Field(
        "lax", description="Whether requests from other sites carry it; `none` needs `secure: true`."
    )
    secret: Annotated[Text, AfterValidator(check_secret)] | None = Field(
        None,
        description=(
            "Signs the cookie's value, so that clients cannot choose their server. Unset: a random one, made when proxyd starts; give the "
            "same to all proxies that share clients."
        ),
        examples=["${file:/run/secrets/sticky}"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.same_site == "none" and not self.secure:
            help = "add `secure: true`"
            raise fail("PXD-039", "browsers refuse a cookie with `same_site: none` that is not `secure`", help, at=("same_site",))
        if self.max_age % 1000:
            raise fail("PXD-032", f"`max_age` {self.max_age} is not a whole number of seconds", at=("max_age",))
        if len(self.attributes) > LONGEST_ATTRIBUTES:
            at = ("domain",) if self.domain and len(self.domain) > len(self.path) else ("path",)
            raise fail("PXD-033", f"the cookie's attributes are longer than {LONGEST_ATTRIBUTES} characters together", at=at)
        return self

    @property
    def attributes(self) -> str:
        """What stands behind the value in Set-Cookie, with its leading `; `."""
        return "".join(
            f"; {part}"
            for part in (
                f"Path={self.path}",
                f"Domain={self.domain}" if self.domain else "",
                f"Max-Age={int(self.max_age) // 1000}" if self.max_age else "",
                "Secure" if self.secure else "",
                "HttpOnly" if self.http_only else "",
                f"SameSite={self.same_site.capitalize()}",
            )
            if part
        )


def expand_cookie(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def expand_sticky(value: object) -> object:
    if value == "source":
        return {"source": True}
    return {"cookie": {}} if value == "cookie" else value


class Sticky(Model):
    """Exactly one of its options."""

    cookie: Annotated[StickyCookie, Short(expand_cookie, (STRING,))] | None = Field(
        None,
        description="A cookie of proxyd's own names the server, not its address. Also in short, the cookie's name.",
        examples=[{"name": "pxd_server"}],
    )
    app_cookie: CookieName | None = Field(
        None,
        description="The same, but only once the server sets this cookie of its own: clients without a session are balanced.",
        examples=["JSESSIONID"],
    )
    header: HeaderName | None = Field(
        None, description="Requests with the same value of this field go to the same server.", examples=["X-Session"]
    )
    source: Flag = Field(False, description="Requests from the same address go to the same server.")

    def in_force(self) -> tuple[str, ...]:
        return self.kinds()

    def kinds(self) -> tuple[str, ...]:
        return tuple(name for name in type(self).model_fields if getattr(self, name) not in (None, False))

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = self.kinds()
        if not kinds:
            raise fail("PXD-022", "`sticky` says not by what", "add one of: cookie, app_cookie, header, source: true")
        if len(kinds) > 1:
            raise fail("PXD-024", f"`{kinds[0]}` and `{kinds[1]}` exclude one another", at=(kinds[1],), key=True)
        return self


StickyField = Annotated[Sticky, Short(expand_sticky, ({"enum": ["source", "cookie"]},))]
