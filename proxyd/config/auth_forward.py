"""The policy `auth: {forward: ...}`: an HTTP service of your own says who it is, as with nginx's auth_request or Traefik's forwardAuth."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from proxyd.config.auth_fields import IdentityField
from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.headers import OWNED, HeaderName
from proxyd.config.text import Flag, Text
from proxyd.diagnostics.fail import fail, shown

STRINGS: dict[str, Any] = {"type": "array", "items": STRING}
_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s#]*)?\Z")


def check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = bool(_URL.match(text) and parts.hostname and text.isascii()) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        sound = False
    if not sound:
        raise fail("PXD-038", f"{shown(text)} is not the URL of a service", "like `http://127.0.0.1:9100/check`; without user and `#`")
    return text


def check_request_field(name: str) -> str:
    """Those that proxyd writes itself cannot come from the client, too."""
    if name.lower() in OWNED or name.lower().startswith("x-forwarded-") or name.lower() == "accept-encoding":
        raise fail("PXD-082", f"the service cannot get the client's field `{name}`: proxyd writes it itself")
    return name


def expand_response_fields(value: object) -> object:
    """Names alone keep their name."""
    if isinstance(value, str):
        return {value: value}
    return {name: name for name in value if isinstance(name, str)} if isinstance(value, list) else value


def expand_forward_auth(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class ForwardAuth(Model):
    """Only what `request_fields` names reaches the service of a request's own fields, so that what it goes by is what verdicts are
    remembered under."""

    url: Annotated[Text, AfterValidator(check_url)] = Field(
        description="Who is asked. 2xx allows; 401, 403 and 3xx go to the client as they are; anything else, or no answer, is 503.",
        examples=["http://127.0.0.1:9100/check"],
    )
    method: Literal["GET", "HEAD", "POST"] = Field("GET", description="Method that it is asked with; there is no body.")
    request_fields: Annotated[tuple[Annotated[HeaderName, AfterValidator(check_request_field)], ...], ONE_OR_MORE] = Field(
        ("Authorization", "Cookie"),
        min_length=1,
        description=(
            "Fields of the request that it gets, and that tell credentials apart. Beside them it gets X-Forwarded-Method, -Uri, -Host, "
            "-Proto and -For."
        ),
    )
    per_target: Flag = Field(
        True, description="A verdict holds for one method, host, path and query. `false`: the service goes by `request_fields` alone."
    )
    response_fields: Annotated[dict[HeaderName, IdentityField], Short(expand_response_fields, (STRING, STRINGS))] = Field(
        {},
        description="Fields of its answer, and the names under which servers get them; in short a list. Clients cannot send these.",
        examples=[{"X-User": "X-User"}],
    )
    user: HeaderName | None = Field(
        None, description="Field of its answer with the name of the user, for logs and keys of limits.", examples=["X-User"]
    )


ForwardAuthField = Annotated[ForwardAuth, Short(expand_forward_auth, (STRING,))]
