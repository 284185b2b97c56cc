"""What becomes of a request's path, host and fields on the way to the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from proxyd.config.base import Model, with_keyword
from proxyd.config.headers import Headers
from proxyd.config.hosts import check_origin_host
from proxyd.config.paths import check_prefix
from proxyd.config.text import Text
from proxyd.diagnostics.fail import fail, shown

MAX_PARTS = 16  # the pieces of text and the placeholders between them
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_QUERY = re.compile(r"query:[^\s&=#{}]{1,256}\Z")
_KINDS = ("strip_prefix", "replace_prefix", "path")


def check_template(text: str) -> str:
    for name in _PLACEHOLDER.findall(text):
        if name not in ("path", "rest", "host") and not _QUERY.match(name):
            help = "allowed: `{path}`, `{rest}`, `{host}`, `{query:NAME}`"
            raise fail("PXD-038", f"`{{{name[:40]}}}` is not a part of the request that can be put in", help)
    if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
        raise fail("PXD-038", f"a brace without its partner in {shown(text)}")
    if not text.startswith(("/", "{path}")):
        raise fail("PXD-038", f"{shown(text)} is not a path", "begin with `/` or `{path}`, like `/v2{path}`")
    if len([part for part in re.split(r"(\{[^{}]*\})", text) if part]) > MAX_PARTS:
        raise fail("PXD-038", f"more than {MAX_PARTS} parts in {shown(text)}")
    if not re.match(r"[\x21-\x7e]+\Z", text) or "#" in text or "?" in text or len(text) > 4096:
        raise fail("PXD-038", f"{shown(text)} has characters that a path cannot have", "the query is passed on as it is")
    if re.search(r"%00|%(?![0-9A-Fa-f]{2})", _PLACEHOLDER.sub("", text)):
        raise fail("PXD-038", f"`%` without two hexadecimal digits, or a NUL, in {shown(text)}", "write `%25` for a percent sign")
    if any(re.fullmatch(r"(\.|%2[eE]){1,2}", segment) for segment in _PLACEHOLDER.sub("x", text).split("/")):
        raise fail("PXD-038", f"{shown(text)} has a dot segment, which servers would resolve in ways of their own")
    return text


if TYPE_CHECKING:

    class HasFrom(Model): ...

else:
    HasFrom = with_keyword(
        "HasFrom",
        "from",
        Annotated[Text, AfterValidator(check_prefix)],
        Field(description="Beginning of the path that goes.", examples=["/api"]),
    )


class ReplacePrefix(HasFrom):
    to: Annotated[Text, AfterValidator(check_prefix)] = Field(description="What stands there instead.", examples=["/v2"])

    @property
    def old(self) -> str:
        """What is taken away; empty for the root, which all paths begin with."""
        return str(getattr(self, "from")).rstrip("/")

    @property
    def new(self) -> str:
        """What comes before the rest of the path instead."""
        return self.to.rstrip("/")

    def in_force(self) -> tuple[str, ...]:
        return ("from", "to")


class Rewrite(Model):
    """One way for the path at most."""

    strip_prefix: Annotated[Text, AfterValidator(check_prefix)] | None = Field(
        None, description="Taken from the beginning of the path, where it stands there as whole segments.", examples=["/api"]
    )
    replace_prefix: ReplacePrefix | None = Field(
        None,
        description="One beginning of the path for another, where it stands there as whole segments.",
        examples=[{"from": "/api", "to": "/v2"}],
    )
    path: Annotated[Text, AfterValidator(check_template)] | None = Field(
        None,
        description=(
            "The whole path, in which `{path}`, `{host}`, `{query:NAME}` and `{rest}` are replaced; `rest` is what the `/*` of "
            "`match.path` stands for. The query stays as it is."
        ),
        examples=["/v2{path}"],
    )
    host: Annotated[Text, AfterValidator(check_origin_host)] | None = Field(
        None, description="Host that the server is asked for; unset: the one that the client asked for.", examples=["app.internal"]
    )
    headers: Headers = Field(Headers(), description="Changes to the fields, behind those of the route's policies.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        ways = [name for name in _KINDS if getattr(self, name) is not None]
        if len(ways) > 1:
            raise fail("PXD-024", f"`{ways[0]}` and `{ways[1]}` exclude one another", at=(ways[1],), key=True)
        if self.strip_prefix == "/":
            raise fail("PXD-038", "to strip `/` changes nothing", "like `/api`", at=("strip_prefix",))
        return self
