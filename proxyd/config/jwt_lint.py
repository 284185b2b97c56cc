"""What is doubtful about tokens: those that were meant for others, and places where they are seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from proxyd.config.auth_keys import WrittenSecret
from proxyd.config.doubt import Doubt
from proxyd.config.key_files import jwt_policies

if TYPE_CHECKING:
    from proxyd.config.model import Config


def jwt_doubts(config: Config) -> Iterator[Doubt]:
    for name, jwt in jwt_policies(config):
        here = ("policies", name, "auth", "jwt")
        if not jwt.audiences:
            message = f"`{name}` takes tokens that were issued for any other service"
            yield Doubt("PXD-117", message, (*here, "audience"), "name what the issuer calls this service, like `audience: shop`")
        if jwt.query is not None:
            message = f"`{name}` takes tokens from the URL, which others keep and share"
            yield Doubt("PXD-118", message, (*here, "query"), "leave `query` out for `Authorization: Bearer`, or write `cookie: NAME`")
        if jwt.keys is not None and isinstance(jwt.keys.secret, WrittenSecret):
            message = "the secret of the issuer stands in the file"
            yield Doubt("PXD-113", message, (*here, "keys", "secret"), "write `secret: ${file:/run/secrets/jwt}`, or `${env:NAME}`")
