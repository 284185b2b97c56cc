"""Scalars that the kinds of `auth` share: names of users, the fields that tell servers who a client is, realms."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from proxyd.config.headers import check_settable
from proxyd.config.text import Text, as_text
from proxyd.diagnostics.fail import fail, shown

LONGEST_USER = 128
MOST_HYPHENS = 6  # each doubles the spellings of a field's name that are kept from clients, see `spellings`


def check_user(text: str) -> str:
    """A colon would end the name in `Authorization: Basic` (RFC 7617 §2); what cannot be printed would spoil logs."""
    if not 1 <= len(text) <= LONGEST_USER or ":" in text or not text.isprintable() or text != text.strip():
        raise fail("PXD-036", f"{shown(text)} cannot be the name of a user", f"up to {LONGEST_USER} characters, without `:`")
    return text


def check_identity_field(name: str) -> str:
    check_settable(name)
    if name.count("-") > MOST_HYPHENS:
        raise fail("PXD-082", f"the field `{name}` cannot tell who a client is: more than {MOST_HYPHENS} hyphens", "like `X-User`")
    return name


def spellings(name: str) -> tuple[str, ...]:
    """Every name that an application behind CGI or WSGI could take for this field: both make of `X-User` and of `X_User` the variable
    HTTP_X_USER."""
    found = [""]
    for part in re.split("([-_])", name):
        found = [text + way for text in found for way in (("-", "_") if part in ("-", "_") else (part,))]
    return tuple(found)


def check_realm(text: str) -> str:
    if not re.match(r'[\x20\x21\x23-\x5b\x5d-\x7e]{1,100}\Z', text):  # RFC 9110 §5.6.4, without what would need an escape
        raise fail("PXD-038", f"{shown(text)} cannot be a realm", 'up to 100 ASCII characters, without `"` and `\\`')
    return text


UserName = Annotated[str, BeforeValidator(as_text), AfterValidator(check_user), WithJsonSchema({"type": "string"})]
IdentityField = Annotated[str, BeforeValidator(as_text), AfterValidator(check_identity_field), WithJsonSchema({"type": "string"})]
Realm = Annotated[Text, AfterValidator(check_realm)]
