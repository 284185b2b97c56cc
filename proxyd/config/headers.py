"""Header fields as the config writes them: names, values, and which of them are not the user's to set."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from proxyd.config.base import ONE_OR_MORE, Model
from proxyd.config.text import Text, as_text
from proxyd.diagnostics.fail import fail, shown

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}\Z")  # RFC 9110 §5.1
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*\Z")  # RFC 9110 §5.5: no other control characters
# Framing and connection fields belong to the proxy: a second copy of one is what request smuggling is made of.
OWNED = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def check_header_name(value: str) -> str:
    if not _TOKEN.match(value):
        raise fail("PXD-082", f"{shown(value)} is not the name of a header field", "like `X-Env`")
    return value


def check_settable(value: str) -> str:
    check_header_name(value)
    if value.lower() in OWNED:
        raise fail("PXD-082", f"the field `{value}` cannot be set: proxyd writes it itself", "leave it out")
    return value


def check_removable(value: str) -> str:
    check_header_name(value)
    if value.lower() in OWNED:
        raise fail("PXD-082", f"the field `{value}` cannot be removed: proxyd writes it itself", "leave it out")
    return value


def check_header_value(value: str) -> str:
    stripped = value.strip(" \t")
    if not _VALUE.match(stripped):
        raise fail("PXD-082", f"the value {shown(value)} holds a line break or another control character", "a field's value is one line")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise fail("PXD-082", "the value is not valid Unicode") from None
    if size > 8192:
        raise fail("PXD-082", "the value is longer than 8 KiB")
    return value if stripped == value else type(value)(stripped)


_NAME_SCHEMA = WithJsonSchema({"type": "string"})
HeaderName = Annotated[str, BeforeValidator(as_text), AfterValidator(check_header_name), _NAME_SCHEMA]
SettableName = Annotated[str, BeforeValidator(as_text), AfterValidator(check_settable), _NAME_SCHEMA]
RemovableName = Annotated[str, BeforeValidator(as_text), AfterValidator(check_removable), _NAME_SCHEMA]
HeaderValue = Annotated[Text, AfterValidator(check_header_value)]


class HeaderChanges(Model):
    """In this order: what is removed, what is set, what is added."""

    remove: Annotated[tuple[RemovableName, ...], ONE_OR_MORE] = Field((), description="Fields to remove.", examples=[["X-Debug"]])
    set: dict[SettableName, HeaderValue] = Field(
        {}, description="Fields to set: name and value, in place of what is there.", examples=[{"X-Env": "prod"}]
    )
    add: dict[SettableName, HeaderValue] = Field({}, description="Fields to add beside what is there.", examples=[{"Vary": "X-Env"}])


class Headers(Model):
    request: HeaderChanges = Field(HeaderChanges(), description="Changes to the request before it goes to the server.")
    response: HeaderChanges = Field(HeaderChanges(), description="Changes to the answer before it goes to the client.")

    @property
    def changes(self) -> bool:
        """Whether there are any."""
        return self != type(self)()
