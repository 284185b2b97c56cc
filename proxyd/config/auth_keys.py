"""The policy `auth: {api_key: ...}`: who has which key. Of a key only its SHA-256 is kept: keys are long and random, so no slow hash is
needed to make it useless to whoever reads it."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxyd.config.auth_fields import IdentityField, UserName
from proxyd.config.base import NONE, SHORT_FORM, STRING, Model, Short
from proxyd.config.cookies import CookieName
from proxyd.config.headers import HeaderName, HeaderValue
from proxyd.config.match import check_parameter
from proxyd.config.text import Flag, Name, Text, as_text
from proxyd.diagnostics.fail import fail
from proxyd.diagnostics.nodes import SecretText
from proxyd.diagnostics.scalars import PlainFloat, PlainInt

DEFAULT_HEADER = "X-API-Key"
EXAMPLE = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
_KEY = re.compile(r"[\x21-\x7e]{16,512}\Z")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}\Z")
_HOW = "make one with `openssl rand -hex 24`"


class WrittenSecret(SecretText):
    """Made from a key that stands in the config file itself, for all to read: lint warns of it."""

    __slots__ = ()


def digest_of(key: object) -> SecretText:
    """Messages never hold the key."""
    text = as_text(key)
    if not _KEY.match(text):
        raise fail("PXD-087", "the key is not one: 16 to 512 ASCII characters without blanks", _HOW, at=("key",))
    kind = SecretText if isinstance(key, SecretText) else WrittenSecret
    return kind(hashlib.sha256(text.encode()).hexdigest())


def check_digest(text: str) -> str:
    if isinstance(text, WrittenSecret):
        return text
    if not _DIGEST.match(text):
        raise fail("PXD-087", "`sha256` is not the SHA-256 of a key: 64 hexadecimal digits", "of a key: `printf %s KEY | sha256sum`")
    return SecretText(text.lower())


def expand_api_key(value: object) -> object:
    """A key becomes its digest, so that it is nowhere after loading."""
    if isinstance(value, str | PlainInt | PlainFloat):
        value = {"key": value}
    if not isinstance(value, dict):
        return value
    if "key" not in value:
        if "sha256" not in value:
            raise fail("PXD-022", "the key is missing", "add `key: ${env:NAME}`, or its `sha256`")
        return value
    if "sha256" in value:
        raise fail("PXD-024", "`key` and `sha256` exclude one another", at=("sha256",), key=True)
    return {name: entry for name, entry in value.items() if name != "key"} | {"sha256": digest_of(value["key"])}


class ApiKey(Model):
    key: Text | None = Field(
        None,
        description="The key, from outside of this file. Only its SHA-256 is kept. In short, the key stands for all of this.",
        examples=["${file:/run/secrets/shop}"],
        json_schema_extra=SHORT_FORM,
    )
    sha256: Annotated[Text, AfterValidator(check_digest)] = Field(
        description="The key's SHA-256 instead of the key, as `printf %s KEY | sha256sum` prints it.",
        examples=[EXAMPLE],
    )
    plan: Name | None = Field(None, description="Usage plan, a name of `plans`; unset: no limits of its own.", examples=["gold"])
    enabled: Flag = Field(True, description="`false`: whoever shows the key is refused with 403, without the key being forgotten.")
    forward: dict[IdentityField, HeaderValue] = Field(
        {}, description="Fields that servers get with requests of this key, beside the name.", examples=[{"X-Tenant": "shop"}]
    )


def none_is_nothing(value: object) -> object:
    return None if value == "none" else value


def expand_api_keys(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


class ApiKeys(Model):
    header: HeaderName | None = Field(
        None,
        description=f"Field with the key; `{DEFAULT_HEADER}` unless `query` or `cookie` is set. `Authorization` takes `Bearer KEY`.",
        examples=[DEFAULT_HEADER],
    )
    query: Annotated[Text, AfterValidator(check_parameter)] | None = Field(
        None, description="Parameter of the query with the key instead; it ends in the logs of servers.", examples=["api_key"]
    )
    cookie: CookieName | None = Field(None, description="Cookie with the key instead.", examples=["api_key"])
    keys: dict[UserName, Annotated[ApiKey, Short(expand_api_key, (STRING,))]] = Field(
        description="Keys by the name of who has them. The same name in two policies is the same consumer: its usage is one.",
        examples=[{"shop": {"sha256": EXAMPLE}}],
    )
    file: Text | None = Field(
        None,
        description="File with more of `keys`, as YAML, relative to this one; read when the config is loaded.",
        examples=["keys.yaml"],
        json_schema_extra=SHORT_FORM,
    )
    hide: Flag = Field(True, description="The field with the key is not sent to servers; a parameter or a cookie is.")
    forward: Annotated[IdentityField | None, Short(none_is_nothing, (NONE,))] = Field(
        "X-Consumer", description="Field in which servers are told the name; `none`: they are not. Clients cannot send it."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        places = [name for name in ("header", "query", "cookie") if getattr(self, name) is not None]
        if len(places) > 1:
            message = f"`{places[0]}` and `{places[1]}` exclude one another"
            raise fail("PXD-024", message, "a key stands in one place", at=(places[1],), key=True)
        first: dict[str, str] = {}
        for name, key in self.keys.items():
            if key.sha256 in first:
                message = f"`{name}` has the same key as `{first[key.sha256]}`"
                raise fail("PXD-087", message, "a key tells who it is", at=("keys", name), key=True)
            first[key.sha256] = name
        return self

    @property
    def source(self) -> tuple[Literal["bearer", "header", "query", "cookie"], str]:
        """Where the key is, as the engines' AuthFilter names it: `source` and `name`."""
        if self.query is not None:
            return "query", self.query
        if self.cookie is not None:
            return "cookie", self.cookie
        header = self.header or DEFAULT_HEADER
        return ("bearer", "") if header.lower() == "authorization" else ("header", header)

    def challenge(self, realm: str) -> str:
        """The value of WWW-Authenticate for who has none, which a 401 must carry (RFC 9110 §15.5.2). For keys in a field of their own no
        scheme is registered."""
        return f'{"Bearer" if self.source[0] == "bearer" else "ApiKey"} realm="{realm}"'


ApiKeysField = Annotated[ApiKeys, Short(expand_api_keys, (STRING,))]
