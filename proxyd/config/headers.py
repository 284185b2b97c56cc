"""Header fields as the config writes them: names, values, and which of them are not the user's to set."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

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
        raise fail("PXD-082", f"the field `{value}` cannot be set: proxyd writes it itself")
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
HeaderValue = Annotated[Text, AfterValidator(check_header_value)]
