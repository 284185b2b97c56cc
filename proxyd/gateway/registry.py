"""The kinds of `auth`. A new one: a file here with a `build`, its row, its field in config/auth.py, its credential in
snapshot/build_auth.py."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from proxyd.gateway import api_key, basic
from proxyd.gateway.parts import Parts

if TYPE_CHECKING:
    from proxyd.config.auth import AuthKind
    from proxyd.gateway.authority import Authority


def _forward(parts: Parts) -> Authority:
    from proxyd.gateway import forward  # here, like the next: a proxy without them does not load their libraries

    return forward.build(parts)


def _jwt(parts: Parts) -> Authority:
    from proxyd.gateway import jwt

    return jwt.build(parts)


BUILDERS: Mapping[AuthKind, Callable[[Parts], Authority]] = {
    "api_key": api_key.build,
    "basic": basic.build,
    "forward": _forward,
    "jwt": _jwt,
}
