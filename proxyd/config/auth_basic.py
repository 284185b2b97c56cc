"""The policy `auth: {basic: ...}`: names and passwords (RFC 7617)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxyd.config.auth_fields import IdentityField, Realm, UserName
from proxyd.config.base import NONE, SHORT_FORM, STRING, Model, Short
from proxyd.config.password_hashes import PasswordHash
from proxyd.config.text import Flag, Text


class BasicForward(Model):
    user: IdentityField = Field("X-User", description="Field with the name of the user. Clients cannot send it.")


def expand_forward(value: object) -> object:
    if value == "none":
        return None
    return {"user": value} if isinstance(value, str) else value


def expand_basic(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


class Basic(Model):
    users: dict[UserName, PasswordHash] = Field(
        description="Hashes of passwords by name: argon2id, or bcrypt as `htpasswd -nB` makes them.",
        examples=[{"ann": "$2y$10$N9q1pSs5WoyQkor4RzjT6.bbZgjWGa7sYDBDSLxbnRCBvEbAcy3OS"}],
    )
    file: Text | None = Field(
        None,
        description="An htpasswd file with more of `users`, relative to this one; read when the config is loaded.",
        examples=[".htpasswd"],
        json_schema_extra=SHORT_FORM,
    )
    realm: Realm = Field("proxyd", description="What browsers show when they ask for the password.")
    hide: Flag = Field(True, description="`Authorization` is not sent to servers: they do not see the password.")
    forward: Annotated[BasicForward | None, Short(expand_forward, (NONE, STRING))] = Field(
        BasicForward(),
        description="What servers are told; in short the field with the name; `none`: nothing.",
        examples=[{"user": "X-User"}],
    )

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate (RFC 7617 §2.1)."""
        return f'Basic realm="{self.realm}", charset="UTF-8"'


BasicField = Annotated[Basic, Short(expand_basic, (STRING,))]
