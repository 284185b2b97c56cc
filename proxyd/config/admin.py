"""The section `admin`: where the admin API listens, and who may use it.

Without users it is open to whoever can reach it, so it stays on unix sockets and loopback addresses. With users it may be bound anywhere.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from proxyd.config.address import BindAddress, Network
from proxyd.config.auth_fields import UserName
from proxyd.config.auth_keys import WrittenSecret
from proxyd.config.base import ONE_OR_MORE, STRING, Model
from proxyd.config.headers import HeaderName
from proxyd.config.hosts import check_host
from proxyd.config.password_hashes import check_hash
from proxyd.config.text import Integer, Text, as_text
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.nodes import SecretText

SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 1000  # characters
_LIKE_A_HASH = re.compile(r"\$2[abxy]?\$|\$argon2|\$(apr)?1\$|\$[56]\$|\{S?SHA\}")


def check_admin_password(value: object) -> SecretText:
    """A password, or the hash of one. What looks like a hash is never taken for a password: that would let in whoever has seen it."""
    text = as_text(value)
    if _LIKE_A_HASH.match(text):
        return check_hash(value)
    if not SHORTEST_PASSWORD <= len(text) <= LONGEST_PASSWORD or not text.isprintable():
        help = f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters that can be printed; make one with `openssl rand -base64 18`"
        raise fail("PXD-086", "the text cannot be a password of the admin API", help)
    return text if isinstance(text, SecretText) else WrittenSecret(text)


def is_password_hash(password: str) -> bool:
    """Whether a password of a loaded config is the hash of one."""
    return _LIKE_A_HASH.match(password) is not None


AdminPassword = Annotated[str, PlainValidator(check_admin_password), WithJsonSchema(STRING)]


def check_admin_host(text: str) -> str:
    host = check_host(text)
    if not host or host.startswith("*."):
        raise fail("PXD-037", f"{shown(text)} is not the name of a host", "like `proxy.internal`; each name is written out")
    return host


AdminHost = Annotated[Text, AfterValidator(check_admin_host)]
AdminBind = Annotated[
    Annotated[Literal["auto"] | BindAddress, BeforeValidator(lambda value: value if value == "auto" else BindAddress.parse(value))],
    WithJsonSchema(STRING),
]


class AdminUser(Model):
    role: Literal["viewer", "operator", "admin"] = Field(
        description="What the user may do: `viewer` looks, `operator` also drains servers, purges and resets limits, `admin` also changes "
        "the config and stops proxyd.",
        examples=["operator"],
    )
    password: AdminPassword = Field(
        description="The password, from outside of this file, or its hash: argon2id, or bcrypt as `htpasswd -nB` makes it.",
        examples=["${file:/run/secrets/ops}"],
    )


class AdminClientIp(Model):
    trust: Annotated[tuple[Network, ...], ONE_OR_MORE] = Field(
        description="Networks that are believed.", examples=[["10.0.0.0/8"]], min_length=1
    )
    header: HeaderName = Field(
        "X-Forwarded-For",
        description="Field that carries the client's address: a list whose last address that is not in `trust` counts, or `Forwarded`.",
        examples=["Forwarded"],
    )


class Admin(Model):
    bind: Annotated[tuple[AdminBind, ...], ONE_OR_MORE] = Field(
        ("auto",),
        min_length=1,
        examples=[["auto", "127.0.0.1:2080"]],
        description=(
            "Where the admin API and the dashboard listen: unix sockets and loopback addresses; others only with `users`. `auto` is the "
            "unix socket that the command line looks for (/run/proxyd/admin.sock for root, else $XDG_RUNTIME_DIR/proxyd/admin.sock)."
        ),
    )
    hosts: Annotated[tuple[AdminHost, ...], ONE_OR_MORE] = Field(
        (),
        description="Further names under which it is reached over TCP. A loopback name and the address that is connected to need none; "
        "what another `Host` asks for is refused, since it may be a page of the web (DNS rebinding).",
        examples=[["proxy.internal"]],
    )
    users: dict[UserName, AdminUser] = Field(
        {},
        description="Who may use it over TCP, by name. Without users everybody may who can reach it. The unix socket needs none: it "
        "answers the user that runs proxyd, and root.",
        examples=[{"ops": {"role": "operator", "password": "${file:/run/secrets/ops}"}}],
    )

    max_connections: Annotated[Integer, Field(ge=8, le=65_536)] = Field(
        256,
        description="Connections at a time to each of its addresses, streams included. Where all are busy, only `/status`, `/live` and "
        "`/ready` are answered; connections that rest give way to new ones.",
        examples=[1024],
    )
    client_ip: AdminClientIp | None = Field(
        None,
        description="Proxies in front of it that are believed about the client's address, by which wrong passwords are counted and changes "
        "are recorded; unset: none.",
        examples=[{"trust": ["10.0.0.0/8"]}],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for index, bind in enumerate(self.bind):
            if isinstance(bind, BindAddress) and not bind.is_loopback and not self.users:
                message = f"the admin API has no users to ask for, so it cannot listen on `{bind}`"
                help = f"add `users`, or write `127.0.0.1:{bind.port}` or `unix:/path`"
                raise fail("PXD-071", message, help, at=("bind", index))
        return self
